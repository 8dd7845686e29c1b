// The page: what the node says, shown live. The event stream tells that
// something changed; the status and the summary of the map tell what is.

import * as alarm from './alarm.js';
import * as colours from './colours.js';
import { set as put } from './dom.js';
import * as facts from './facts.js';
import * as feed from './feed.js';
import * as flow from './flow.js';
import * as glossary from './glossary.js';
import { Story } from './incidents.js';
import { Ledger } from './ledger.js';
import * as lens from './lens.js';
import { follow } from './live.js';
import { ShardMap } from './map.js';
import * as members from './members.js';
import * as move from './move.js';
import * as peers from './peers.js';
import { ask, Freshness, paced } from './poll.js';
import * as terms from './terms.js';
import { isGone, isObserver, verdict, waiting } from './verdict.js';
import { count, plural, span } from './words.js';

const at = id => document.getElementById(id);
const root = document.documentElement;
const set = (id, text) => put(at(id), text);

const EVERY = 1000;
const SOON = 60;
const LASTING = 1500;

let status = null;
let summary = null;
let offset = 0;
let streaming = false;
let opened = false;
let caughtUp = false;
let picked = null;
let hovered = null;
let alarmed = 0;
const story = new Story();
let ledger = new Ledger();
const fresh = new Freshness();

const map = new ShardMap(at('map'), { hover: id => { hovered = id; light(); }, look: cell => { if (cell >= 0) look(map.about(cell).first); } });

function light() {
  members.mark(picked, hovered);
  map.highlight(picked);
}

function pick(id) {
  picked = picked === id ? null : id;
  light();
}

// Puts a shard under glass.
function look(shard) {
  const known = Number.isInteger(shard) && shard >= 0 && shard < (summary?.shards ?? 0);
  lens.choose(known ? shard : null);
  if (known && Number(at('lens-shard').value) !== shard) at('lens-shard').value = shard;
  underGlass();
}

function underGlass() {
  const shard = lens.chosen();
  if (!status || !summary?.cells) return;
  lens.show(at('lens'), { status, ledger, about: shard === null ? null : map.about(Math.floor(((shard + 1) * summary.cells - 1) / summary.shards)) });
}

// The node's clock, which the events carry, in milliseconds.
const now = () => Date.now() + offset;

const refresh = paced(async () => {
  fresh.asked();
  const sent = Date.now();
  const latest = await ask('/api/v1/status').catch(() => null);
  if (latest) {
    offset = latest.funk_now_ms - (sent + Date.now()) / 2;
    fresh.answered();
    accept(latest);
  } else {
    fresh.refused();
  }
  connection();
}, SOON);

const redraw = paced(async () => {
  const latest = await ask('/api/v1/shards/summary').catch(() => null);
  // The next status tells that the node is gone, or asks again.
  if (!latest) return;
  summary = latest;
  if (summary.cells) map.show(summary);
  at('map').classList.toggle('empty', !summary.cells);
  if (status) show();
}, SOON);

function accept(latest) {
  const first = !status;
  if (status && latest.funk_boot !== status.funk_boot) restarted(latest);
  status = latest;
  story.me = status.node_id;
  story.lease = status.funk_timing?.lease_max_ms ?? Infinity;
  const gone = new Set(status.members.filter(isGone).map(member => member.id));
  colours.assign(status.members.map(member => member.id).sort(new Intl.Collator('en', { numeric: true }).compare), gone);
  peers.learn(status);
  if (summary?.epoch !== status.epoch) redraw();
  flow.add(status, performance.now());
  if (caughtUp) {
    terms.complete(status, now());
    story.leader ||= status.leader;
  }
  show();
  move.welcome(status);
  // Only now: the members' order gives the colours, and the events use them.
  if (first) listen();
}

function restarted(latest) {
  terms.clear();
  ledger = new Ledger();
  summary = null;
  story.forget();
  story.note('was restarted: it is a new run, with a memory of its own.', now(), latest.node_id);
}

function show() {
  set('cluster', status.cluster);
  facts.show(status);
  root.dataset.serving = status.may_serve;
  root.dataset.observes = isObserver(status);
  balance();
  const said = judge();
  const silent = said.alarm ? peers.silent() : new Set();
  members.show(at('members'), at('members-note'), status, silent, pick);
  if (picked && !status.members.some(member => member.id === picked)) pick(picked);
  members.mark(picked, hovered);
  terms.show(at('terms'), at('terms-note'), now());
  flow.show(at('flow'), at('flow-note'), at('flow-empty'), status);
  feed.show(at('feed'), story.groups, status.shards_total, now());
  describe(said);
  underGlass();
}

// The verdict on the cluster, and the alarm where there is reason for one. With a leader it is
// believed only if it lasts: the status and the map are answers of two moments.
function judge() {
  const answering = alarmed ? peers.answering(alarmed) : new Map();
  const said = verdict({ status, summary, now: now(), since: terms.since(), silent: peers.silent(), answering });
  alarmed = said.alarm ? alarmed || performance.now() : 0;
  if (said.alarm && status.leader && performance.now() - alarmed < LASTING) Object.assign(said, { level: 'warn', alarm: null });
  root.dataset.level = said.level;
  set('verdict-word', said.word);
  set('verdict-text', said.text);
  alarm.show(said.alarm, [...answering].filter(([id]) => said.alarm?.missing.includes(id)));
  const head = said.alarm ? `✕ ${said.alarm.kind}` : said.word.replace('.', '');
  alarm.tab(`${head} · ${status.cluster} · ${status.node_id}`, Boolean(said.alarm));
  // Whether others answer this browser says more than what gossip still believes.
  if (said.alarm) peers.check().then(changed => { if (changed && fresh.age === null) show(); });
  return said;
}

// A long list of members fills its column: what happened then goes to the other one.
function balance() {
  const [left, right] = document.querySelectorAll('.column');
  const events = document.querySelector('.fifth');
  const known = status.members.length;
  if (known > 8 && events.parentElement === right) left.append(events);
  else if (known < 7 && events.parentElement === left) right.append(events);
}

function describe(said) {
  map.serves(said.level === 'alarm', new Set(status.members.filter(isGone).map(member => member.id)));
  const { dark, moving } = waiting(status, summary);
  const rest = [dark && `${count(dark)} wait for an owner`, moving && `${count(moving)} on their way`].filter(Boolean).join(', ') || 'all at rest';
  const note = said.level === 'alarm' ? '0 served' : rest;
  set('map-note', status.shards_total ? `${plural(status.shards_total, 'shard')}, ${note}` : 'no map here');
  set('map-blank', isObserver(status) ? 'An observer has no map. The pages of members show it.' : 'The map appears once this node is in a cluster.');
  const text = map.describe(status.members);
  if (at('map-canvas').getAttribute('aria-label') !== text) at('map-canvas').setAttribute('aria-label', text);
}

// Says how fresh the page is.
function connection() {
  const age = fresh.age;
  const state = age !== null || (opened && !streaming) ? 'lost' : streaming ? 'live' : 'connecting';
  if (status) root.dataset.connection = state;
  facts.age(status ? age : null);
  set('connection-text', words(state, age));
  if (!status || age === null) return;
  facts.old(status, age);
  root.dataset.level = 'lost';
  set('verdict-word', 'Unknown.');
  set('verdict-text', `${status.node_id} has not answered for ${span(age)}. Below is what it said last.`);
  alarm.show(null);
  alarm.tab(`✕ No answer · ${status.node_id} · ${status.cluster}`, true);
  move.on(status, age);
}

function words(state, age) {
  if (state === 'live') return { alarm: 'Outage', warn: 'Live, degraded' }[root.dataset.level] ?? 'Live';
  if (age !== null) return status ? `No answer for ${span(age)}, retrying` : 'No answer, retrying';
  return state === 'lost' ? 'Reconnecting' : 'Connecting';
}

function happened(event) {
  for (const id of [event.node, event.leader, event.from, event.to, event.owner]) if (id) colours.assign([id]);
  if (event.kind === 'leader') terms.add(event);
  ledger.add(event);
  // An observer's state is always that of one who waits.
  if (event.kind !== 'state' || !isObserver(status)) story.add(event);
  // All but a node's own state show on the map: the shards of the dead wait, too.
  if (event.kind !== 'state') redraw();
  refresh();
}

const listen = () => follow({
  event: happened,
  resync(missed) {
    if (missed) story.note(`${plural(missed, 'event')} went by unseen.`, now());
    redraw();
    refresh();
  },
  open() {
    streaming = true;
    opened = true;
    refresh();
    // What is kept comes at once and is history, not news to be read aloud.
    setTimeout(() => {
      at('log').setAttribute('aria-live', 'polite');
      caughtUp = true;
      refresh();
    }, 1500);
  },
  lost() {
    streaming = false;
    at('log').setAttribute('aria-live', 'off');
    refresh();
    connection();
  },
});

at('lens-shard').addEventListener('input', event => look(event.target.value === '' ? null : Number(event.target.value)));
facts.listen();
glossary.listen();
move.listen();
setInterval(() => {
  if (document.hidden) return;
  refresh();
  connection();
}, EVERY);
refresh();
