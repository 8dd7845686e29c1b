// What the words mean, shown beside a word that has the focus or the pointer.

import { set } from './dom.js';

const TERMS = {
  state: 'Operational: knows the leader and may serve. Voting: knows no leader, or its lease is over. Resharding: some of its shards are moving.',
  role: 'The leader writes the log. Followers are voters; learners have no vote but own shards like the others; observers are in gossip only.',
  lease: 'Permission to serve what one owns, for a limited time. The leader extends it with every heartbeat.',
  term: 'A period with at most one leader. Terms only grow.',
  committed: 'The last entry of the log that a majority of voters has stored. It never changes.',
  applied: 'The last entry of the log that this node has acted on.',
  epoch: 'The index of the last log entry that changed who owns which shard.',
  member: 'A node that the log says is in. Voters count for majorities; learners own shards without a vote.',
  gossip: 'Who is there, by Serf’s protocol. It decides nothing.',
  shard: 'One of a fixed number of parts of the key space. Each has one owner.',
};

// Gives every word with `data-term` its explanation.
export function listen() {
  const box = document.getElementById('gloss');
  let shown = null;
  const hide = () => {
    box.hidden = true;
    shown?.removeAttribute('aria-describedby');
    shown = null;
  };
  const show = word => {
    hide();
    shown = word;
    word.setAttribute('aria-describedby', 'gloss');
    set(box, TERMS[word.dataset.term]);
    box.hidden = false;
    const at = word.getBoundingClientRect();
    const left = Math.min(at.left, document.documentElement.clientWidth - box.offsetWidth - 16);
    box.style.left = `${Math.max(16, left) }px`;
    box.style.top = `${at.bottom + 6}px`;
  };
  for (const word of document.querySelectorAll('[data-term]')) {
    word.tabIndex = 0;
    for (const event of ['pointerenter', 'focus']) word.addEventListener(event, () => show(word));
    for (const event of ['pointerleave', 'blur']) word.addEventListener(event, hide);
  }
  for (const event of ['scroll', 'resize']) addEventListener(event, hide, { passive: true });
  document.addEventListener('keydown', event => { if (event.key === 'Escape') hide(); });
}
