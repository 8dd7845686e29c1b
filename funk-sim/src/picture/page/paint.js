// Colours and hatchings, of the theme that is shown.
const root = document.documentElement;
const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);
const ratio = () => window.devicePixelRatio || 1;

// A colour of the style sheet as the canvas understands it.
function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

function tile(size, draw) {
  const canvas = document.createElement("canvas");
  const scale = ratio();
  canvas.width = canvas.height = Math.round(size * scale);
  const context = canvas.getContext("2d");
  context.scale(canvas.width / size, canvas.height / size);
  draw(context, size);
  const pattern = context.createPattern(canvas, "repeat");
  pattern.setTransform(new DOMMatrix().scale(size / canvas.width));
  return pattern;
}

function hatching(back, ink, size, width) {
  return tile(size, (context) => {
    context.fillStyle = back;
    context.fillRect(0, 0, size, size);
    context.strokeStyle = ink;
    context.lineWidth = width;
    for (const shift of [-size, 0, size]) {
      context.beginPath();
      context.moveTo(shift - 1, -1);
      context.lineTo(shift + size + 1, size + 1);
      context.stroke();
    }
  });
}

function dots(back, ink) {
  return tile(5, (context, size) => {
    context.fillStyle = back;
    context.fillRect(0, 0, size, size);
    context.fillStyle = ink;
    context.beginPath();
    context.arc(2.5, 2.5, 1, 0, 7);
    context.fill();
  });
}

let paints = {};
function mix() {
  const names = ["paper", "raised", "ink", "soft", "line", "track", "joins", "bad", "link", "crash", "network", "operator", "hostile"];
  paints = Object.fromEntries(names.map((name) => [name, colour(name)]));
  paints.nodes = Array.from({ length: 10 }, (_, at) => colour(`node-${at}`));
  paints.leaderless = hatching(paints.paper, paints.bad, 7, 2);
  paints.lapsed = hatching(paints.track, paints.bad, 10, 1);
  paints.stands = dots(paints.track, paints.soft);
}

const ofNode = (lane) => paints.nodes[lane % paints.nodes.length];

// What is shown by number, as the recording side counts.
const SHOWN = [
  { words: "is down" },
  { words: "looks for a cluster, or waits to be let in", paint: () => paints.joins },
  { words: "is a member and owns nothing", paint: ofNode, light: true },
  { words: "may serve", paint: ofNode },
  { words: "knows no leader, may serve nothing", paint: () => paints.leaderless },
  { words: "knows a leader, its lease is over", paint: () => paints.lapsed },
  { words: "stands still", paint: () => paints.stands },
  { words: "has left" },
];
const MARKS = ["starts", "is killed", "ends in order", "refuses its disk"];

// What kind of trouble a fault is.
const KINDS = {
  network: "partition outbound inbound partial ring swizzle-clog flap loss duplicate reorder delay corrupt replay gray deaf shut reject",
  operator: "join leave step-down pin weigh drain evict endpoint upgrade",
  hostile: "forge impostor foreign malformed flood false-goodbye slander insider crowd pool",
};
function kindOf(fault) {
  return Object.keys(KINDS).find((kind) => KINDS[kind].split(" ").includes(fault)) ?? "crash";
}
