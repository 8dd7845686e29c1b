// Terms and leaders as chapters, oldest first. A chapter's width grows with
// the logarithm of its length: a reign of days and one of seconds both show,
// and so does the moment between them.

import { colour } from './colours.js';
import { clock, count, span } from './words.js';

const UNNAMED = 'not named here';

let story = [];
let shown = [];

// Takes in a leader event. Those come in order, so the last one is the present.
export function add(event) {
  const at = event.at_ns / 1e6;
  const last = story.at(-1);
  if (last && last.term === event.term && last.leader === event.leader) {
    // Lost twice in one term: between the two somebody led whose name was not known here yet.
    if (!last.leader && at > last.at) {
      last.leader = UNNAMED;
      story.push({ leader: '', term: event.term, at });
    }
    return;
  }
  story.push({ leader: event.leader, term: event.term, at });
  if (story.length > 200) story.shift();
}

// Forgets everything: the node is another run and tells its own story.
export function clear() {
  story = [];
}

// When the leader was lost, in the node's milliseconds; 0 while there is one, or none was ever known.
export const since = () => (story.length && !story.at(-1).leader ? story.at(-1).at : 0);

let odd = '';

// Completes what the events leave open, by what two statuses in a row say: the
// present is where a story without a beginning begins, and a node that just
// joined hears of a leader before it knows the leader's name.
export function complete(status, now) {
  const last = story.at(-1);
  const fits = !status.leader || (last && last.leader === status.leader && last.term === status.term);
  const seen = `${status.term}/${status.leader}`;
  const twice = odd === seen;
  odd = fits ? '' : seen;
  if (fits || !twice) return;
  const nameless = last && story.every(entry => !entry.leader);
  if (nameless) story = [{ leader: status.leader, term: status.term, at: story[0].at }];
  else add({ leader: status.leader, term: status.term, at_ns: now * 1e6 });
}

const chapters = now => story.map((entry, i) => {
  const end = story[i + 1]?.at ?? now;
  return { ...entry, length: Math.max(0, end - entry.at), open: i === story.length - 1 };
});

export function show(list, note, now) {
  const all = chapters(now);
  const key = chapter => `${chapter.term}/${chapter.leader}/${chapter.at}`;
  const same = all.length === shown.length && all.every((chapter, i) => key(chapter) === shown[i]);
  if (!same) {
    list.replaceChildren(...all.map(create));
    shown = all.map(key);
  }
  all.forEach((chapter, i) => update(list.children[i], chapter));
  const leaders = all.filter(chapter => chapter.leader).length;
  const text = leaders < 2 ? 'one leader so far' : `${count(leaders - 1)} ${leaders === 2 ? 'change' : 'changes'} seen`;
  if (note.textContent !== text) note.textContent = leaders ? text : 'no leader yet';
}

function create(chapter) {
  const item = document.createElement('li');
  item.className = chapter.leader ? 'reign' : 'gap';
  const bar = document.createElement('span');
  bar.className = 'bar';
  if (chapter.leader) bar.style.background = colour(chapter.leader);
  const who = document.createElement('span');
  who.className = 'who';
  who.textContent = chapter.leader || 'no leader';
  const term = document.createElement('span');
  term.className = 'term';
  term.textContent = chapter.leader ? `Term ${count(chapter.term)}` : '';
  const length = document.createElement('span');
  length.className = 'length';
  item.append(bar, who, term, length);
  item.title = `From ${clock(chapter.at)}, term ${chapter.term}`;
  return item;
}

function update(item, chapter) {
  item.classList.toggle('open', chapter.open);
  item.style.flexGrow = chapter.leader ? Math.log10(10 + chapter.length / 1000).toFixed(2) : '0';
  const text = chapter.open && chapter.leader ? `for ${span(chapter.length)}, now` : span(chapter.length);
  const length = item.lastChild;
  if (length.textContent !== text) length.textContent = text;
}
