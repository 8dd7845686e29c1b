// The names on the map. A name belongs to one territory: it is never wider than
// that, and never travels over foreign land.

import { set } from './dom.js';
import { reach, roomiest, survey } from './territories.js';
import { isDark } from './verdict.js';
import { short } from './words.js';

// Pixels from a name's middle to the end of its territory, at least.
const ROOM = 12;
const HEIGHT = 24;
const SIDES = 22;
const LETTERS_MIN = 3;
const NOBODY = new Set();

export class Labels {
  constructor(box) {
    this.box = box;
    this.pen = document.createElement('canvas').getContext('2d');
    this.pen.font = `600 13px ${getComputedStyle(document.documentElement).fontFamily}`;
  }

  // Writes each owner's name where its territories have most room for it.
  show({ figure, own, ids, columns, rows }) {
    const [cw, ch] = [figure.clientWidth / columns, figure.clientHeight / rows];
    const found = survey(own, columns, rows);
    const old = new Map([...this.box.children].map(label => [label.dataset.key, label]));
    for (const { territory, x, y } of roomiest(found, cw, ch, ROOM)) {
      const id = ids[found.owners[territory]];
      if (isDark(id, NOBODY)) continue;
      const { left, right } = reach(found, territory, x, y, HEIGHT / ch);
      const width = (left + right + 1) * cw - 4;
      const text = this.fit(short(id), width);
      if (!text) continue;
      // In the middle of the room beside it, as long as that is its own.
      const middle = (x + 0.5 + (right - left) / 2) * cw;
      const key = `${id}/${x}/${y}`;
      const label = old.get(key) ?? document.createElement('span');
      if (!old.delete(key)) {
        Object.assign(label.dataset, { id, key });
        this.box.append(label);
      }
      set(label, text);
      label.style.left = `${middle}px`;
      label.style.top = `${(y + 0.5) * ch}px`;
    }
    for (const label of old.values()) label.remove();
  }

  // As much of a name as has room; empty if that says nothing.
  fit(name, width) {
    const wide = text => this.pen.measureText(text).width + SIDES;
    if (wide(name) <= width) return name;
    for (let letters = name.length - 1; letters >= LETTERS_MIN; letters -= 1) {
      const text = `${name.slice(0, letters)}…`;
      if (wide(text) <= width) return text;
    }
    return '';
  }

  // Shows the names of all but `only` weakly; null shows all.
  dim(only) {
    for (const label of this.box.children) label.classList.toggle('dim', only !== null && only !== label.dataset.id);
  }
}
