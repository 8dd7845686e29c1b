// This node: its chip with the way to the other members' pages, a sentence,
// and its figures. What is old is not shown as if it held.

import { colour, fragment } from './colours.js';
import { pageAt } from './fragment.js';
import { make, set } from './dom.js';
import { isGone } from './verdict.js';
import { count, sentence, span } from './words.js';

const at = id => document.getElementById(id);
const order = new Intl.Collator('en', { numeric: true });
const ROLES = { NonVoter: 'Learner', NonMember: 'Observer' };

// Shows a fresh status.
export function show(status) {
  set(at('node'), status.node_id);
  at('switch').style.setProperty('--colour', colour(status.node_id));
  set(at('sentence'), sentence(status));
  const lease = status.funk_lease_ms;
  const figures = {
    state: status.role === 'NonMember' && status.state === 'Joining' ? 'Observing' : status.state,
    role: ROLES[status.role] ?? status.role,
    lease: lease > 0 ? `${count(lease)} ms` : status.may_serve ? 'not needed' : 'none',
    term: count(status.term), commit: count(status.commit_index), applied: count(status.applied_index),
    epoch: count(status.epoch), up: span(status.funk_uptime_ms),
  };
  // Outside the cluster there is none of these.
  if (!status.funk_cluster) for (const name of ['lease', 'term', 'commit', 'applied', 'epoch']) figures[name] = '–';
  for (const [name, text] of Object.entries(figures)) set(at(`fact-${name}`), text);
  set(at('version'), status.funk_version);
  switcher(status);
}

// Says that `status` is `age` milliseconds old: what changes by the moment is not known any more.
export function old(status, age) {
  set(at('sentence'), `${status.node_id} does not answer. This is what it said ${span(age)} ago.`);
  for (const name of ['state', 'lease', 'up']) set(at(`fact-${name}`), 'unknown');
}

// The age of what is shown, beside the node; null while it is fresh.
export function age(ms) {
  at('age').hidden = ms === null;
  if (ms !== null) set(at('age'), `data ${span(ms)} old`);
}

// Links to the pages of all that are up.
function switcher(status) {
  const pages = status.members.filter(member => member.endpoints['ep.httpConsole'] && !isGone(member) && member.id !== status.node_id)
    .sort((a, b) => order.compare(a.id, b.id));
  const list = at('switch-list');
  const text = pages.map(member => `${member.id} ${member.endpoints['ep.httpConsole']} ${member.leader}`).join();
  if (list.dataset.pages === text) return;
  list.dataset.pages = text;
  list.replaceChildren(...pages.map(member => {
    const link = make('a', '', member.id);
    link.href = pageAt(status, member.endpoints['ep.httpConsole']) + fragment();
    link.style.setProperty('--colour', colour(member.id));
    const note = member.leader ? 'leader' : member.funk_drained ? 'drained' : '';
    return make('li', '', link, make('span', 'badge', note));
  }));
  if (!pages.length) list.append(make('li', 'faint', 'No other member has a page.'));
}

// An open list closes with Escape, or with a click elsewhere.
export function listen() {
  const menu = at('switch');
  document.addEventListener('click', event => { if (!menu.contains(event.target)) menu.open = false; });
  document.addEventListener('keydown', event => {
    if (event.key !== 'Escape' || !menu.open) return;
    menu.open = false;
    menu.querySelector('summary').focus();
  });
}
