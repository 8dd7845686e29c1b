// Who owned which shard, as far as the event stream tells. Pure.

const KEPT = 1000;

// Takes in `owned` events, and answers for single shards.
export class Ledger {
  constructor() { this.entries = []; }

  add(event) {
    if (event.kind !== 'owned' || !event.ranges) return;
    this.entries.push({ at: event.at_ns / 1e6, epoch: event.epoch, owner: event.owner, ranges: event.ranges });
    if (this.entries.length > KEPT) this.entries.shift();
  }

  // The owners of a shard, latest first, as { owner, epoch, at }.
  of(shard) {
    return this.entries.filter(entry => entry.ranges.some(([first, last]) => first <= shard && shard <= last)).reverse();
  }
}
