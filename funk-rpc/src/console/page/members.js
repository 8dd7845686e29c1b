// The table of members. Rows are kept and changed in place, so that focus
// stays where it is and bars grow instead of jumping.

import { colour, fragment } from './colours.js';
import { pageAt } from './fragment.js';
import { make, set } from './dom.js';
import { isGone, isObserver } from './verdict.js';
import { count, plural } from './words.js';

const GONE_SHOWN = 3;
const order = new Intl.Collator('en', { numeric: true });
const rows = new Map();

// A member's part, as far as the node that is asked knows it.
function role(member, status) {
  if (member.raft) return { Voter: 'Voter', Nonvoter: 'Learner' }[member.raft] ?? member.raft;
  if (isGone(member)) return '–';
  if (!member.endpoints['ep.raft']) return 'Observer';
  return isObserver(status) || !status.funk_cluster ? 'Node' : 'Waiting';
}

// Shows the members of `status`. `pick(id)` is called when a reader asks for
// one node's shards on the map (again: for all), `silent` are those whose pages no longer answer.
export function show(body, note, status, silent, pick) {
  const sorted = [...status.members].sort((a, b) => isGone(a) - isGone(b) || order.compare(a.id, b.id));
  const here = sorted.filter(member => !isGone(member));
  const shown = sorted.slice(0, here.length + GONE_SHOWN);
  // Full bars are all shards, or with many members a fitting part of them.
  const most = Math.max(...shown.map(member => (100 * member.shards) / Math.max(1, status.shards_total)));
  const scale = (here.length > 8 && [1, 2, 5, 10, 25, 50].find(step => most <= step)) || 100;
  const ids = new Set(shown.map(member => member.id));
  for (const [id, row] of rows) {
    if (ids.has(id)) continue;
    row.row.remove();
    rows.delete(id);
  }
  shown.forEach((member, at) => {
    const row = rows.get(member.id) ?? create(member.id, pick);
    rows.set(member.id, row);
    if (body.children[at] !== row.row) body.insertBefore(row.row, body.children[at] ?? null);
    update(row, member, status, silent.has(member.id), scale);
  });
  const hidden = sorted.length - shown.length;
  const observers = here.filter(member => !member.raft && !member.endpoints['ep.raft']).length;
  const text = `${count(here.length - observers)} up` + (observers ? `, ${plural(observers, 'observer')}` : '') + (hidden ? `, ${count(hidden)} more gone` : '');
  set(note, text);
}

// Marks the rows whose shards the map shows alone.
export function mark(picked, hovered) {
  for (const [id, { row, swatch }] of rows) {
    swatch.setAttribute('aria-pressed', String(id === picked));
    row.classList.toggle('lit', id === (hovered ?? picked));
  }
}

function create(id, pick) {
  const swatch = make('button', 'swatch');
  swatch.type = 'button';
  swatch.setAttribute('aria-label', `Show only the shards of ${id} on the map`);
  swatch.setAttribute('aria-pressed', 'false');
  swatch.addEventListener('click', () => pick(id));
  const link = make('a', id.length > 12 ? 'name long' : 'name', id);
  link.title = id;
  const badge = make('span', 'badge');
  const name = make('th', '', make('div', 'who', swatch, make('span', 'names', link, badge)));
  name.scope = 'row';
  const raft = make('td');
  const serf = make('td');
  const shards = make('span', 'figure');
  const share = make('span', 'percent');
  const bar = make('span', 'bar', make('span', 'fill'));
  const row = make('tr', '', name, raft, serf, make('td', 'number', shards, share, bar));
  row.dataset.id = id;
  return { row, swatch, link, badge, raft, serf, shards, share, fill: bar.firstChild };
}

function update(row, member, status, silent, scale) {
  const me = member.id === status.node_id;
  const page = member.endpoints['ep.httpConsole'];
  row.row.classList.toggle('gone', isGone(member));
  row.row.dataset.shards = member.shards;
  row.row.dataset.serf = member.serf;
  if (page && !me && !isGone(member)) row.link.href = pageAt(status, page) + fragment();
  else row.link.removeAttribute('href');
  row.row.classList.toggle('drained', member.funk_drained);
  set(row.badge, [
    member.leader && 'leader', member.funk_drained && 'drained: no shards until it restarts', me && 'this node', silent && !isGone(member) && 'its page does not answer',
  ].filter(Boolean).join(', '));
  set(row.raft, role(member, status));
  row.raft.classList.toggle('faint', !member.raft);
  set(row.serf, member.serf === 'none' ? 'Unseen' : member.serf[0].toUpperCase() + member.serf.slice(1));
  row.serf.className = `serf ${member.serf}`;
  set(row.shards, member.raft || member.shards ? count(member.shards) : '–');
  const percent = status.shards_total ? (member.shards / status.shards_total) * 100 : 0;
  set(row.share, member.shards ? `${percent.toFixed(percent < 9.95 ? 1 : 0)} %` : '');
  const own = colour(member.id);
  if (row.colour !== own) {
    row.colour = own;
    row.swatch.style.setProperty('--colour', own);
    row.fill.style.background = own;
  }
  row.fill.style.transform = `scaleX(${percent / scale})`;
}
