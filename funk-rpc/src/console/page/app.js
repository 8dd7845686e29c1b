// The page: what the node says, shown live. The event stream tells that
// something changed; the status and the summary of the map tell what is.

import * as colours from './colours.js';
import * as flow from './flow.js';
import { follow } from './live.js';
import { ShardMap } from './map.js';
import * as members from './members.js';
import * as terms from './terms.js';
import { clock, count, plural, sentence, span, tell } from './words.js';

const at = id => document.getElementById(id);
const root = document.documentElement;

const EVERY = 1000;
const SOON = 60;
const FEED_MAX = 200;
const FLURRY = 1500;
const STATES_SHOWN = 4;
const PATIENCE = 4000;

let status = null;
let summary = null;
let boot = null;
let offset = 0;
let answered = false;
let streaming = false;
let caughtUp = false;
let picked = null;
let hovered = null;

const map = new ShardMap(at('map'), { hover: id => { hovered = id; light(); } });

function light() {
  members.mark(picked, hovered);
  map.highlight(picked);
}

function pick(id) {
  picked = picked === id ? null : id;
  light();
}

const set = (id, text) => { if (at(id).textContent !== text) at(id).textContent = text; };
// The node's clock, which the events carry, in milliseconds.
const now = () => Date.now() + offset;

async function ask(path) {
  const response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

// One at a time: what is asked for meanwhile is asked for afterwards.
function paced(job, pause) {
  let running = false;
  let again = false;
  let timer = 0;
  const run = async () => {
    timer = 0;
    if (running) { again = true; return; }
    running = true;
    await job();
    running = false;
    if (again) { again = false; soon(); }
  };
  const soon = () => { if (!timer) timer = setTimeout(run, pause); };
  return soon;
}

const refresh = paced(async () => {
  try {
    const sent = Date.now();
    const latest = await ask('/api/v1/status');
    offset = latest.funk_now_ms - (sent + Date.now()) / 2;
    answered = true;
    accept(latest);
  } catch {
    answered = false;
  }
  connection();
}, SOON);

const redraw = paced(async () => {
  try {
    summary = await ask('/api/v1/shards/summary');
    colours.assign(summary.nodes.filter(Boolean));
    if (summary.cells) map.show(summary);
    at('map').classList.toggle('empty', !summary.cells);
    describe();
  } catch { /* the next status tells that the node is gone, or asks again */ }
}, SOON);

function accept(latest) {
  const first = !status;
  if (boot && latest.funk_boot !== boot) restarted();
  boot = latest.funk_boot;
  status = latest;
  const gone = new Set(status.members.filter(members.isGone).map(member => member.id));
  colours.assign(status.members.map(member => member.id).sort(new Intl.Collator('en', { numeric: true }).compare), gone);
  if (summary?.epoch !== status.epoch) redraw();
  flow.add(status, performance.now());
  if (caughtUp) terms.mend(status, now());
  show();
  // Only now: the members' order gives the colours, and the events use them.
  if (first) listen();
}

function restarted() {
  terms.clear();
  summary = null;
  note({ who: status.node_id, text: 'was restarted: it is a new run, with a memory of its own.', weight: 'plain' }, now());
}

function show() {
  document.title = `${status.node_id} · ${status.state} · ${status.cluster}`;
  set('cluster', status.cluster);
  set('node', status.node_id);
  at('node').style.setProperty('--colour', colours.colour(status.node_id));
  set('sentence', sentence(status));
  set('fact-state', status.state);
  set('fact-role', { NonVoter: 'Learner', NonMember: 'Observer' }[status.role] ?? status.role);
  const lease = status.funk_lease_ms;
  set('fact-lease', lease > 0 ? `${count(lease)} ms` : status.may_serve ? 'not needed' : 'none');
  set('fact-term', count(status.term));
  set('fact-commit', count(status.commit_index));
  set('fact-applied', count(status.applied_index));
  set('fact-epoch', count(status.epoch));
  set('fact-up', span(status.funk_uptime_ms));
  set('version', status.funk_version);
  root.dataset.serving = status.may_serve;
  balance();
  members.show(at('members'), at('members-note'), status, pick);
  if (picked && !status.members.some(member => member.id === picked)) pick(picked);
  members.mark(picked, hovered);
  terms.show(at('terms'), at('terms-note'), now());
  flow.show(at('flow'), at('flow-note'), at('flow-empty'), status);
  describe();
}

// A long list of members fills its column: what happened then goes to the other one.
function balance() {
  const [left, right] = document.querySelectorAll('.column');
  const feed = document.querySelector('.fifth');
  const here = status.members.length;
  if (here > 8 && feed.parentElement === right) left.append(feed);
  else if (here < 7 && feed.parentElement === left) right.append(feed);
}

function describe() {
  if (!status) return;
  const waiting = summary ? summary.runs.reduce((sum, [, cells, moving]) => sum + (moving ? cells : 0), 0) : 0;
  const rest = waiting && summary.cells
    ? `${count(Math.round((waiting * summary.shards) / summary.cells))} on their way to an owner` : 'all at rest';
  set('map-note', status.shards_total ? `${plural(status.shards_total, 'shard')}, ${rest}` : 'no map yet');
  const text = map.describe(status.members);
  if (at('map-canvas').getAttribute('aria-label') !== text) at('map-canvas').setAttribute('aria-label', text);
}

// Says how fresh the page is.
function connection() {
  const state = streaming && answered ? 'live' : status || !streaming ? 'lost' : 'connecting';
  if (state === 'live' || status) root.dataset.connection = state;
  set('connection-text', { live: 'Live', lost: status ? 'Connection lost, retrying' : 'No answer, retrying' }[state] ?? 'Connecting');
}

// A node that goes through several states at once gets one line for them.
function goesOn({ who, state }, ms) {
  const recent = [...at('feed').children].slice(0, 8);
  const line = recent.find(item => item.dataset.states && item.dataset.who === who);
  if (!state || !line || ms - Number(line.dataset.at) > FLURRY) return false;
  const states = [...line.dataset.states.split(' → '), state];
  line.dataset.states = (states.length > STATES_SHOWN ? ['…', ...states.slice(-STATES_SHOWN + 1)] : states).join(' → ');
  line.lastChild.lastChild.textContent = ` went ${line.dataset.states}.`;
  return true;
}

function note(told, ms) {
  if (goesOn(told, ms)) return;
  const { who, text, to, shards, state, weight } = told;
  const item = document.createElement('li');
  item.className = weight;
  if (state) Object.assign(item.dataset, { who, at: ms, states: state });
  const time = document.createElement('time');
  time.dateTime = new Date(ms).toISOString();
  time.textContent = clock(ms);
  const name = id => Object.assign(document.createElement('strong'), { textContent: id });
  const dot = document.createElement('span');
  dot.className = 'dot';
  if (who) dot.style.background = colours.colour(who);
  const words = document.createElement('span');
  if (who) words.append(name(who), ' ');
  words.append(text);
  if (to) words.append(` ${plural(shards, 'shard')} to `, name(to), '.');
  item.append(time, dot, words);
  const feed = at('feed');
  feed.prepend(item);
  while (feed.children.length > FEED_MAX) feed.lastChild.remove();
}

function happened(event) {
  for (const id of [event.node, event.leader, event.from, event.to, event.owner]) if (id) colours.assign([id]);
  if (event.kind === 'leader') terms.add(event);
  const told = tell(event);
  if (told) note(told, event.at_ns / 1e6);
  // All but a node's own state show on the map: the shards of the dead wait, too.
  if (event.kind !== 'state') redraw();
  refresh();
}

const listen = () => follow({
  event: happened,
  resync(missed) {
    if (missed) note({ who: '', text: `${plural(missed, 'event')} went by unseen.`, weight: 'plain' }, now());
    redraw();
    refresh();
  },
  open() {
    streaming = true;
    refresh();
    // What is kept comes at once and is history, not news to be read aloud.
    setTimeout(() => {
      at('feed').setAttribute('aria-live', 'polite');
      caughtUp = true;
      refresh();
    }, 1500);
  },
  lost() {
    streaming = false;
    at('feed').setAttribute('aria-live', 'off');
    connection();
  },
});

setInterval(() => { if (!document.hidden) refresh(); }, EVERY);
refresh();
