// The same arithmetic as equiview's matching: bilinear query, cosine with every token, parabola around the best one.
// A cosine is a dot product over `dim` channels: tokens had unit length before the reduction and are not stretched
// after it. The extra channel holds what is missing to unit length; it serves to give a query between tokens its length.
// The border rule is `centre` of matching/localise.py, against which all this is tested.

function tokenFromPixel(view, xy) {
  return [0, 1].map((a) => (xy[a] - view.offset[a]) / view.stride[a]);
}

function pixelFromToken(view, token) {
  return [0, 1].map((a) => view.offset[a] + token[a] * view.stride[a]);
}

function queryAt(map, dim, view, xy) {
  const [rows, cols] = view.grid;
  const [x, y] = tokenFromPixel(view, xy);
  const cx = Math.min(Math.max(x, 0), cols - 1), cy = Math.min(Math.max(y, 0), rows - 1);
  const x0 = Math.floor(cx), y0 = Math.floor(cy);
  const x1 = Math.min(x0 + 1, cols - 1), y1 = Math.min(y0 + 1, rows - 1);
  const fx = cx - x0, fy = cy - y0, width = dim + 1;
  const corners = [[x0, y0, (1 - fx) * (1 - fy)], [x1, y0, fx * (1 - fy)], [x0, y1, (1 - fx) * fy], [x1, y1, fx * fy]];
  const query = new Float32Array(width);
  for (const [col, row, weight] of corners) {
    const at = (row * cols + col) * width;
    for (let c = 0; c < width; c++) query[c] += weight * map[at + c];
  }
  const length = Math.hypot(...query) || 1;
  for (let c = 0; c < width; c++) query[c] /= length;
  return query;
}

function cosines(query, map, dim) {
  const width = dim + 1, count = map.length / width;
  const found = new Float32Array(count);
  for (let t = 0, at = 0; t < count; t++, at += width) {
    let sum = 0;
    for (let c = 0; c < dim; c++) sum += query[c] * map[at + c];
    found[t] = sum;
  }
  return found;
}

function vertex(left, middle, right) {
  const curvature = left - 2 * middle + right;
  return curvature < -1e-9 ? Math.min(Math.max((left - right) / (2 * curvature), -0.5), 0.5) : 0;
}

function bestMatch(similarity, view) {
  const [rows, cols] = view.grid;
  let best = 0;
  for (let t = 1; t < similarity.length; t++) if (similarity[t] > similarity[best]) best = t;
  const col = best % cols, row = Math.floor(best / cols), peak = similarity[best];
  const dx = col > 0 && col < cols - 1 ? vertex(similarity[best - 1], peak, similarity[best + 1]) : 0;
  const dy = row > 0 && row < rows - 1 ? vertex(similarity[best - cols], peak, similarity[best + cols]) : 0;
  return { token: [col, row], xy: pixelFromToken(view, [col + dx, row + dy]), cosine: peak };
}

// The number of the nearest known point within one token of a place, or -1.
function knownPoint(view, xy) {
  const [x, y] = tokenFromPixel(view, xy);
  let best = -1, least = 1;
  for (let i = 0; i < view.xy.length / 2; i++) {
    const known = tokenFromPixel(view, [view.xy[2 * i], view.xy[2 * i + 1]]);
    const far = Math.hypot(known[0] - x, known[1] - y);
    if (far < least) [best, least] = [i, far];
  }
  return best;
}

// All answers to one point of one view.
function ask(scene, source, xy, known, targets) {
  return scene.variants.map((variant) => {
    const query = queryAt(variant.maps[source], variant.dim, scene.views[source], xy);
    return targets.map((target) => {
      const view = scene.views[target];
      const similarity = cosines(query, variant.maps[target], variant.dim);
      const truth = known < 0 ? [NaN, NaN] : [...scene.views[source].truth[target].slice(2 * known, 2 * known + 2)];
      const best = bestMatch(similarity, view);
      const error = Math.hypot(best.xy[0] - truth[0], best.xy[1] - truth[1]);
      return { view: target, similarity, ...best, truth: isNaN(error) ? null : truth, error: isNaN(error) ? null : error };
    });
  });
}
