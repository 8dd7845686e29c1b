// Requests that came in at this node, as small multiples: one line for each
// node that served some, all at one scale.

import { colour } from './colours.js';
import { count, rate } from './words.js';

const POINTS = 60;
const WIDTH = 240;
const HEIGHT = 44;
const SVG = 'http://www.w3.org/2000/svg';

let last = null;
const series = new Map();
const cards = new Map();

// Takes in the counters of a status that was asked at `now` (milliseconds).
export function add(status, now) {
  const counters = status.funk_requests ?? {};
  if (last && last.boot === status.funk_boot && now > last.now) {
    const seconds = (now - last.now) / 1000;
    const ids = new Set([...series.keys(), ...Object.keys(counters)]);
    for (const id of ids) {
      const points = series.get(id) ?? new Array(POINTS).fill(0);
      points.push(Math.max(0, ((counters[id] ?? 0) - (last.counters[id] ?? 0)) / seconds));
      series.set(id, points.slice(-POINTS));
    }
  } else {
    for (const id of Object.keys(counters)) if (!series.has(id)) series.set(id, new Array(POINTS).fill(0));
  }
  last = { counters, now, boot: status.funk_boot };
}

const recent = points => points.slice(-3).reduce((a, b) => a + b, 0) / 3;

export function show(box, note, empty, status) {
  const me = status.node_id;
  const served = [...series].filter(([id, points]) => id === me || points.some(value => value > 0) || status.members.some(m => m.id === id && m.serf === 'alive'));
  served.sort(([a], [b]) => (b === me) - (a === me) || a.localeCompare(b, 'en', { numeric: true }));
  const peak = Math.max(10, ...served.flatMap(([, points]) => points));
  const ids = new Set(served.map(([id]) => id));
  for (const [id, card] of cards) {
    if (ids.has(id)) continue;
    card.box.remove();
    cards.delete(id);
  }
  let sum = 0;
  served.forEach(([id, points], at) => {
    const card = cards.get(id) ?? create(id, id === me);
    cards.set(id, card);
    if (box.children[at] !== card.box) box.insertBefore(card.box, box.children[at] ?? null);
    const now = recent(points);
    sum += now;
    card.rate.textContent = `${rate(now)}/s`;
    card.total.textContent = `${count(last.counters[id] ?? 0)} in all`;
    draw(card, points, peak);
  });
  const here = recent(series.get(me) ?? [0, 0, 0]);
  const share = sum > 0 ? `, ${Math.round((here / sum) * 100)} % served here` : '';
  note.textContent = served.length ? `${rate(sum)} per second${share}` : '';
  empty.hidden = served.length > 0;
  if (served.length) return;
  const seed = status.members.find(member => member.id === me)?.endpoints['ep.serf'];
  empty.textContent = seed
    ? `None yet. Try: bin/client --zeroconf=false --join ${seed} --cluster-name ${status.cluster} --rate 500 --duration 30s`
    : 'None yet.';
}

function create(id, here) {
  const box = document.createElement('div');
  box.className = 'stream';
  box.style.setProperty('--colour', colour(id));
  const title = document.createElement('p');
  title.className = 'what';
  title.append(here ? 'Served here' : 'Carried to ');
  if (!here) title.append(Object.assign(document.createElement('strong'), { textContent: id }));
  const speed = Object.assign(document.createElement('p'), { className: 'rate' });
  const total = Object.assign(document.createElement('p'), { className: 'total' });
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  const area = document.createElementNS(SVG, 'path');
  area.setAttribute('class', 'area');
  const line = document.createElementNS(SVG, 'path');
  line.setAttribute('class', 'line');
  svg.append(area, line);
  box.append(title, speed, svg, total);
  return { box, rate: speed, total, area, line };
}

function draw(card, points, peak) {
  const path = points.map((value, i) => {
    const x = (i / (POINTS - 1)) * WIDTH;
    const y = HEIGHT - 1.5 - (value / peak) * (HEIGHT - 4);
    return `${i ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
  }).join('');
  card.line.setAttribute('d', path);
  card.area.setAttribute('d', `${path}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`);
}
