// The picture: lanes over time, moves between them, faults below.
const data = JSON.parse(document.getElementById("data").textContent);
const { lanes, moves, troubles, healed, end } = data.picture;
const canvas = document.getElementById("canvas");
const map = document.getElementById("map");
const tip = document.getElementById("tip");

const LEFT = 56, RIGHT = 16, AXIS = 28, FAULT = 17, MIN_SPAN = 200;
const view = { from: 0, to: end, cursor: null };
let size = { width: 0, height: 0 }, lane = { height: 0, pitch: 0 }, rows = [], faultTop = 0, scroll = 0;

const x = (time) => LEFT + ((time - view.from) / (view.to - view.from)) * (size.width - LEFT - RIGHT);
const timeAt = (px) => view.from + ((px - LEFT) / (size.width - LEFT - RIGHT)) * (view.to - view.from);
const laneTop = (at) => AXIS + 14 + at * lane.pitch;

function seconds(time, digits = 6) {
  return `${(time / 1e6).toFixed(digits)} s`;
}

// Faults into as few rows as there is room for: a row is free when the one before in it has ended.
function pack() {
  const ends = [];
  rows = troubles.map(([from, to]) => {
    const room = Math.max(to, from + (end / Math.max(size.width, 1)) * 96);
    let row = ends.findIndex((until) => until <= from);
    if (row < 0) row = ends.length;
    ends[row] = room;
    return row;
  });
  return ends.length;
}

function measure() {
  const box = canvas.getBoundingClientRect();
  size = { width: box.width, height: box.height };
  canvas.width = Math.round(box.width * ratio());
  canvas.height = Math.round(box.height * ratio());
  const count = pack();
  const below = Math.min(count * FAULT + 16, box.height * 0.42);
  const pitch = Math.min(84, Math.max(20, (box.height - AXIS - 14 - below) / Math.max(lanes.length, 1)));
  lane = { pitch, height: Math.min(26, Math.max(8, pitch * 0.42)) };
  faultTop = laneTop(lanes.length) + 4;
  scroll = Math.min(scroll, Math.max(0, faultTop + count * FAULT + 12 - box.height));
}

// The first of `stride` numbers each whose end, `at` numbers in, is not before `time`.
function firstAfter(list, stride, at, time) {
  let low = 0, high = list.length / stride;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle * stride + at] < time) low = middle + 1;
    else high = middle;
  }
  return low * stride;
}

function step() {
  const least = ((view.to - view.from) / (size.width - LEFT)) * 90;
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= least);
}

function axis(c) {
  const every = step();
  const digits = Math.max(0, Math.ceil(6 - Math.log10(every)));
  c.textAlign = "center";
  c.textBaseline = "middle";
  c.font = "12px system-ui, sans-serif";
  for (let time = Math.ceil(view.from / every) * every; time <= view.to; time += every) {
    const px = Math.round(x(time)) + 0.5;
    c.strokeStyle = paints.line;
    c.beginPath();
    c.moveTo(px, AXIS);
    c.lineTo(px, size.height);
    c.stroke();
    c.fillStyle = paints.soft;
    c.textAlign = px > size.width - 34 ? "right" : "center";
    c.fillText(seconds(time, Math.min(6, digits)), Math.min(px, size.width - 4), 14);
  }
}

function drawLane(c, at) {
  const { spans, leads, marks, name } = lanes[at];
  const top = laneTop(at), height = lane.height;
  c.fillStyle = paints.track;
  c.fillRect(LEFT, top, size.width - LEFT - RIGHT, height);
  for (let n = firstAfter(spans, 4, 1, view.from); n < spans.length && spans[n] < view.to; n += 4) {
    const shown = SHOWN[spans[n + 2]];
    if (!shown.paint) continue;
    const from = Math.max(x(spans[n]), LEFT), to = Math.min(x(spans[n + 1]), size.width - RIGHT);
    c.globalAlpha = shown.light ? 0.38 : 1;
    c.fillStyle = shown.paint(at);
    c.fillRect(from, top, Math.max(to - from, 0.6), height);
    c.globalAlpha = 1;
    const shards = spans[n + 3];
    if (shards && to - from > 70 && height > 14) {
      c.fillStyle = paints.paper;
      c.textAlign = "left";
      c.font = "600 11px system-ui, sans-serif";
      c.fillText(`${shards.toLocaleString("en")} shards`, from + 6, top + height / 2 + 0.5);
    }
  }
  c.font = "11px system-ui, sans-serif";
  for (let n = firstAfter(leads, 3, 1, view.from); n < leads.length && leads[n] < view.to; n += 3) {
    const from = Math.max(x(leads[n]), LEFT), to = Math.min(x(leads[n + 1]), size.width - RIGHT);
    c.fillStyle = paints.ink;
    c.fillRect(from, top - 5, Math.max(to - from, 1.5), 3);
    if (to - from > 46 && lane.pitch > 34) {
      c.textAlign = "left";
      c.fillText(`term ${leads[n + 2]}`, from + 2, top - 12);
    }
  }
  for (let n = firstAfter(marks, 2, 0, view.from); n < marks.length && marks[n] <= view.to; n += 2) {
    drawMark(c, x(marks[n]), top + height / 2, marks[n + 1]);
  }
  c.fillStyle = paints.paper;
  c.fillRect(0, top - 18, LEFT, lane.pitch);
  c.fillStyle = paints.ink;
  c.textAlign = "right";
  c.font = "600 14px system-ui, sans-serif";
  c.fillText(name.length > 6 ? `${name.slice(0, 5)}…` : name, LEFT - 10, top + height / 2);
}

function drawMark(c, px, y, mark) {
  c.lineWidth = 2;
  c.strokeStyle = mark === 0 ? paints.soft : paints.bad;
  c.beginPath();
  if (mark === 0) {
    c.lineWidth = 1;
    c.moveTo(px, y - lane.height / 2);
    c.lineTo(px, y + lane.height / 2);
  } else if (mark === 1) {
    for (const way of [1, -1]) {
      c.moveTo(px - 5, y - 5 * way);
      c.lineTo(px + 5, y + 5 * way);
    }
  } else {
    c.arc(px, y, 4, 0, 7);
  }
  c.stroke();
  c.lineWidth = 1;
}

function drawMoves(c) {
  for (let n = 0; n < moves.length; n += 5) {
    const [left, came, from, to, count] = moves.slice(n, n + 5);
    if (came < view.from || left > view.to) continue;
    const [x1, x2] = [x(left), x(came)], middle = (at) => laneTop(at) + lane.height / 2;
    const down = to > from ? 1 : -1;
    const [y1, y2] = [middle(from) + (down * lane.height) / 2, middle(to) - (down * lane.height) / 2];
    c.strokeStyle = ofNode(to);
    c.lineWidth = Math.min(5, 1 + Math.log2(count) / 2);
    c.beginPath();
    c.moveTo(x1, y1);
    c.bezierCurveTo(x1, y1 + (y2 - y1) * 0.5, x2, y1 + (y2 - y1) * 0.5, x2, y2);
    c.stroke();
    c.fillStyle = c.strokeStyle;
    c.beginPath();
    c.moveTo(x2, y2);
    c.lineTo(x2 - 3.5, y2 - down * 6);
    c.lineTo(x2 + 3.5, y2 - down * 6);
    c.fill();
  }
  c.lineWidth = 1;
}

function faultWords(n) {
  const [, , kind, hit] = troubles[n];
  const names = hit.map((at) => lanes[at]?.name ?? `n${at}`);
  return names.length > 3 ? `${kind} ${names.length} nodes` : `${kind} ${names.join(", ")}`.trim();
}

function drawFaults(c) {
  c.font = "11px system-ui, sans-serif";
  c.textAlign = "left";
  troubles.forEach(([from, to, kind], n) => {
    if (to < view.from || from > view.to) return;
    const top = faultTop + rows[n] * FAULT;
    const left = Math.max(x(from), LEFT), right = Math.min(x(to), size.width - RIGHT);
    const paint = paints[kindOf(kind)];
    c.globalAlpha = 0.18;
    c.fillStyle = paint;
    c.beginPath();
    c.roundRect(left, top, Math.max(right - left, 2), FAULT - 4, 3);
    c.fill();
    c.globalAlpha = 1;
    c.fillRect(left, top, 2, FAULT - 4);
    c.fillText(faultWords(n), left + 6, top + (FAULT - 4) / 2 + 0.5);
  });
}

function upright(c, time, paint, words, dash) {
  if (time < view.from || time > view.to) return;
  const px = Math.round(x(time)) + 0.5;
  c.strokeStyle = paint;
  c.setLineDash(dash);
  c.beginPath();
  c.moveTo(px, AXIS - 4);
  c.lineTo(px, size.height + scroll);
  c.stroke();
  c.setLineDash([]);
  if (!words) return;
  c.font = "600 11px system-ui, sans-serif";
  c.textAlign = px > size.width - 130 ? "right" : "left";
  c.fillStyle = paint;
  c.fillText(words, px + (c.textAlign === "left" ? 5 : -5), faultTop - 12);
}

function draw() {
  const c = canvas.getContext("2d");
  c.setTransform(ratio(), 0, 0, ratio(), 0, 0);
  c.fillStyle = paints.paper;
  c.fillRect(0, 0, size.width, size.height);
  c.textBaseline = "middle";
  axis(c);
  c.save();
  c.beginPath();
  c.rect(0, AXIS - 4, size.width - RIGHT + 8, size.height);
  c.clip();
  c.translate(0, -scroll);
  c.save();
  c.beginPath();
  c.rect(LEFT - 6, 0, size.width, size.height + scroll);
  c.clip();
  drawFaults(c);
  c.restore();
  lanes.forEach((_, at) => drawLane(c, at));
  c.save();
  c.beginPath();
  c.rect(LEFT, 0, size.width, size.height + scroll);
  c.clip();
  drawMoves(c);
  if (healed) upright(c, healed[0], paints.soft, "the core is healed", [4, 4]);
  if (data.broken) upright(c, data.broken[0], paints.bad, "broken", []);
  if (view.cursor !== null) upright(c, view.cursor, paints.link, "", []);
  c.restore();
  c.restore();
  drawMap();
}

// The whole run, small, with a frame around what is shown.
function drawMap() {
  const box = map.getBoundingClientRect();
  map.width = Math.round(box.width * ratio());
  map.height = Math.round(box.height * ratio());
  const c = map.getContext("2d");
  c.scale(ratio(), ratio());
  c.fillStyle = paints.paper;
  c.fillRect(0, 0, box.width, box.height);
  const across = (time) => LEFT + (time / end) * (box.width - LEFT - RIGHT);
  const pitch = (box.height - 8) / Math.max(lanes.length, 1);
  lanes.forEach(({ spans, leads }, at) => {
    for (let n = 0; n < spans.length; n += 4) {
      const shown = SHOWN[spans[n + 2]];
      if (!shown.paint) continue;
      c.globalAlpha = shown.light ? 0.38 : 1;
      c.fillStyle = shown.paint(at);
      c.fillRect(across(spans[n]), 4 + at * pitch, Math.max(across(spans[n + 1]) - across(spans[n]), 0.5), Math.max(pitch - 1.5, 1));
    }
    c.globalAlpha = 1;
  });
  if (data.broken) {
    c.fillStyle = paints.bad;
    c.fillRect(across(data.broken[0]) - 1, 0, 2, box.height);
  }
  const [from, to] = [across(view.from), across(view.to)];
  c.fillStyle = paints.paper;
  c.globalAlpha = 0.6;
  c.fillRect(LEFT, 0, from - LEFT, box.height);
  c.fillRect(to, 0, box.width - RIGHT - to, box.height);
  c.globalAlpha = 1;
  c.strokeStyle = paints.link;
  c.strokeRect(from + 0.5, 1.5, Math.max(to - from - 1, 3), box.height - 3);
}

let waits = false;
function redraw() {
  if (waits) return;
  waits = true;
  requestAnimationFrame(() => {
    waits = false;
    draw();
  });
}

function show(from, to) {
  const length = Math.min(Math.max(to - from, MIN_SPAN), end);
  view.from = Math.max(0, Math.min(from, end - length));
  view.to = view.from + length;
  redraw();
}

function zoom(factor, px = (LEFT + size.width) / 2) {
  const time = timeAt(px), share = (time - view.from) / (view.to - view.from);
  const length = Math.min(Math.max((view.to - view.from) * factor, MIN_SPAN), end);
  show(time - share * length, time + (1 - share) * length);
}

function glide(px) {
  const by = (px / (size.width - LEFT - RIGHT)) * (view.to - view.from);
  show(view.from + by, view.to + by);
}

// What is under the pointer, in words.
function wordsAt(px, py) {
  const time = timeAt(px), y = py + scroll;
  if (px < LEFT) return null;
  const words = [seconds(time)];
  const fault = troubles.findIndex(([from, to], n) => {
    const top = faultTop + rows[n] * FAULT;
    return y >= top && y < top + FAULT - 2 && px >= x(from) - 2 && px <= Math.max(x(to), x(from) + 90);
  });
  if (fault >= 0) {
    const [from, to, , , amount] = troubles[fault];
    words.push(`${faultWords(fault)}${amount ? `, amount ${amount}` : ""}`, `${seconds(from, 3)} to ${seconds(to, 3)}`);
    return words;
  }
  const at = Math.floor((y - laneTop(0) + 16) / lane.pitch);
  if (!lanes[at]) return words;
  const { spans, leads, marks, name } = lanes[at];
  const n = firstAfter(spans, 4, 1, time);
  if (n < spans.length && spans[n] <= time) {
    const shards = spans[n + 3];
    words.push(`${name} ${SHOWN[spans[n + 2]].words}${shards ? ` ${shards.toLocaleString("en")} shards` : ""}`);
    words.push(`${seconds(spans[n], 3)} to ${seconds(spans[n + 1], 3)}`);
  } else {
    words.push(`${name} has not started`);
  }
  const lead = firstAfter(leads, 3, 1, time);
  if (lead < leads.length && leads[lead] <= time) words.push(`leads in term ${leads[lead + 2]}`);
  for (let m = 0; m < marks.length; m += 2) {
    if (Math.abs(x(marks[m]) - px) < 6) words.push(`${MARKS[marks[m + 1]]} at ${seconds(marks[m])}`);
  }
  return words;
}
