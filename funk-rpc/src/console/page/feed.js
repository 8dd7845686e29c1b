// What happened, newest first: a line for each group of events, and a card
// for each incident.

import * as card from './card.js';
import { colour } from './colours.js';
import { make, spoken } from './dom.js';
import { isIncident, isOpen, line } from './incidents.js';
import { clock } from './words.js';

const shown = new Map();

// Shows the latest groups in `list`; those that changed are written anew.
export function show(list, groups, total, now) {
  const numbers = new Set(groups.map(group => group.number));
  for (const [number, entry] of shown) {
    if (numbers.has(number)) continue;
    entry.item.remove();
    shown.delete(number);
  }
  for (const group of groups) {
    const old = shown.get(group.number);
    const state = `${group.events.length}/${isOpen(group) ? Math.floor(now / 1000) : ''}`;
    if (old?.state === state) continue;
    const item = isIncident(group) ? card.create(group, total, now) : oneLine(group);
    if (old) {
      old.item.replaceWith(item);
    } else {
      item.classList.add('new');
      list.prepend(item);
    }
    shown.set(group.number, { item, state });
  }
}

function oneLine(group) {
  const { who, parts, weight } = line(group);
  const time = make('time', '', clock(group.at));
  time.dateTime = new Date(group.at).toISOString();
  const dot = make('span', 'dot');
  if (who) dot.style.background = colour(who);
  return make('li', weight, time, dot, make('span', '', ...spoken(parts)));
}
