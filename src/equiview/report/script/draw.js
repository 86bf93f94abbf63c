// Pictures, heat maps and marks on canvases whose coordinates are pixels of the view.

function colourTable(anchors) {
  const table = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (anchors.length - 1), low = Math.min(Math.floor(at), anchors.length - 2);
    for (let c = 0; c < 3; c++) table[3 * i + c] = anchors[low][c] + (at - low) * (anchors[low + 1][c] - anchors[low][c]);
  }
  return table;
}

function sizeCanvas(canvas, view, cssWidth) {
  const [h, w] = view.hw;
  const width = Math.max(1, Math.round(cssWidth * Math.min(window.devicePixelRatio || 1, 2)));
  const height = Math.max(1, Math.round((width * h) / w));
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d");
  pen.setTransform(canvas.width / w, 0, 0, canvas.height / h, 0, 0);
  return pen;
}

function drawPhoto(pen, view, grey) {
  const [h, w] = view.hw;
  pen.globalCompositeOperation = "source-over";
  pen.globalAlpha = 1;
  if (view.image.complete && view.image.naturalWidth) pen.drawImage(view.image, 0, 0, w, h);
  if (!grey) return;
  pen.globalCompositeOperation = "saturation";
  pen.fillStyle = "hsl(0 0% 50%)";
  pen.fillRect(0, 0, w, h);
  pen.globalCompositeOperation = "source-over";
}

// One pixel a token, stretched so that each lies where its token looks.
function drawHeat(pen, view, similarity, low, high, table, opacity) {
  const [rows, cols] = view.grid;
  const small = document.createElement("canvas");
  [small.width, small.height] = [cols, rows];
  const image = new ImageData(cols, rows);
  for (let t = 0; t < similarity.length; t++) {
    const level = Math.round(255 * Math.min(Math.max((similarity[t] - low) / Math.max(high - low, 1e-6), 0), 1));
    for (let c = 0; c < 3; c++) image.data[4 * t + c] = table[3 * level + c];
    image.data[4 * t + 3] = 255;
  }
  small.getContext("2d").putImageData(image, 0, 0);
  pen.globalAlpha = opacity;
  pen.imageSmoothingEnabled = true;
  const [left, top] = pixelFromToken(view, [-0.5, -0.5]);
  pen.drawImage(small, left, top, cols * view.stride[0], rows * view.stride[1]);
  pen.globalAlpha = 1;
}

// Every mark is drawn twice: a dark rim below, so that it is seen on any ground.
function stroke(pen, unit, colour, path) {
  for (const [width, style] of [[4.6, "#000"], [2.2, colour]]) {
    pen.beginPath();
    path();
    [pen.lineWidth, pen.strokeStyle, pen.lineCap] = [width * unit, style, "round"];
    pen.stroke();
  }
}

function drawCross(pen, unit, [x, y], colour) {
  const r = 6 * unit;
  stroke(pen, unit, colour, () => {
    pen.moveTo(x - r, y - r);
    pen.lineTo(x + r, y + r);
    pen.moveTo(x - r, y + r);
    pen.lineTo(x + r, y - r);
  });
}

function drawRing(pen, unit, [x, y], colour) {
  stroke(pen, unit, colour, () => pen.arc(x, y, 8 * unit, 0, 2 * Math.PI));
}
