// One shard under glass: its owner and epoch, the lease it is served under,
// and who had it before.

import { colour } from './colours.js';
import { make } from './dom.js';
import { clock, count } from './words.js';

const FORMER = 3;

let shard = null;

// Chooses a shard; null for none.
export function choose(number) {
  shard = number;
}

export const chosen = () => shard;

// Shows the chosen shard in `list`. `about`: what the map says of its cell.
export function show(list, { status, about, ledger }) {
  if (shard === null || !about) {
    list.replaceChildren();
    return;
  }
  const [latest, ...before] = ledger.of(shard);
  const known = latest && latest.owner === about.owner;
  const owner = make('dd', 'owner', about.owner ?? 'nobody');
  owner.style.setProperty('--colour', about.owner ? colour(about.owner) : 'var(--nobody)');
  const epoch = known ? `${count(latest.epoch)}, since ${clock(latest.at)}` : 'older than the events kept';
  const items = [['Owner', owner], ['Epoch', make('dd', '', epoch)], ['Lease', lease(status, about)]];
  const pin = status.funk_pins.find(({ first, count: n }) => first <= shard && shard < first + n);
  if (pin) items.push(['Pinned to', make('dd', '', pin.honoured ? pin.node : `${pin.node}, which may not own it now`)]);
  const former = (known ? before : ledger.of(shard)).slice(0, FORMER);
  if (former.length) items.push(['Before', make('dd', '', former.map(entry => `${entry.owner} (${count(entry.epoch)})`).join(', '))]);
  list.replaceChildren(...items.map(([name, value]) => make('div', '', make('dt', '', name), value)));
}

// Only the owner knows what is left of its lease.
function lease(status, about) {
  if (about.dark) return make('dd', 'bad', 'none: not served');
  if (about.moving) return make('dd', '', 'on its way');
  if (about.owner !== status.node_id) return make('dd', '', `known to ${about.owner} only`);
  const whole = status.funk_timing?.lease_ms ?? 0;
  const ring = make('span', 'ring');
  ring.style.setProperty('--left', whole ? Math.min(1, status.funk_lease_ms / whole) : 0);
  return make('dd', '', ring, ` ${count(status.funk_lease_ms)} of ${count(whole)} ms`);
}
