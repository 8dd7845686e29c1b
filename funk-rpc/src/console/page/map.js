// The shard map: every shard (or small range of them) a cell on a winding
// line, in its owner's colour. Cells that change hands ripple over.

import { colour, rgb } from './colours.js';
import { curve } from './curve.js';
import { Hatch } from './hatch.js';
import { Labels } from './labels.js';
import { isDark } from './verdict.js';
import { count, plural } from './words.js';

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
  constructor(figure, { hover, look }) {
    this.figure = figure;
    this.canvas = figure.querySelector('canvas');
    this.labels = new Labels(figure.querySelector('.labels'));
    this.hatch = new Hatch();
    this.outage = { all: false, gone: new Set() };
    this.tip = figure.querySelector('.tip');
    this.context = this.canvas.getContext('2d');
    this.small = document.createElement('canvas');
    this.summary = null;
    this.ids = [];
    this.only = null;
    this.hover = hover;
    this.look = look;
    this.pending = 0;
    new ResizeObserver(() => this.fit()).observe(figure);
    addEventListener('themechange', () => this.recolour());
    figure.addEventListener('pointermove', event => this.point(event));
    figure.addEventListener('pointerleave', () => this.leave());
    figure.addEventListener('click', event => this.look(this.cellAt(event)));
  }

  // Who serves nothing: everybody, or the nodes that are gone.
  serves(all, gone) {
    if (this.outage.all === all && [...gone].join() === [...this.outage.gone].join()) return;
    this.outage = { all, gone };
    this.figure.classList.toggle('nobody', all);
    if (!this.summary) return;
    this.darken();
    this.recolour(true, 180);
  }

  // Marks the cells that nobody serves.
  darken() {
    const { all, gone } = this.outage;
    this.dark = new Uint8Array(this.owner.length);
    const dead = this.ids.map(id => isDark(id, gone));
    for (let i = 0; i < this.dark.length; i += 1) {
      const dark = all || (this.moving[i] && (this.owner[i] < 0 || dead[this.owner[i]]));
      this.dark[i] = dark ? 1 : 0;
    }
    if (this.cell) this.hatch.set(this.cell.map(i => (i < 0 ? 0 : this.dark[i])), this.columns, this.rows);
  }

  // Takes a new summary and lets what changed ripple over.
  show(summary) {
    const same = this.summary?.cells === summary.cells;
    this.summary = summary;
    this.owner = new Int16Array(summary.cells).fill(-1);
    this.moving = new Uint8Array(summary.cells);
    this.dark = new Uint8Array(summary.cells);
    let cell = 0;
    for (const [node, length, moving] of summary.runs) {
      this.owner.fill(node < 0 ? -1 : this.number(summary.nodes[node]), cell, cell + length);
      if (moving) this.moving.fill(1, cell, cell + length);
      cell += length;
    }
    if (!same) this.fit();
    this.place();
    this.recolour(same);
  }

  // The number of a node on this map.
  number(id) {
    const at = this.ids.indexOf(id);
    return at < 0 ? this.ids.push(id) - 1 : at;
  }

  // Lays the owners out, and finds what only their places decide.
  place() {
    if (!this.order) return;
    this.own = new Int16Array(this.columns * this.rows).fill(-1);
    for (let i = 0; i < this.owner.length; i += 1) this.own[this.order[i]] = this.owner[i];
    this.borders = this.findBorders();
    this.darken();
    this.labels.show(this);
    this.labels.dim(this.only);
  }

  // Shows one node's shards and dims the others; null shows all.
  highlight(id) {
    if (this.only === id) return;
    this.only = id;
    this.labels.dim(id);
    if (this.summary) this.recolour(true, 180);
  }

  fit() {
    const width = this.figure.clientWidth;
    const height = this.figure.clientHeight;
    if (!width || !height) return;
    const scale = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const cells = this.summary?.cells ?? 0;
    if (!cells) return;
    [this.columns, this.rows] = shape(cells, width / height);
    this.order = curve(this.columns, this.rows);
    this.cell = new Int32Array(this.columns * this.rows).fill(-1);
    for (let i = 0; i < cells; i += 1) this.cell[this.order[i]] = i;
    this.small.width = this.columns;
    this.small.height = this.rows;
    this.pixels = this.small.getContext('2d').createImageData(this.columns, this.rows);
    if (!this.goal) return;
    this.place();
    this.paint();
  }

  // Works out every cell's colour anew; `ripple` lets changes travel.
  recolour(ripple = false, length = RIPPLE) {
    if (!this.summary) return;
    const cells = this.summary.cells;
    const paper = rgb('var(--paper)');
    this.paper = paper;
    const palette = this.ids.map(id => rgb(colour(id)));
    const nobody = rgb('var(--nobody)');
    const only = this.only === null ? -1 : this.ids.indexOf(this.only);
    const goal = new Float32Array(cells * 3);
    for (let i = 0; i < cells; i += 1) {
      const fade = this.only !== null && this.owner[i] !== only ? 0.82 : this.dark[i] ? 0.5 : this.moving[i] ? 0.5 : 0;
      const grain = 1 + ((Math.imul(i, 2654435761) >>> 24) / 255 - 0.5) * 0.07;
      const from = palette[this.owner[i]] ?? nobody;
      for (let c = 0; c < 3; c += 1) goal[i * 3 + c] = Math.min(255, from[c] * grain) * (1 - fade) + paper[c] * fade;
    }
    const now = performance.now();
    const shown = ripple && !calm.matches && this.goal?.length === goal.length ? this.colours(now) : null;
    this.from = shown ?? goal;
    this.goal = goal;
    this.start = new Float64Array(cells);
    this.end = now;
    if (shown) this.schedule(now, length);
    this.paint();
  }

  // When each changed cell begins to change.
  schedule(now, length) {
    const changed = [];
    for (let i = 0; i < this.start.length; i += 1) {
      const far = c => Math.abs(this.from[i * 3 + c] - this.goal[i * 3 + c]) > 1;
      if (far(0) || far(1) || far(2)) changed.push(i);
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

  paint() {
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
    if (Math.min(cw, ch) >= 10 * (devicePixelRatio || 1)) this.drawTiles(colours, cw, ch);
    else this.drawCells(colours, cw, ch);
    this.hatch.draw(canvas, this.paper);
  }

  // So many that they merge into areas.
  drawCells(colours, cw, ch) {
    const { context, canvas } = this;
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
    for (let i = 0; i < this.owner.length; i += 1) {
      const [x, y] = [this.order[i] % this.columns, Math.floor(this.order[i] / this.columns)];
      this.context.fillStyle = `rgb(${colours[i * 3]} ${colours[i * 3 + 1]} ${colours[i * 3 + 2]})`;
      this.context.beginPath();
      this.context.roundRect(x * cw + gap, y * ch + gap, cw - 2 * gap, ch - 2 * gap, Math.min(cw, ch) * 0.14);
      this.context.fill();
    }
  }

  // Lines between territories; none where the shards lie too scattered for any.
  findBorders() {
    if (!this.own || this.own.length < 400) return null;
    const { own, columns } = this;
    const lines = [];
    for (let at = 0; at < own.length; at += 1) {
      const x = at % columns;
      const y = Math.floor(at / columns);
      if (x && own[at - 1] !== own[at]) lines.push([x, y, x, y + 1]);
      if (y && own[at - columns] !== own[at]) lines.push([x, y, x + 1, y]);
      if (lines.length > BORDERS_MAX) return null;
    }
    return lines;
  }

  // The cell under a pointer, -1 where there is none.
  cellAt(event) {
    if (!this.cell) return -1;
    const box = this.figure.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
    const y = Math.floor(((event.clientY - box.top) / box.height) * this.rows);
    return x < 0 || y < 0 || x >= this.columns || y >= this.rows ? -1 : this.cell[y * this.columns + x];
  }

  // What a cell stands for: { first, last, owner, moving, dark }.
  about(cell) {
    const { shards, cells } = this.summary;
    const first = Math.floor(cell * shards / cells);
    const last = Math.floor((cell + 1) * shards / cells) - 1;
    const owner = this.ids[this.owner[cell]] ?? null;
    return { first, last, owner, moving: this.moving[cell] === 1, dark: this.dark[cell] === 1 };
  }

  point(event) {
    const cell = this.cellAt(event);
    if (cell < 0) return this.leave();
    const { first, last, owner, moving, dark } = this.about(cell);
    const which = first === last ? `Shard ${count(first)}` : `Shards ${count(first)} to ${count(last)}`;
    this.tip.textContent = `${which} · ${owner ?? 'nobody'}${dark ? ', not served' : moving ? ', waiting' : ''}`;
    this.tip.hidden = false;
    const box = this.figure.getBoundingClientRect();
    const left = Math.min(Math.max(event.clientX - box.left, 70), box.width - 70);
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${event.clientY - box.top}px`;
    this.hover(owner);
  }

  leave() {
    this.tip.hidden = true;
    this.hover(null);
  }

  // What the map shows, for those who don't see it.
  describe(members) {
    if (!this.summary?.shards) return 'The shard map is not known yet.';
    const shares = members.filter(member => member.shards > 0).map(member => `${member.id} owns ${count(member.shards)}`);
    const served = this.outage.all ? ' Nobody may serve them now.' : '';
    return `Map of ${plural(this.summary.shards, 'shard')}: ${shares.join(', ') || 'nobody owns any'}.${served}`;
  }
}
