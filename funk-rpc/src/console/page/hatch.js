// Hatching over the cells that nobody serves.

const STEP = 14;

// Draws stripes over every cell of a canvas that `mask` marks, row by row.
export class Hatch {
  constructor() {
    this.mask = document.createElement('canvas');
    this.layer = document.createElement('canvas');
  }

  // `cells`: for each place of the grid whether it is hatched.
  set(cells, columns, rows) {
    this.any = cells.some(Boolean);
    if (!this.any) return;
    this.mask.width = columns;
    this.mask.height = rows;
    const context = this.mask.getContext('2d');
    const image = context.createImageData(columns, rows);
    for (let at = 0; at < cells.length; at += 1) image.data[at * 4 + 3] = cells[at] ? 255 : 0;
    context.putImageData(image, 0, 0);
  }

  // Draws over `canvas`, in the colour `[red, green, blue]`.
  draw(canvas, [red, green, blue]) {
    if (!this.any) return;
    const { layer, mask } = this;
    layer.width = canvas.width;
    layer.height = canvas.height;
    const context = layer.getContext('2d');
    context.imageSmoothingEnabled = false;
    context.drawImage(mask, 0, 0, layer.width, layer.height);
    context.globalCompositeOperation = 'source-in';
    context.strokeStyle = `rgb(${red} ${green} ${blue} / 0.6)`;
    const step = STEP * (devicePixelRatio || 1);
    context.lineWidth = step / 2.6;
    context.beginPath();
    for (let x = -layer.height; x < layer.width; x += step) {
      context.moveTo(x, layer.height);
      context.lineTo(x + layer.height, 0);
    }
    context.stroke();
    canvas.getContext('2d').drawImage(layer, 0, 0);
  }
}
