// Numbers, times and events in human words.

const numbers = new Intl.NumberFormat('en');

export const count = n => numbers.format(n);
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

// Names in a row: a, b and c.
export function list(items, last = 'and') {
  if (items.length < 2) return items.join('');
  return `${items.slice(0, -1).join(', ')} ${last} ${items.at(-1)}`;
}

// A long name with its middle left out; names made by chance differ at both ends.
export const short = id => (id.length > 12 ? `${id.slice(0, 4)}…${id.slice(-4)}` : id);

// A length of time, in the two units that matter.
export function span(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const s = Math.floor(ms / 1000);
  if (s < 10) return `${(ms / 1000).toFixed(1)} s`;
  if (s < 60) return `${s} s`;
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = units.findIndex(([size]) => s >= size);
  const [size, name] = units[first];
  const [size2, name2] = units[first + 1];
  const rest = Math.floor((s % size) / size2);
  return rest ? `${Math.floor(s / size)} ${name} ${rest} ${name2}` : `${Math.floor(s / size)} ${name}`;
}

// A length of time where tenths of milliseconds matter.
export const exact = ms => (ms > 0 && ms < 10 ? `${ms.toFixed(1)} ms` : span(ms));

export function clock(ms) {
  return new Date(ms).toLocaleTimeString('en-GB');
}

// A rate with as many digits as it deserves.
export function rate(perSecond) {
  if (perSecond === 0) return '0';
  if (perSecond < 10) return perSecond.toFixed(1);
  return count(Math.round(perSecond));
}

// What the node does, in one sentence after its state.
export function sentence(status) {
  const of = `${count(status.shards_owned)} of ${plural(status.shards_total, 'shard')}`;
  const serves = status.shards_owned === 0 ? 'owns no shards'
    : status.may_serve ? `serves ${of}` : `owns ${of}, but may not serve them now`;
  const part = {
    Leader: `It leads the cluster and ${serves}.`,
    Follower: status.leader ? `It follows ${status.leader} and ${serves}.` : `It knows no leader and ${serves}.`,
    NonVoter: status.leader ? `It learns from ${status.leader}, without a vote, and ${serves}.` : `It has no vote, knows no leader, and ${serves}.`,
    NonMember: 'It watches the cluster and owns nothing.',
  }[status.role] ?? `It ${serves}.`;
  // An observer is never taken in, and asks for nothing.
  if (status.role === 'NonMember' && ['Joining', 'Voting', 'Resharding', 'Operational'].includes(status.state)) {
    const others = (status.members ?? []).some(member => member.id !== status.node_id && member.serf === 'alive');
    return others ? 'Observing. It watches the cluster and owns nothing.' : 'Observing. It owns nothing, and sees no other node yet.';
  }
  return {
    Starting: 'Starting. It checks for a cluster of its name.',
    Joining: 'Joining. It looks for a cluster that admits it.',
    Stopping: 'Stopping. It has said goodbye.',
    Draining: 'Draining. It hands its shards over before it leaves.',
    Voting: `Voting. ${part}`,
    Resharding: `Resharding. ${part}`,
    Operational: `Operational. ${part}`,
  }[status.state] ?? `${status.state}. ${part}`;
}
