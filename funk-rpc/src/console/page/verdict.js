// What is to be said of the cluster before all else: pure words about a
// status and a summary of the map, without a look at the page.

import { count, list, plural, span } from './words.js';

// Without a leader for longer than this, and than a lease, nobody serves.
const ELECTION = 500;

export const isGone = member => member.serf === 'left' || member.serf === 'failed';
export const isObserver = status => status.role === 'NonMember';

// The shards that wait: `dark` ones whose owner is gone or that have none, and
// those that are `moving` between nodes that are up. Cells of several shards count as full.
export function waiting(status, summary) {
  const sums = { dark: 0, moving: 0 };
  if (!summary?.cells) return sums;
  const gone = new Set(status.members.filter(isGone).map(member => member.id));
  for (const [node, cells, moving] of summary.runs) {
    if (!moving) continue;
    sums[isDark(summary.nodes[node], gone) ? 'dark' : 'moving'] += cells;
  }
  const each = summary.shards / summary.cells;
  return { dark: Math.round(sums.dark * each), moving: Math.round(sums.moving * each) };
}

// Whether shards of this owner that wait are without one: nodes that left the
// cluster have a made-up name in the summary.
export const isDark = (owner, gone) => !owner || gone.has(owner) || /^gone-[0-9a-f]{16}$/.test(owner);

// Who of the voters answers. `silent`: ids whose page no longer answers.
export function quorum(status, silent = new Set()) {
  const voters = status.members.filter(member => member.raft === 'Voter');
  const up = voters.filter(member => member.serf === 'alive' && !silent.has(member.id));
  const needed = Math.floor(voters.length / 2) + 1;
  return { voters: voters.length, up: up.length, needed, missing: voters.filter(member => !up.includes(member)) };
}

// `{ level, word, text, alarm }`; `level` is good, warn, alarm or wait, and
// `alarm` is null or what the bar says. `since`: when the leader was lost, in
// `now`'s milliseconds; 0 while there is one. `silent` and `answering`: the ids whose
// pages no longer answer this browser, and those whose pages do.
export function verdict({ status, summary, now, since = 0, silent = new Set(), answering = new Map() }) {
  if (isObserver(status)) return observed(status);
  const owned = status.members.reduce((sum, member) => sum + member.shards, 0);
  if (!status.funk_cluster || !status.shards_total) {
    return { level: 'wait', word: 'Waiting.', text: `${status.node_id} is in no cluster yet.`, alarm: null };
  }
  const votes = quorum(status, status.leader ? new Set() : silent);
  if (!status.leader) return leaderless(status, votes, answering, since ? Math.max(0, now - since) : 0);
  const { dark, moving } = waiting(status, summary);
  const served = Math.max(0, owned ? status.shards_total - dark - moving : 0);
  const shards = `${count(served)} of ${plural(status.shards_total, 'shard')} served`;
  if (served === 0) return unserved(status, votes);
  return led(status, votes, { shards, dark, moving });
}

function observed(status) {
  const seen = status.members.filter(member => !isGone(member) && member.endpoints['ep.raft']);
  const failed = status.members.filter(member => member.serf === 'failed').length;
  const text = seen.length || failed
    ? `${plural(seen.length, 'node')} up${failed ? `, ${count(failed)} failed` : ''}, as gossip tells. Leader and shards are known to members only.`
    : `${status.node_id} sees no member yet.`;
  return { level: 'wait', word: 'Observed.', text, alarm: null };
}

function leaderless(status, votes, answering, length) {
  if (length <= Math.max(ELECTION, status.funk_timing?.lease_ms ?? 0)) {
    return { level: 'warn', word: 'Electing.', text: `No leader for ${span(length)}: the voters elect one.`, alarm: null };
  }
  const few = votes.up < votes.needed;
  return {
    level: 'alarm', word: few ? 'No majority.' : 'No leader.',
    text: `0 of ${plural(status.shards_total, 'shard')} served, as ${status.node_id} sees it.`,
    alarm: { ...(few ? minority(status, votes, answering) : undecided(votes)), length, missing: votes.missing.map(member => member.id) },
  };
}

// Fewer than a majority of the voters answer. Those that run all the same are cut off, and may serve without this node.
function minority(status, votes, answering) {
  const names = votes.missing.map(member => member.id);
  const running = names.filter(id => answering.has(id));
  const me = status.node_id;
  const answers = votes.up === 1 ? 'answers' : 'answer';
  const title = running.length ? `NO MAJORITY: ${votes.up} of ${plural(votes.voters, 'voter')} ${answers} ${me}; it serves no shard`
    : `NO MAJORITY: ${votes.up} of ${plural(votes.voters, 'voter')} ${answers}; no shard is served`;
  const advice = running.length
    ? {
      text: `${list(running)} ${running.length > 1 ? 'run' : 'runs'}, and may serve without ${me}: repair the network between them. What each node sees:`,
      command: 'ctrlc diag',
    }
    : { text: `Start ${list(names, 'or')} again. If ${names.length > 1 ? 'they are' : 'it is'} lost for good:`, command: `ctrlc recover --from ${me}` };
  return { kind: 'No majority', title, detail: `${count(votes.needed)} are needed. ${absences(votes.missing)}.`, advice };
}

// Enough voters are up, and yet none leads.
function undecided(votes) {
  return {
    kind: 'No leader', title: 'NO LEADER: the voters elect none; no shard is served',
    detail: `${count(votes.up)} of ${plural(votes.voters, 'voter')} are up, as gossip tells, and ${count(votes.needed)} are needed. `
      + 'They cannot reach each other, or are too slow for the timing.',
    advice: { text: 'What each node sees:', command: 'ctrlc diag' },
  };
}

const ABSENT = {
  failed: ['has failed', 'have failed'], left: ['has left', 'have left'], leaving: ['is leaving', 'are leaving'],
  none: ['is not seen in gossip', 'are not seen in gossip'],
};

// Why voters count as missing, those with one reason together.
function absences(missing) {
  const by = new Map();
  for (const { id, serf } of missing) by.set(serf, [...(by.get(serf) ?? []), id]);
  return [...by].map(([serf, ids]) => {
    const [one, many] = ABSENT[serf] ?? ['is alive in gossip, but its page no longer answers', 'are alive in gossip, but their pages no longer answer'];
    return `${list(ids)} ${ids.length > 1 ? many : one}`;
  }).join('; ');
}

function unserved(status, votes) {
  return {
    level: 'alarm', word: 'Nothing served.', text: `0 of ${plural(status.shards_total, 'shard')} served; ${status.leader} leads.`,
    alarm: {
      kind: 'Nothing served', title: 'NOTHING SERVED: no shard has an owner that may serve it',
      detail: `${status.leader} leads, and ${votes.up} of ${plural(votes.voters, 'voter')} are up.`,
      advice: { text: 'Where the nodes differ:', command: 'ctrlc diag' }, length: 0, missing: [],
    },
  };
}

// A cluster with a leader that serves.
function led(status, votes, { shards, dark, moving }) {
  const members = status.members.filter(member => member.raft);
  const up = members.filter(member => !isGone(member)).length;
  const nodes = up === members.length ? plural(up, 'node') : `${up} of ${plural(members.length, 'node')} up`;
  const spare = votes.up - votes.needed;
  const margin = spare > 0 ? `survives ${spare} more ${spare === 1 ? 'loss' : 'losses'}` : 'survives no loss of a voter';
  const parts = [members.length > 1 && nodes, shards, moving && `${count(moving)} on their way`, dark && `${count(dark)} wait for an owner`, margin].filter(Boolean);
  const drained = members.filter(member => member.funk_drained && !isGone(member)).map(member => member.id);
  const own = !status.may_serve && status.shards_owned > 0 && ['Voting', 'Operational', 'Resharding'].includes(status.state);
  const more = [
    own && `${status.node_id} serves nothing: its lease is over or a listener is full.`,
    status.funk_over_capacity > 0 && `${plural(status.funk_over_capacity, 'shard')} beyond the capacity of all nodes.`,
    drained.length > 0 && `${list(drained)} ${drained.length > 1 ? 'are' : 'is'} drained.`,
    members.length === 1 && 'Start a second node: bin/demo.',
  ].filter(Boolean);
  const worse = dark > 0 || votes.up < votes.voters || own || status.funk_over_capacity > 0;
  const word = worse ? 'Degraded.' : members.length === 1 ? 'One node.' : 'Healthy.';
  return { level: worse ? 'warn' : 'good', word, text: [`${parts.join(', ')}.`, ...more].join(' '), alarm: null };
}
