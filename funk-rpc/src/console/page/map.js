// The shard map: every shard (or small range of them) a cell on a winding
// line, in its owner's colour. Cells that change hands ripple over.

import { colour, rgb } from './colours.js';
import { curve } from './curve.js';
import { count, plural, short } from './words.js';

const RIPPLE = 700;
const FADE = 550;
const BORDERS_MAX = 9000;
const calm = matchMedia('(prefers-reduced-motion: reduce)');

// Columns and rows for so many cells: near the wanted shape, with few left over.
function shape(cells, aspect) {
  const wanted = Math.sqrt(cells * aspect);
  let best = null;
  for (let columns = Math.max(1, Math.floor(wanted * 0.85)); columns <= Math.min(cells, Math.ceil(wanted * 1.15)); columns += 1) {
    const rows = Math.ceil(cells / columns);
    const cost = (columns * rows - cells) / cells * 8 + Math.abs(Math.log((columns / rows) / aspect));
    if (!best || cost < best.cost) best = { columns, rows, cost };
  }
  return best ? [best.columns, best.rows] : [cells, 1];
}

export class ShardMap {
  constructor(figure, { hover }) {
    this.figure = figure;
    this.canvas = figure.querySelector('canvas');
    this.labels = figure.querySelector('.labels');
    this.tip = figure.querySelector('.tip');
    this.context = this.canvas.getContext('2d');
    this.small = document.createElement('canvas');
    this.picture = null;
    this.owners = [];
    this.only = null;
    this.hover = hover;
    this.pending = 0;
    new ResizeObserver(() => this.fit()).observe(figure);
    addEventListener('themechange', () => this.recolour());
    figure.addEventListener('pointermove', event => this.point(event));
    figure.addEventListener('pointerleave', () => this.leave());
  }

  // Takes a new picture and lets what changed ripple over.
  show(picture) {
    const same = this.picture && this.picture.cells === picture.cells;
    this.picture = picture;
    this.owners = [];
    this.moving = new Uint8Array(picture.cells);
    for (const [node, length, moving] of picture.runs) {
      const id = node < 0 ? '' : picture.nodes[node];
      for (let i = 0; i < length; i += 1) {
        if (moving) this.moving[this.owners.length] = 1;
        this.owners.push(id);
      }
    }
    if (!same) this.fit();
    this.recolour(same);
  }

  // Shows one node's shards and dims the others; null shows all.
  highlight(id) {
    if (this.only === id) return;
    this.only = id;
    if (this.picture) this.recolour(true, 180);
  }

  fit() {
    const width = this.figure.clientWidth;
    const height = this.figure.clientHeight;
    if (!width || !height) return;
    const scale = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const cells = this.picture?.cells ?? 0;
    if (!cells) return;
    [this.columns, this.rows] = shape(cells, width / height);
    const order = curve(this.columns, this.rows);
    this.place = order;
    this.cell = new Int32Array(this.columns * this.rows).fill(-1);
    for (let i = 0; i < cells; i += 1) this.cell[order[i]] = i;
    this.small.width = this.columns;
    this.small.height = this.rows;
    this.pixels = this.small.getContext('2d').createImageData(this.columns, this.rows);
    if (this.goal) this.settle();
  }

  // Works out every cell's colour anew; `ripple` lets changes travel.
  recolour(ripple = false, length = RIPPLE) {
    if (!this.picture) return;
    const cells = this.picture.cells;
    const paper = rgb('var(--paper)');
    this.paper = paper;
    const palette = new Map();
    const base = id => {
      if (!palette.has(id)) palette.set(id, rgb(id ? colour(id) : 'var(--nobody)'));
      return palette.get(id);
    };
    const goal = new Float32Array(cells * 3);
    for (let i = 0; i < cells; i += 1) {
      const id = this.owners[i];
      const fade = (this.only !== null && id !== this.only ? 0.82 : 0) || (this.moving[i] ? 0.5 : 0);
      const grain = 1 + (((i * 2654435761) >>> 24) / 255 - 0.5) * 0.07;
      const from = base(id);
      for (let c = 0; c < 3; c += 1) goal[i * 3 + c] = Math.min(255, from[c] * grain) * (1 - fade) + paper[c] * fade;
    }
    const now = performance.now();
    const shown = ripple && !calm.matches && this.goal?.length === goal.length ? this.colours(now) : null;
    this.from = shown ?? goal;
    this.goal = goal;
    this.start = new Float64Array(cells);
    this.end = now;
    if (shown) this.schedule(now, length);
    this.settle();
  }

  // When each changed cell begins to change.
  schedule(now, length) {
    const changed = [];
    for (let i = 0; i < this.start.length; i += 1) {
      const far = [0, 1, 2].some(c => Math.abs(this.from[i * 3 + c] - this.goal[i * 3 + c]) > 1);
      if (far) changed.push(i);
    }
    changed.forEach((cell, n) => { this.start[cell] = now + (length === RIPPLE ? (n / changed.length) * RIPPLE : 0); });
    this.fadeTime = length === RIPPLE ? FADE : length;
    this.glow = length === RIPPLE ? 0.6 : 0;
    if (changed.length) this.end = now + (length === RIPPLE ? RIPPLE : 0) + this.fadeTime;
  }

  // The colours of all cells at a moment.
  colours(now) {
    if (now >= this.end) return this.goal;
    const out = new Float32Array(this.goal.length);
    for (let i = 0; i < this.start.length; i += 1) {
      const t = Math.min(1, Math.max(0, (now - this.start[i]) / this.fadeTime));
      const eased = t * t * (3 - 2 * t);
      // Half way over, a cell that changes hands is bright: a wave runs through the map.
      const glow = Math.sin(Math.PI * t) * this.glow;
      for (let c = 0; c < 3; c += 1) {
        const at = i * 3 + c;
        const plain = this.from[at] + (this.goal[at] - this.from[at]) * eased;
        out[at] = plain + (this.paper[c] - plain) * (this.start[i] ? glow : 0);
      }
    }
    return out;
  }

  settle() {
    this.label();
    this.borders = this.findBorders();
    if (!this.pending) this.pending = requestAnimationFrame(now => this.frame(now));
  }

  frame(now) {
    this.pending = 0;
    if (!this.cell || !this.goal) return;
    this.draw(this.colours(now));
    if (now < this.end) this.pending = requestAnimationFrame(next => this.frame(next));
  }

  draw(colours) {
    const { context, canvas, columns, rows } = this;
    const [cw, ch] = [canvas.width / columns, canvas.height / rows];
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (Math.min(cw, ch) >= 10 * (devicePixelRatio || 1)) {
      this.drawTiles(colours, cw, ch);
      return;
    }
    const data = this.pixels.data;
    for (let at = 0; at < this.cell.length; at += 1) {
      const i = this.cell[at];
      data[at * 4 + 3] = i < 0 ? 0 : 255;
      if (i < 0) continue;
      for (let c = 0; c < 3; c += 1) data[at * 4 + c] = colours[i * 3 + c];
    }
    this.small.getContext('2d').putImageData(this.pixels, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.small, 0, 0, canvas.width, canvas.height);
    if (!this.borders) return;
    context.beginPath();
    for (const [x1, y1, x2, y2] of this.borders) {
      context.moveTo(x1 * cw, y1 * ch);
      context.lineTo(x2 * cw, y2 * ch);
    }
    context.lineWidth = 2 * (devicePixelRatio || 1);
    context.lineCap = 'square';
    context.strokeStyle = `rgb(${rgb('var(--paper)').join(' ')})`;
    context.stroke();
  }

  // Few enough to be seen one by one.
  drawTiles(colours, cw, ch) {
    const gap = Math.min(6, Math.max(1.5, Math.min(cw, ch) * 0.08)) * (devicePixelRatio || 1) / 2;
    for (let i = 0; i < this.owners.length; i += 1) {
      const [x, y] = this.at(i);
      this.context.fillStyle = `rgb(${colours[i * 3]} ${colours[i * 3 + 1]} ${colours[i * 3 + 2]})`;
      this.context.beginPath();
      this.context.roundRect(x * cw + gap, y * ch + gap, cw - 2 * gap, ch - 2 * gap, Math.min(cw, ch) * 0.14);
      this.context.fill();
    }
  }

  at(i) {
    return [this.place[i] % this.columns, Math.floor(this.place[i] / this.columns)];
  }

  ownerAt(x, y) {
    const i = x < 0 || y < 0 || x >= this.columns || y >= this.rows ? -1 : this.cell[y * this.columns + x];
    return i < 0 ? null : this.owners[i];
  }

  // Lines between territories; none where the shards lie too scattered for any.
  findBorders() {
    if (!this.cell || this.cell.length < 400) return null;
    const lines = [];
    for (let y = 0; y < this.rows; y += 1) {
      for (let x = 0; x < this.columns; x += 1) {
        const here = this.ownerAt(x, y);
        if (x && this.ownerAt(x - 1, y) !== here) lines.push([x, y, x, y + 1]);
        if (y && this.ownerAt(x, y - 1) !== here) lines.push([x, y, x + 1, y]);
        if (lines.length > BORDERS_MAX) return null;
      }
    }
    return lines;
  }

  // Writes each owner's name where its territory has most room for it.
  label() {
    if (!this.cell || !this.goal) return;
    const { columns, rows } = this;
    const [cw, ch] = [this.figure.clientWidth / columns, this.figure.clientHeight / rows];
    // Names are wide and low, so room to the sides counts for less.
    const [side, down] = [cw * 0.32, ch];
    const room = new Float32Array(columns * rows);
    const pass = (x, y, neighbours) => {
      const here = this.ownerAt(x, y);
      let least = room[y * columns + x] || Infinity;
      for (const [dx, dy] of neighbours) {
        const step = Math.hypot(dx * side, dy * down);
        const there = this.ownerAt(x + dx, y + dy);
        least = Math.min(least, there === here ? room[(y + dy) * columns + x + dx] + step : step / 2);
      }
      room[y * columns + x] = least;
    };
    for (let y = 0; y < rows; y += 1) for (let x = 0; x < columns; x += 1) pass(x, y, [[-1, 0], [0, -1], [-1, -1], [1, -1]]);
    this.territories = this.survey();
    const best = new Map();
    for (let y = rows - 1; y >= 0; y -= 1) {
      for (let x = columns - 1; x >= 0; x -= 1) {
        pass(x, y, [[1, 0], [0, 1], [1, 1], [-1, 1]]);
        const territory = this.territories[y * columns + x];
        const here = room[y * columns + x];
        if (territory && here > (best.get(territory) ?? 15)) best.set(territory, here);
      }
    }
    this.write(this.middles(best, room), cw, ch);
  }

  // Names the territory of each cell: `owner/n` for the owner's n-th that hangs together.
  survey() {
    const names = new Array(this.cell.length).fill('');
    const seen = new Map();
    for (let i = 0; i < this.owners.length; i += 1) {
      const id = this.owners[i];
      if (!id || names[this.place[i]]) continue;
      const nth = (seen.get(id) ?? 0) + 1;
      seen.set(id, nth);
      const open = [this.place[i]];
      names[this.place[i]] = `${id}/${nth}`;
      while (open.length) {
        const at = open.pop();
        const [x, y] = [at % this.columns, Math.floor(at / this.columns)];
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          const next = (y + dy) * this.columns + x + dx;
          if (this.ownerAt(x + dx, y + dy) !== id || names[next]) continue;
          names[next] = `${id}/${nth}`;
          open.push(next);
        }
      }
    }
    return names;
  }

  // Of the cells of a territory with about the most room, the one nearest to their middle.
  middles(best, room) {
    const spots = new Map([...best.keys()].map(territory => [territory, []]));
    for (let at = 0; at < room.length; at += 1) {
      const territory = this.territories[at];
      if (best.has(territory) && room[at] >= best.get(territory) * 0.9) spots.get(territory).push(at);
    }
    return [...spots].map(([territory, cells]) => {
      const points = cells.map(at => [at % this.columns, Math.floor(at / this.columns)]);
      const mean = c => points.reduce((sum, point) => sum + point[c], 0) / points.length;
      const [mx, my] = [mean(0), mean(1)];
      const far = ([x, y]) => Math.hypot(x - mx, y - my);
      return [territory, points.reduce((a, b) => (far(b) < far(a) ? b : a))];
    });
  }

  write(places, cw, ch) {
    const old = new Map([...this.labels.children].map(label => [label.dataset.territory, label]));
    for (const [territory, [x, y]] of places) {
      const id = territory.slice(0, territory.lastIndexOf('/'));
      const label = old.get(territory) ?? document.createElement('span');
      old.delete(territory);
      if (!label.isConnected) {
        label.dataset.territory = territory;
        label.textContent = short(id);
        this.labels.append(label);
      }
      label.style.left = `${(x + 0.5) * cw}px`;
      label.style.top = `${(y + 0.5) * ch}px`;
      label.classList.toggle('dim', this.only !== null && this.only !== id);
    }
    for (const label of old.values()) label.remove();
  }

  point(event) {
    if (!this.cell) return;
    const box = this.figure.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
    const y = Math.floor(((event.clientY - box.top) / box.height) * this.rows);
    const i = x < 0 || y < 0 || x >= this.columns || y >= this.rows ? -1 : this.cell[y * this.columns + x];
    if (i < 0) return this.leave();
    const { shards, cells } = this.picture;
    const first = Math.floor(i * shards / cells);
    const last = Math.floor((i + 1) * shards / cells) - 1;
    const which = first === last ? `Shard ${count(first)}` : `Shards ${count(first)} to ${count(last)}`;
    const who = this.owners[i] || 'nobody';
    this.tip.textContent = `${which} · ${who}${this.moving[i] ? ', waiting' : ''}`;
    this.tip.hidden = false;
    const left = Math.min(Math.max(event.clientX - box.left, 70), box.width - 70);
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${event.clientY - box.top}px`;
    this.hover(this.owners[i] || null);
  }

  leave() {
    this.tip.hidden = true;
    this.hover(null);
  }

  // What the map shows, for those who don't see it.
  describe(members) {
    if (!this.picture?.shards) return 'The shard map is not known yet.';
    const shares = members.filter(member => member.shards > 0).map(member => `${member.id} owns ${count(member.shards)}`);
    return `Map of ${plural(this.picture.shards, 'shard')}: ${shares.join(', ') || 'nobody owns any'}.`;
  }
}
