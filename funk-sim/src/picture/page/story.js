// The story: only the rows that are seen exist.
const list = document.getElementById("list"), tall = document.getElementById("tall");
const ROW = 1.5 * parseFloat(getComputedStyle(root).fontSize);
const off = { topics: new Set(["datagram", "stream", "disk"]), nodes: new Set() };
let shownLines = [], nowLine = -1, wanted = "";

function choose() {
  const search = wanted.toLowerCase();
  shownLines = data.story.filter(([, node, topic, words]) => {
    if (off.topics.has(data.topics[topic]) || (node && off.nodes.has(node))) return false;
    return !search || words.toLowerCase().includes(search) || (node && node === search);
  });
  tall.style.height = `${shownLines.length * ROW}px`;
  const missing = data.missing ? ` ${data.missing.toLocaleString("en")} more lines, about streams, datagrams and disks, found no room: the command above prints them.` : "";
  document.getElementById("note").textContent = `${shownLines.length.toLocaleString("en")} of ${data.story.length.toLocaleString("en")} lines.${missing}`;
  fill();
}

function fill() {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
  const last = Math.min(shownLines.length, first + Math.ceil(list.clientHeight / ROW) + 10);
  const some = document.createDocumentFragment();
  for (let n = first; n < last; n++) {
    const [time, node, topic, words] = shownLines[n];
    const row = document.createElement("div");
    row.className = n === nowLine ? "row now" : "row";
    row.dataset.topic = data.topics[topic];
    row.style.top = `${n * ROW}px`;
    row.dataset.line = n;
    row.title = words;
    const [at, who, what] = [document.createElement("time"), document.createElement("b"), document.createElement("span")];
    at.textContent = seconds(time);
    who.textContent = node || "all";
    const place = lanes.findIndex((lane) => lane.name === node);
    if (place >= 0) who.style.color = `var(--node-${place % 10})`;
    what.className = "what";
    what.textContent = words;
    row.append(at, who, what);
    some.append(row);
  }
  tall.replaceChildren(some);
}

// Marks the last line up to a time, and brings it into sight.
function tellOf(time, scrolls) {
  let low = 0, high = shownLines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (shownLines[middle][0] <= time) low = middle + 1;
    else high = middle;
  }
  nowLine = low - 1;
  if (scrolls) list.scrollTop = Math.max(0, (nowLine + 0.5) * ROW - list.clientHeight / 2);
  fill();
}

function chips(id, words, hidden) {
  const place = document.getElementById(id);
  for (const word of words) {
    const chip = document.createElement("button");
    chip.textContent = word;
    chip.setAttribute("aria-pressed", String(!hidden.has(word)));
    chip.addEventListener("click", () => {
      if (!hidden.delete(word)) hidden.add(word);
      chip.setAttribute("aria-pressed", String(!hidden.has(word)));
      choose();
    });
    place.append(chip);
  }
}
