// Territories: cells of one owner that hang together, and where in each of
// them a name has most room. `own` is the owner's number for each cell, row by
// row, negative where there is none.

// The territory of each cell (-1: none), and the owner of each territory.
export function survey(own, columns, rows) {
  const of = new Int32Array(own.length).fill(-1);
  const owners = [];
  const open = new Int32Array(own.length);
  for (let start = 0; start < own.length; start += 1) {
    if (own[start] < 0 || of[start] >= 0) continue;
    const territory = owners.push(own[start]) - 1;
    let size = 1;
    open[0] = start;
    of[start] = territory;
    const visit = at => {
      if (of[at] >= 0 || own[at] !== own[start]) return;
      of[at] = territory;
      open[size] = at;
      size += 1;
    };
    while (size) {
      size -= 1;
      const at = open[size];
      const x = at % columns;
      if (x > 0) visit(at - 1);
      if (x < columns - 1) visit(at + 1);
      if (at >= columns) visit(at - columns);
      if (at < own.length - columns) visit(at + columns);
    }
  }
  return { of, owners, columns, rows };
}

// For each territory with at least `least` pixels of room around some cell:
// { territory, x, y } of the middle one of its roomiest cells. Room to the
// sides counts for less, as names are wide and low.
export function roomiest({ of, owners, columns, rows }, width, height, least) {
  const room = distances(of, columns, rows, width * 0.32, height);
  const most = new Float32Array(owners.length);
  for (let at = 0; at < of.length; at += 1) if (of[at] >= 0 && room[at] > most[of[at]]) most[of[at]] = room[at];
  const roomy = at => of[at] >= 0 && most[of[at]] >= least && room[at] >= most[of[at]] * 0.9;

  const sums = new Float64Array(owners.length * 3);
  for (let at = 0; at < of.length; at += 1) {
    if (!roomy(at)) continue;
    sums[of[at] * 3] += at % columns;
    sums[of[at] * 3 + 1] += Math.floor(at / columns);
    sums[of[at] * 3 + 2] += 1;
  }
  const best = new Map();
  for (let at = 0; at < of.length; at += 1) {
    if (!roomy(at)) continue;
    const [sx, sy, n] = sums.subarray(of[at] * 3, of[at] * 3 + 3);
    const [x, y] = [at % columns, Math.floor(at / columns)];
    const far = (x - sx / n) ** 2 + (y - sy / n) ** 2;
    if (far < (best.get(of[at])?.far ?? Infinity)) best.set(of[at], { territory: of[at], x, y, far });
  }
  return [...best.values()];
}

// From each cell to the end of its territory, in two passes over the cells.
function distances(of, columns, rows, side, down) {
  const room = new Float32Array(of.length);
  const slant = Math.hypot(side, down);
  const from = (here, x, y, step) => {
    if (x < 0 || y < 0 || x >= columns || y >= rows) return step / 2;
    const at = y * columns + x;
    return of[at] === here ? room[at] + step : step / 2;
  };
  for (let y = 0; y < rows; y += 1) {
    for (let x = 0; x < columns; x += 1) {
      const here = of[y * columns + x];
      room[y * columns + x] = Math.min(
        from(here, x - 1, y, side), from(here, x, y - 1, down), from(here, x - 1, y - 1, slant), from(here, x + 1, y - 1, slant));
    }
  }
  for (let y = rows - 1; y >= 0; y -= 1) {
    for (let x = columns - 1; x >= 0; x -= 1) {
      const here = of[y * columns + x];
      room[y * columns + x] = Math.min(
        room[y * columns + x],
        from(here, x + 1, y, side), from(here, x, y + 1, down), from(here, x + 1, y + 1, slant), from(here, x - 1, y + 1, slant));
    }
  }
  return room;
}

// How many cells of its territory stand in a row around a place, in every one of
// the rows that a name of `lines` rows covers: { left, right } of the place.
export function reach({ of, columns, rows }, territory, x, y, lines) {
  let [left, right] = [x, columns - 1 - x];
  const half = Math.max(0, Math.ceil((lines - 1) / 2));
  for (let row = Math.max(0, y - half); row <= Math.min(rows - 1, y + half); row += 1) {
    const start = row * columns + x;
    const run = (step, most) => {
      let n = 0;
      while (n < most && of[start + step * (n + 1)] === territory) n += 1;
      return of[start] === territory ? n : -1;
    };
    left = Math.min(left, run(-1, x));
    right = Math.min(right, run(1, columns - 1 - x));
  }
  return { left, right };
}
