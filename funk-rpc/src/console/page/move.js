// A page that outlives its node: it goes on from another member's page, and
// says there whose page it was.

import { fragment } from './colours.js';
import { set } from './dom.js';
import { lost, pageAt } from './fragment.js';
import * as peers from './peers.js';
import { isGone } from './verdict.js';

// Long enough for a node that is only restarted, or stalls for a moment.
const AFTER = 3000;

const at = id => document.getElementById(id);
let moving = false;
let away = false;
let dismissed = false;

// The node has been silent for `age`: goes to a member whose page answers.
export async function on(status, age) {
  if (moving || document.hidden || age < AFTER) return;
  moving = true;
  const next = await peers.next();
  moving = false;
  if (next && at('node').textContent === status.node_id && document.documentElement.dataset.connection === 'lost') {
    location.replace(pageAt(status, next.address) + fragment(status.node_id));
  }
}

// Says that this page goes on for one whose node no longer answered, and how that node is now.
export function welcome(status) {
  if (!lost || dismissed || lost === status.node_id) return;
  const member = status.members.find(one => one.id === lost);
  if (!member) return;
  const page = member.endpoints['ep.httpConsole'];
  const gone = isGone(member) || !page;
  away ||= gone;
  const now = gone ? 'is gone' : away ? 'is back' : 'did not answer';
  set(at('moved-text'), `${lost} ${now}; shown by ${status.node_id}.`);
  at('moved-back').hidden = gone;
  if (page) at('moved-back').href = pageAt(status, page) + fragment();
  at('moved').hidden = false;
}

export function listen() {
  at('moved-close').addEventListener('click', () => {
    dismissed = true;
    at('moved').hidden = true;
  });
}
