// An incident as a card: what was lost, who took over, a track with the
// milliseconds of each step, and what it cost.

import { colour } from './colours.js';
import { make, spoken } from './dom.js';
import { dark, headline, isOpen, marks, story } from './incidents.js';
import { clock, count, exact } from './words.js';

export function create(group, total, now) {
  const time = make('time', '', clock(group.at));
  time.dateTime = new Date(group.at).toISOString();
  const head = make('p', 'card-head', ...headline(group, now).map(part => {
    if (!part.who) return part;
    const name = make('strong', '', part.who);
    name.style.setProperty('--colour', colour(part.who));
    return name;
  }));
  const steps = marks(group);
  const item = make('li', isOpen(group) ? 'card open' : 'card', time, head);
  // Its seconds count on.
  if (isOpen(group)) item.setAttribute('aria-live', 'off');
  const told = story(group);
  if (told.length) item.append(make('p', 'card-story', ...spoken(told)));
  if (steps.length) item.append(track(group, steps), list(steps));
  item.append(cost(group, total));
  return item;
}

// The bar: red and hatched while there was no leader, pale until every shard had an owner, then green.
function track(group, steps) {
  const bar = make('div', 'track');
  bar.setAttribute('aria-hidden', 'true');
  const end = Math.max(steps.at(-1).after * 1.3, 1);
  const piece = (name, from, to) => {
    if (to <= from) return;
    const part = make('span', name);
    part.style.left = `${(from / end) * 100}%`;
    part.style.width = `${((to - from) / end) * 100}%`;
    bar.append(part);
  };
  const last = steps.at(-1).after;
  const until = isOpen(group) ? end : last;
  const missed = steps.find(step => step.kind === 'missed');
  const elected = steps.findLast(step => step.kind === 'elected');
  piece('waits', 0, until);
  if (missed) piece('leaderless', missed.after, isOpen(group) ? end : elected?.after ?? last);
  if (!isOpen(group)) piece('served', last, end);
  for (const step of steps) {
    const tick = make('span', 'tick');
    tick.style.left = `${(step.after / end) * 100}%`;
    bar.append(tick);
  }
  return bar;
}

function list(steps) {
  return make('dl', 'steps', ...steps.map(step => make('div', '', make('dt', '', exact(step.after)), make('dd', '', step.text))));
}

function cost(group, total) {
  const shards = dark(group);
  const one = (value, text) => make('div', '', make('dt', '', text), make('dd', '', value));
  if (!group.lost.length) return make('dl', 'cost');
  const kept = Math.max(0, total - shards);
  return make('dl', 'cost',
    one(count(shards), shards ? 'shards were dark until then' : 'shards were dark'),
    ...(total ? [one(count(kept), 'kept their owner')] : []));
}
