// A space-filling curve through a rectangle of any size: neighbours on the
// line are neighbours in the rectangle, so a range of shards is one territory.
// (The generalised Hilbert curve.)

// The cells of a rectangle in the curve's order, as y * width + x.
export function curve(width, height) {
  const cells = new Uint32Array(width * height);
  let count = 0;
  const sign = n => Math.sign(n);

  function walk(x, y, ax, ay, bx, by) {
    const w = Math.abs(ax + ay);
    const h = Math.abs(bx + by);
    const [dax, day, dbx, dby] = [sign(ax), sign(ay), sign(bx), sign(by)];
    if (h === 1 || w === 1) {
      const [steps, dx, dy] = h === 1 ? [w, dax, day] : [h, dbx, dby];
      for (let i = 0; i < steps; i += 1) {
        cells[count] = y * width + x;
        count += 1;
        x += dx;
        y += dy;
      }
      return;
    }
    let [ax2, ay2] = [Math.trunc(ax / 2), Math.trunc(ay / 2)];
    let [bx2, by2] = [Math.trunc(bx / 2), Math.trunc(by / 2)];
    const w2 = Math.abs(ax2 + ay2);
    const h2 = Math.abs(bx2 + by2);
    if (2 * w > 3 * h) {
      if (w2 % 2 && w > 2) [ax2, ay2] = [ax2 + dax, ay2 + day];
      walk(x, y, ax2, ay2, bx, by);
      walk(x + ax2, y + ay2, ax - ax2, ay - ay2, bx, by);
      return;
    }
    if (h2 % 2 && h > 2) [bx2, by2] = [bx2 + dbx, by2 + dby];
    walk(x, y, bx2, by2, ax2, ay2);
    walk(x + bx2, y + by2, ax, ay, bx - bx2, by - by2);
    walk(x + (ax - dax) + (bx2 - dbx), y + (ay - day) + (by2 - dby), -bx2, -by2, -(ax - ax2), -(ay - ay2));
  }

  if (width >= height) walk(0, 0, width, 0, 0, height);
  else walk(0, 0, 0, height, width, 0);
  return cells;
}
