// Puts the parts together, and listens.
const byId = (id) => document.getElementById(id);
byId("title").textContent = data.title;
byId("command").textContent = data.command;
byId("plan").textContent = data.plan;
byId("verdict").textContent = data.verdict;
byId("verdict").dataset.holds = String(data.holds);
canvas.setAttribute("aria-label", `${data.verdict} ${lanes.length} nodes over ${seconds(end, 1)}; the story beside it says the same in words.`);
byId("broken").hidden = !data.broken;

function word(words, paint) {
  const item = document.createElement("span");
  item.textContent = words;
  if (paint) item.style.color = `var(--${paint})`;
  return item;
}

function legend() {
  const items = [
    ["may serve", () => paints.nodes[0]],
    ["member, owns nothing", () => paints.nodes[0], 0.38],
    ["joins", () => paints.joins],
    ["knows no leader", () => paints.leaderless],
    ["lease is over", () => paints.lapsed],
    ["stands still", () => paints.stands],
  ];
  byId("legend").replaceChildren(
    ...items.map(([words, paint, alpha]) => {
      const item = document.createElement("span"), sample = document.createElement("canvas");
      [sample.width, sample.height] = [24 * ratio(), 12 * ratio()];
      const c = sample.getContext("2d");
      c.scale(ratio(), ratio());
      c.globalAlpha = alpha ?? 1;
      c.fillStyle = paint();
      c.fillRect(0, 0, 24, 12);
      item.append(sample, words);
      return item;
    }),
    ...["bar above: leads", "× killed", "○ left", "curves: shards change hands"].map((words) => word(words)),
    ...(troubles.length ? [word("faults:")] : []),
    ...["crash", "network", "operator", "hostile"].filter((kind) => troubles.some((fault) => kindOf(fault[2]) === kind))
      .map((kind) => word(kind, kind)),
  );
}

function dress() {
  mix();
  legend();
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark;
  byId("theme").textContent = isDark ? "Light" : "Dark";
  redraw();
}

function turn() {
  root.dataset.theme = byId("theme").textContent === "Dark" ? "dark" : "light";
  dress();
}

function toBreak() {
  if (!data.broken) return;
  const half = Math.min(1e6, end / 2);
  view.cursor = data.broken[0];
  show(data.broken[0] - half, data.broken[0] + half / 4);
  tellOf(data.broken[0], true);
}

canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const wide = Math.abs(event.deltaX) > Math.abs(event.deltaY);
  if (wide || event.shiftKey) glide(wide ? event.deltaX : event.deltaY);
  else zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.004), event.offsetX);
}, { passive: false });

// One pointer drags, two pinch.
const pointers = new Map();
let dragged = false;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
  dragged = false;
});
canvas.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId), now = [event.offsetX, event.offsetY];
  if (before && pointers.size === 1) {
    dragged ||= Math.hypot(now[0] - before[0], now[1] - before[1]) > 3;
    if (dragged) {
      glide(before[0] - now[0]);
      scroll = Math.max(0, Math.min(scroll + before[1] - now[1], faultTop + (Math.max(-1, ...rows) + 1) * FAULT + 12 - size.height));
      scroll = Math.max(0, scroll);
      pointers.set(event.pointerId, now);
    }
    tip.hidden = true;
    return;
  }
  if (before) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const [far, near] = [Math.abs(before[0] - other[0]), Math.abs(now[0] - other[0])];
    if (far > 8 && near > 8) zoom(far / near, (now[0] + other[0]) / 2);
    pointers.set(event.pointerId, now);
    dragged = true;
    return;
  }
  const words = wordsAt(...now);
  tip.hidden = !words;
  if (!words) return;
  tip.textContent = words.join("\n");
  const right = now[0] > size.width * 0.6;
  tip.style.left = right ? "" : `${now[0] + 14}px`;
  tip.style.right = right ? `${size.width - now[0] + 14}px` : "";
  tip.style.top = `${canvas.offsetTop + Math.min(now[1] + 12, size.height - 90)}px`;
});
canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => {
    if (kind === "pointerup" && !dragged && pointers.size === 1 && event.offsetX >= LEFT) {
      view.cursor = timeAt(event.offsetX);
      tellOf(view.cursor, true);
      redraw();
    }
    pointers.delete(event.pointerId);
  });
}
canvas.addEventListener("dblclick", (event) => zoom(0.25, event.offsetX));

function throughMap(event) {
  if (event.buttons !== 1) return;
  const box = map.getBoundingClientRect();
  const time = ((event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT)) * end;
  const half = (view.to - view.from) / 2;
  show(time - half, time + half);
}
map.addEventListener("pointerdown", throughMap);
map.addEventListener("pointermove", throughMap);

list.addEventListener("scroll", fill);
list.addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (!row) return;
  nowLine = Number(row.dataset.line);
  const time = shownLines[nowLine][0], half = (view.to - view.from) / 2;
  view.cursor = time;
  if (time < view.from || time > view.to) show(time - half, time + half);
  fill();
  redraw();
});
byId("search").addEventListener("input", (event) => {
  wanted = event.target.value;
  choose();
});
chips("topics", data.topics, off.topics);
chips("nodes", lanes.map(({ name }) => name), off.nodes);

byId("in").addEventListener("click", () => zoom(0.5));
byId("out").addEventListener("click", () => zoom(2));
byId("whole").addEventListener("click", () => show(0, end));
byId("broken").addEventListener("click", toBreak);
byId("theme").addEventListener("click", turn);
const keys = {
  "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => show(0, end), b: toBreak, d: turn,
  ArrowLeft: () => glide(-120), ArrowRight: () => glide(120),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.target.tagName === "INPUT" || !keys[event.key]) return;
  if (event.target === list && event.key.startsWith("Arrow")) return;
  keys[event.key]();
});

// #10.5-12 shows these seconds; #broken shows where it broke; a word more, light or dark, sets the theme.
function follow() {
  const place = decodeURIComponent(location.hash.slice(1));
  const theme = /light|dark/.exec(place)?.[0];
  if (theme) root.dataset.theme = theme;
  const times = /([\d.]+)-([\d.]+)/.exec(place);
  if (times) {
    show(Number(times[1]) * 1e6, Number(times[2]) * 1e6);
    tellOf(view.from, true);
  }
  else if (place.includes("broken")) toBreak();
  dress();
}

new ResizeObserver(() => {
  measure();
  fill();
  dress();
}).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
addEventListener("hashchange", follow);
measure();
choose();
follow();
