// From the text inside the page to typed arrays.

const UNKNOWN = 65535;

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// Pixels were written as 16-bit shares of the picture's width and height; a place that is not known becomes NaN.
function pointsOf(base64, hw) {
  const raw = new Uint16Array(bytesOf(base64).buffer);
  const xy = new Float32Array(raw.length);
  for (let i = 0; i < raw.length; i++) xy[i] = raw[i] === UNKNOWN ? NaN : (raw[i] / 65534) * hw[1 - (i % 2)];
  return xy;
}

// Tokens of one view: `dim` numbers and, after them, the length that the basis left out (see the note in match.js).
function tokensOf(packed, scale, start, count) {
  const dim = scale.length;
  const values = new Float32Array(count * (dim + 1));
  for (let t = 0; t < count; t++) {
    let squares = 0;
    for (let c = 0; c < dim; c++) {
      const value = packed[(start + t) * dim + c] * scale[c];
      values[t * (dim + 1) + c] = value;
      squares += value * value;
    }
    values[t * (dim + 1) + dim] = Math.sqrt(Math.max(0, 1 - squares));
  }
  return values;
}

function decodeScene(scene) {
  const views = scene.views.map((view) => ({
    ...view,
    image: loadImage(view.jpeg),
    xy: pointsOf(view.xy, view.hw),
    truth: view.truth.map((text, j) => pointsOf(text, scene.views[j].hw)),
  }));
  const variants = scene.variants.map((variant) => {
    const packed = new Int8Array(bytesOf(variant.tokens).buffer);
    const maps = [];
    let start = 0;
    for (const view of views) {
      const count = view.grid[0] * view.grid[1];
      maps.push(tokensOf(packed, variant.scale, start, count));
      start += count;
    }
    return { name: variant.name, label: variant.label, dim: variant.scale.length, maps };
  });
  return { name: scene.name, views, variants };
}

function loadImage(source) {
  const image = new Image();
  image.src = source;
  return image;
}
