// Events as a story: those within two seconds belong together, and become one
// line or one card. Pure: events in, plain values out.

import { count, exact, plural, span } from './words.js';

const TOGETHER = 2000;
const GROUPS_MAX = 200;

// Takes events in their order and keeps the latest groups of them.
export class Story {
  constructor() {
    this.groups = [];
    this.me = '';
    // The longest lease: without a leader for longer, nobody serves.
    this.lease = Infinity;
    this.leader = '';
    this.joined = false;
    this.number = 0;
  }

  // The group that `event` went into; null if it tells nothing.
  add(event) {
    if (event.kind === 'map') return null;
    // A node that joins knows no leader yet, and has lost none; the next time it has lost one whose name it did not hear.
    if (event.kind === 'leader' && !event.leader && !this.leader && !this.joined) {
      this.joined = true;
      return null;
    }
    const at = event.at_ns / 1e6;
    const group = this.home(event, at) ?? this.begin(at);
    group.events.push({ ...event, at });
    group.end = at;
    take(group, event, at);
    if (event.kind === 'leader' && event.leader) this.leader = event.leader;
    return group;
  }

  // The group that an event belongs to, if there is one.
  home(event, at) {
    if (event.kind === 'owned') {
      // Shards arrive where they were sent from; others are those of the dead.
      const recent = this.groups.slice(-3).reverse().filter(group => !group.note && at - group.end <= TOGETHER);
      const known = recent.find(group => group.due.get(event.owner) > 0) ?? recent.find(group => group.lost.length);
      if (known) return known;
    }
    const last = this.groups.at(-1);
    return last && belongs(last, event, at) ? last : null;
  }

  // The node is another run: its own story begins anew.
  forget() {
    this.leader = '';
    this.joined = false;
  }

  // A line of the page's own.
  note(text, at, who = '') {
    const group = this.begin(at);
    group.note = { who, text };
    return group;
  }

  begin(at) {
    this.number += 1;
    const group = {
      number: this.number, me: this.me, lease: this.lease, at, from: at, end: at, events: [], note: null, before: this.leader, leader: null, term: 0, lostAt: null, gap: 0,
      lost: [], left: [], joined: [], taken: new Map(), takenAt: null, moves: new Map(), due: new Map(), states: [],
    };
    this.groups.push(group);
    if (this.groups.length > GROUPS_MAX) this.groups.shift();
    return group;
  }
}

// Whether an event belongs to the latest group: in time, or as the end of what it left open.
function belongs(group, event, at) {
  if (group.note) return false;
  // Trouble begins a story of its own, and so do joins.
  const trouble = group.events.some(isTrouble);
  if (isTrouble(event) && !trouble) return false;
  if (event.kind === 'member_joined' && !isOpen(group) && (trouble || (!group.joined.length && group.events.some(one => one.kind !== 'state')))) return false;
  if (at - group.end <= TOGETHER && at - group.from <= 5 * TOGETHER) return true;
  const ends = event.kind === 'leader' || event.kind === 'state';
  return isOpen(group) && (ends || event.kind === 'member_failed');
}

// Whether an event is a first sign of trouble, with which a story begins.
const isTrouble = event => event.kind === 'member_failed' || (event.kind === 'leader' && !event.leader) || (event.state === 'Voting' && event.kind === 'state');

// Adds what an event says to its group.
function take(group, event, at) {
  const once = (names, name) => { if (!names.includes(name)) names.push(name); };
  const more = (map, key, n) => map.set(key, (map.get(key) ?? 0) + n);
  switch (event.kind) {
    case 'member_failed': once(group.lost, event.node); break;
    case 'member_left': once(group.left, event.node); break;
    case 'member_joined': once(group.joined, event.node); break;
    case 'state': group.states.push(event.state); break;
    case 'moving':
      more(group.moves, `${event.from} ${event.to}`, event.shards);
      more(group.due, event.to, event.shards);
      break;
    case 'owned': owned(group, event, at, more); break;
    case 'leader':
      if (!event.leader) { group.lostAt ??= at; break; }
      if (group.lostAt !== null) group.gap += at - group.lostAt;
      // What follows a long wait for a leader still belongs to it.
      if (group.gap > TOGETHER) group.from = at;
      Object.assign(group, { leader: event.leader, term: event.term, lostAt: null });
      break;
    default:
  }
}

// Shards that were on their way to this owner have arrived; the others were taken over.
function owned(group, event, at, more) {
  const due = Math.min(group.due.get(event.owner) ?? 0, event.shards);
  if (due) more(group.due, event.owner, -due);
  if (event.shards === due) return;
  more(group.taken, event.owner, event.shards - due);
  group.takenAt = at;
}

// Whether the leader that was lost has no successor yet.
export const isOpen = group => group.lostAt !== null;

// Whether a group is told as a card: members or the leader were lost.
export const isIncident = group => group.lost.length > 0 || (isOpen(group) && !group.note) || group.gap > 500;

const sum = map => [...map.values()].reduce((a, b) => a + b, 0);

// Shards that were without an owner until they were taken over.
export const dark = group => (group.lost.length ? sum(group.taken) : 0);

// The heading of a card, as [text or { who }] parts.
export function headline(group, now) {
  if (!group.lost.length) {
    const length = span(isOpen(group) ? now - group.lostAt : group.gap);
    return [isOpen(group) ? `No leader, for ${length} now` : `No leader for ${length}`];
  }
  const names = parts(group.lost);
  const [were, they] = group.lost.length > 1 ? [' were lost', 'they were'] : [' was lost', 'it was'];
  if (isOpen(group)) return [...names, `${were}, and there is no leader for ${span(now - group.lostAt)} now`];
  if (!group.taken.size) return [...names, were];
  // How long it had been silent by then is not known here.
  const first = group.events.find(isTrouble).kind === 'member_failed' ? 'declared dead' : 'missed';
  return [...names, `${were}, and replaced ${exact(group.takenAt - group.at)} after ${they} ${first}`];
}

// What follows the heading, in the same form.
export function story(group) {
  const out = [];
  const led = group.before && group.lost.includes(group.before);
  if (led) out.push(group.lost.length > 1 ? { who: group.before } : 'It', ' led the cluster. ');
  if (group.leader && group.leader !== group.before) out.push({ who: group.leader }, ` leads now, in term ${count(group.term)}. `);
  else if (group.leader && group.gap) out.push({ who: group.leader }, ` leads again, in term ${count(group.term)}. `);
  else if (isOpen(group)) out.push('There is no other leader yet. ');
  if (group.gap > group.lease && group.lost.length) out.push(`There was no leader for ${span(group.gap)}, and no shard was served. `);
  if (group.lost.length && group.taken.size) {
    out.push(...parts([...group.taken.keys()]), ` took ${group.lost.length > 1 ? 'their' : 'its'} shards. `);
  }
  if (group.joined.length) out.push(...parts(group.joined), ' joined. ');
  if (group.left.length) out.push(...parts(group.left), ' left in good order. ');
  return out;
}

// The steps of an incident, as { after, text, kind } with milliseconds since its first sign.
export function marks(group) {
  const found = [];
  const seen = new Set();
  const add = (event, key, text, kind) => {
    if (seen.has(key)) return;
    seen.add(key);
    found.push({ after: event.at - group.at, text, kind });
  };
  const [first, second] = group.events;
  // A node that stops serving before it gives its leader up shows it by its state.
  if (first.kind === 'state' && second && second.at - first.at >= 1) add(first, 'state', `${first.node} is ${first.state}`, 'state');
  for (const event of group.events) {
    if (event.kind === 'leader' && !event.leader) add(event, `missed ${event.term}`, missed(group), 'missed');
    if (event.kind === 'leader' && event.leader) add(event, `led ${event.term}`, `${event.leader} elected`, 'elected');
    if (event.kind === 'member_failed') add(event, `dead ${event.node}`, `${event.node} declared dead`, 'dead');
    if (event.kind === 'member_joined') add(event, `in ${event.node}`, `${event.node} joined`, 'joined');
  }
  if (group.lost.length && group.takenAt !== null) {
    found.push({ after: group.takenAt - group.at, text: 'every shard has an owner again', kind: 'served' });
  }
  return found.sort((a, b) => a.after - b.after);
}

function missed({ before, me }) {
  if (!before) return 'the leader missed';
  return before === me ? `${me} no longer leads` : `${before} missed as leader`;
}

// A group that is no incident, in one line: { who, parts, weight }.
export function line(group) {
  const { note, joined, left, moves, taken, leader, states } = group;
  if (note) return { who: note.who, parts: note.who ? [{ who: note.who }, ` ${note.text}`] : [note.text], weight: 'plain' };
  const said = [];
  if (joined.length) said.push(...joining(group));
  if (left.length) said.push(...leaving(group));
  if (leader) said.push({ who: leader }, ` leads, in term ${count(group.term)}${group.gap ? `; no leader for ${exact(group.gap)}` : ''}. `);
  if (!joined.length && !left.length && moves.size) said.push(...moving(group));
  if (!joined.length && taken.size) said.push(...parts([...taken.keys()]), ` took over ${plural(sum(taken), 'shard')}. `);
  if (!said.length && states.length) {
    said.push({ who: group.events[0].node }, states.length > 1 ? ` went ${states.slice(-4).join(' → ')}.` : ` is now ${states[0]}.`);
  }
  return { who: said.find(part => part.who)?.who ?? '', parts: said, weight: joined.length || leader ? 'good' : 'plain' };
}

// Shards that these nodes got, less those that they passed on meanwhile.
function gained(group, names) {
  let shards = 0;
  for (const [pair, n] of group.moves) {
    const [from, to] = pair.split(' ');
    shards += (names.includes(to) ? n : 0) - (names.includes(from) ? n : 0);
  }
  return shards;
}

function joining(group) {
  // A node that joined without data of the moves before it sees only who owns what now.
  const shards = gained(group, group.joined) || (group.joined.length === 1 ? group.taken.get(group.joined[0]) ?? 0 : 0);
  const arrived = group.events.findLast(event => event.kind === 'owned');
  const begun = group.events.find(event => event.kind === 'member_joined').at;
  const length = arrived && !sum(group.due) ? ` in ${exact(arrived.at - begun)}` : '';
  if (group.joined.includes(group.me) && group.joined.length > 1) {
    return [{ who: group.me }, ' joined ', ...parts(group.joined.filter(name => name !== group.me)), '. '];
  }
  return [...parts(group.joined), ' joined', shards > 0 ? ` and took ${plural(shards, 'shard')}${length}` : '', '. '];
}

function leaving(group) {
  const shards = -gained(group, group.left);
  return [...parts(group.left), shards > 0 ? ` handed ${plural(shards, 'shard')} over and left. ` : ' left in good order. '];
}

function moving(group) {
  const ends = end => [...new Set([...group.moves.keys()].map(pair => pair.split(' ')[end]))];
  return [...parts(ends(0)), ` handed ${plural(sum(group.moves), 'shard')} over to `, ...parts(ends(1)), '. '];
}

// Names as parts with words between them.
function parts(names) {
  return names.flatMap((who, i) => (i === 0 ? [{ who }] : [i === names.length - 1 ? ' and ' : ', ', { who }]));
}

// Any parts as plain text.
export const plain = said => said.map(part => part.who ?? part).join('').trim();
