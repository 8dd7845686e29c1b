// Tests of the page's pure parts: `node --test funk-rpc/src/console/page/tests.mjs`.

import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

// Browsers take the files for modules, Node.js does so only where it is told.
const folder = mkdtempSync(join(tmpdir(), 'funk-page-'));
cpSync(dirname(fileURLToPath(import.meta.url)), folder, { recursive: true });
writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
after(() => rmSync(folder, { recursive: true }));
const load = name => import(pathToFileURL(join(folder, name)));
const { Story, dark, headline, isIncident, isOpen, line, marks, plain, story } = await load('incidents.js');
const { verdict, waiting } = await load('verdict.js');
const { Ledger } = await load('ledger.js');
const { reach, survey } = await load('territories.js');

const member = (id, more = {}) => ({ id, serf: 'alive', raft: 'Voter', leader: false, shards: 0, funk_drained: false, endpoints: { 'ep.raft': '127.0.0.1:1' }, ...more });
const cluster = (members, more = {}) => ({
  node_id: 'a', cluster: 'garden', state: 'Operational', role: 'Follower', leader: 'a', may_serve: true, shards_total: 100, shards_owned: 10,
  funk_cluster: '1', funk_over_capacity: 0, funk_timing: { lease_ms: 150 }, members, ...more,
});
const five = ['a', 'b', 'c', 'd', 'e'].map(id => member(id, { shards: 20 }));
const map = runs => ({ shards: 100, cells: 100, nodes: ['a', 'b', 'gone-0123456789abcdef'], runs });
const whole = map([[0, 50], [1, 50]]);

// Events at milliseconds.
function tell(...events) {
  const told = new Story();
  told.me = 'me';
  told.lease = 600;
  for (const [at, kind, more] of events) told.add({ at_ns: (1_000_000 + at) * 1e6, kind, ...more });
  return told.groups;
}
const said = group => plain(line(group).parts);

test('a whole cluster is healthy and says how much it survives', () => {
  const { level, word, text } = verdict({ status: cluster(five), summary: whole, now: 0 });
  assert.deepEqual([level, word], ['good', 'Healthy.']);
  assert.equal(text, '5 nodes, 100 of 100 shards served, survives 2 more losses.');
  const alone = verdict({ status: cluster([member('a', { shards: 100 })]), summary: whole, now: 0 });
  assert.match(alone.text, /^100 of 100 shards served, survives no loss of a voter\. Start a second node: bin\/demo\.$/);
});

test('a lost voter degrades, and the shards of the dead are not served', () => {
  const members = [...five.slice(0, 4), member('e', { serf: 'failed' })];
  const summary = map([[0, 40], [1, 40, 1], [2, 20, 1]]);
  assert.deepEqual(waiting(cluster(members), summary), { dark: 20, moving: 40 });
  const { level, word, text } = verdict({ status: cluster(members), summary, now: 0 });
  assert.deepEqual([level, word], ['warn', 'Degraded.']);
  assert.equal(text, '4 of 5 nodes up, 40 of 100 shards served, 40 on their way, 20 wait for an owner, survives 1 more loss.');
});

test('without a majority the alarm has the numbers, and pages that went silent count', () => {
  const members = [member('a', { shards: 50 }), member('b', { shards: 50 }), member('c', { serf: 'failed' })];
  const status = cluster(members, { leader: '', state: 'Voting', may_serve: false });
  const electing = verdict({ status, summary: whole, now: 1100, since: 1000 });
  assert.deepEqual([electing.level, electing.alarm], ['warn', null]);
  const none = verdict({ status, summary: whole, now: 42_000, since: 1000 });
  assert.equal(none.alarm.title, 'NO LEADER: the voters elect none; no shard is served');
  const { level, alarm } = verdict({ status, summary: whole, now: 42_000, since: 1000, silent: new Set(['b']) });
  assert.deepEqual([level, alarm.title, alarm.length], ['alarm', 'NO MAJORITY: 1 of 3 voters answers; no shard is served', 41_000]);
  assert.equal(alarm.advice.command, 'ctrlc recover --from a');
  assert.deepEqual(alarm.missing, ['b', 'c']);
});

test('voters that run but do not answer are cut off, and nobody is told to recover', () => {
  const members = [member('a', { shards: 50 }), member('b', { serf: 'failed' }), member('c', { serf: 'failed' })];
  const status = cluster(members, { leader: '', state: 'Voting', may_serve: false });
  const { alarm } = verdict({ status, summary: whole, now: 42_000, since: 1000, answering: new Map([['b', 'x'], ['c', 'y']]) });
  assert.equal(alarm.title, 'NO MAJORITY: 1 of 3 voters answers a; it serves no shard');
  assert.match(alarm.advice.text, /^b and c run, and may serve without a/);
  assert.equal(alarm.advice.command, 'ctrlc diag');
});

test('an observer is not asked for what it cannot know', () => {
  const { level, word, alarm } = verdict({ status: cluster(five, { role: 'NonMember', leader: '', funk_cluster: null }), summary: null, now: 0 });
  assert.deepEqual([level, word, alarm], ['wait', 'Observed.', null]);
});

test('a leader that dies is one card with its milliseconds', () => {
  const groups = tell(
    [0, 'leader', { leader: 'b', term: 2 }], [9000, 'leader', { leader: '', term: 2 }], [9000, 'state', { node: 'me', state: 'Voting' }],
    [9010, 'leader', { leader: 'c', term: 3 }], [9010, 'state', { node: 'me', state: 'Operational' }], [9022, 'member_failed', { node: 'b' }],
    [9150, 'owned', { owner: 'c', shards: 15 }], [9150, 'owned', { owner: 'me', shards: 5 }], [9150, 'map', { epoch: 7 }]);
  assert.equal(groups.length, 2);
  const group = groups[1];
  assert.ok(isIncident(group) && !isOpen(group));
  assert.equal(plain(headline(group, 0)), 'b was lost, and replaced 150 ms after it was missed');
  assert.equal(plain(story(group)), 'It led the cluster. c leads now, in term 3. c and me took its shards.');
  assert.deepEqual(marks(group).map(({ after, kind }) => [after, kind]), [[0, 'missed'], [10, 'elected'], [22, 'dead'], [150, 'served']]);
  assert.equal(dark(group), 20);
});

test('a group stays open until there is a leader again', () => {
  const groups = tell([0, 'leader', { leader: 'b', term: 2 }], [9000, 'leader', { leader: '', term: 2 }], [50_000, 'leader', { leader: 'c', term: 9 }]);
  assert.equal(groups.length, 2);
  assert.equal(plain(headline(groups[1], 0)), 'No leader for 41 s');
  const lost = tell(
    [0, 'leader', { leader: 'b', term: 2 }], [9000, 'leader', { leader: '', term: 2 }],
    [50_000, 'leader', { leader: 'c', term: 9 }], [50_001, 'member_failed', { node: 'b' }]);
  assert.match(plain(story(lost[1])), /There was no leader for 41 s, and no shard was served\./);
});

test('a join is one line, and so is a leave', () => {
  const groups = tell(
    [0, 'member_joined', { node: 'x' }], [20, 'moving', { from: 'b', to: 'x', shards: 5 }], [24, 'owned', { owner: 'x', shards: 5 }],
    [9000, 'moving', { from: 'x', to: 'b', shards: 5 }], [9010, 'owned', { owner: 'b', shards: 5 }], [9900, 'member_left', { node: 'x' }]);
  assert.deepEqual(groups.map(said), ['x joined and took 5 shards in 24 ms.', 'x handed 5 shards over and left.']);
  assert.ok(!groups.some(isIncident));
});

test('a death begins a card of its own beside a join, and what was on its way is not dark', () => {
  const groups = tell(
    [0, 'member_joined', { node: 'x' }], [20, 'moving', { from: 'b', to: 'x', shards: 5 }], [30, 'member_failed', { node: 'c' }],
    [31, 'owned', { owner: 'x', shards: 5 }], [40, 'owned', { owner: 'b', shards: 9 }]);
  assert.equal(groups.length, 2);
  assert.equal(dark(groups[1]), 9);
  assert.equal(plain(headline(groups[1], 0)), 'c was lost, and replaced 10 ms after it was declared dead');
});

test('a join right after a death is a line, and the shards of the dead stay with the death', () => {
  const groups = tell(
    [0, 'member_failed', { node: 'c' }], [10, 'member_joined', { node: 'x' }], [20, 'owned', { owner: 'b', shards: 9 }],
    [30, 'moving', { from: 'b', to: 'x', shards: 5 }], [40, 'owned', { owner: 'x', shards: 5 }]);
  assert.deepEqual(groups.map(group => dark(group)), [9, 0]);
  assert.equal(said(groups[1]), 'x joined and took 5 shards in 30 ms.');
});

test('a node that joins has lost no leader', () => {
  const groups = tell([0, 'leader', { leader: '', term: 2 }], [5, 'member_joined', { node: 'b' }], [6, 'member_joined', { node: 'me' }]);
  assert.deepEqual(groups.map(said), ['me joined b.']);
  const later = tell([0, 'leader', { leader: '', term: 2 }], [9000, 'leader', { leader: '', term: 2 }], [9007, 'leader', { leader: 'c', term: 3 }]);
  assert.deepEqual(later.map(said), ['c leads, in term 3; no leader for 7.0 ms.']);
  assert.equal(marks(later[0])[0].text, 'the leader missed');
});

test('the ledger knows a shard’s owners, latest first', () => {
  const ledger = new Ledger();
  ledger.add({ kind: 'owned', at_ns: 1e6, epoch: 3, owner: 'a', ranges: [[0, 9]] });
  ledger.add({ kind: 'owned', at_ns: 2e6, epoch: 5, owner: 'b', ranges: [[2, 3], [7, 7]] });
  ledger.add({ kind: 'owned', at_ns: 3e6, epoch: 6, owner: 'c' });
  assert.deepEqual(ledger.of(7).map(({ owner, epoch }) => [owner, epoch]), [['b', 5], ['a', 3]]);
  assert.deepEqual(ledger.of(8).map(({ owner }) => owner), ['a']);
});

test('a label’s room ends where its territory does', () => {
  const own = Int16Array.from([0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1]);
  const found = survey(own, 5, 3);
  assert.deepEqual(reach(found, found.of[6], 1, 1, 0), { left: 1, right: 2 });
  assert.deepEqual(reach(found, found.of[6], 1, 1, 2), { left: 1, right: 1 });
});
