// The elements of the live part, what they show, and what they listen to.

function buildPage(root, data) {
  const names = data.scenes.map((one, i) => el("button", { type: "button", "aria-pressed": String(!i) }, one.name));
  const canvas = el("canvas", {
    tabindex: "0", role: "application", class: "source",
    "aria-label": "Source view. Arrow keys move the point by one token, Enter pins it, Escape unpins it.",
  });
  const parts = {
    root, canvas, scenes: names, cards: [],
    strip: el("div", { class: "strip", role: "group", "aria-label": "Source view" }),
    sourceName: el("p", { class: "name" }),
    point: el("p", { class: "hint" }),
    summary: el("div", { class: "sums" }),
    targets: el("div", { class: "targets" }),
    spoken: el("p", { class: "spoken", "aria-live": "polite" }),
    opacity: el("input", { type: "range", min: "0", max: "100", value: "65", "aria-label": "Strength of the heat maps" }),
    own: el("input", { type: "checkbox" }),
  };
  const tools = el("div", { class: "tools" },
    el("label", {}, "Heat map ", parts.opacity), el("label", {}, parts.own, " Each map its own scale"));
  const left = el("div", { class: "asked" }, canvas, parts.sourceName, parts.point, parts.summary, tools);
  if (names.length > 1) root.append(el("div", { class: "scenes", role: "group", "aria-label": "Object" }, ...names));
  root.append(parts.strip, el("div", { class: "board" }, left, parts.targets), parts.spoken);
  return parts;
}

function card(scene, target) {
  const view = scene.views[target];
  const cells = scene.variants.map((variant) => {
    const canvas = el("canvas", { role: "img" });
    const words = el("figcaption", {});
    return { canvas, words, node: el("figure", {}, el("b", {}, variant.label), canvas, words) };
  });
  const title = el("h4", {}, `${target + 1} `, el("span", {}, view.name));
  return { target, cells, node: el("div", { class: "card" }, title, el("div", { class: "pair" }, ...cells.map((c) => c.node))) };
}

function errorWords(answer, view) {
  if (!answer.truth) return "";
  return `${answer.error.toFixed(0)} px off (${((100 * answer.error) / Math.min(...view.hw)).toFixed(1)} %)`;
}

// Colours begin at the median: half of all tokens are simply unlike the point, and the rest deserves the contrast.
function range(answers) {
  const every = answers.flatMap((one) => [...one.similarity.filter((_, t) => t % 7 === 0)]).sort((a, b) => a - b);
  return [every[Math.floor(every.length / 2)], Math.max(...answers.map((one) => one.cosine))];
}

function show(parts, scene, state, table) {
  const view = scene.views[state.source];
  // A portrait must not be taller than the window: its width follows from its height.
  parts.canvas.style.setProperty("--aspect", view.hw[1] / view.hw[0]);
  const css = parts.canvas.clientWidth || 360;
  const pen = sizeCanvas(parts.canvas, view, css);
  drawPhoto(pen, view, false);
  const unit = view.hw[1] / css;
  drawRing(pen, unit, state.xy, state.pinned ? "#ffd23f" : "#fff");
  stroke(pen, 0.6 * unit, state.pinned ? "#ffd23f" : "#fff", () => pen.arc(...state.xy, unit, 0, 2 * Math.PI));
  const at = state.xy.map((value) => value.toFixed(0)).join(", ");
  parts.point.textContent = `Point ${at} px${state.pinned ? ", pinned (Escape frees it)" : ""}` +
    (view.xy.length && state.known < 0 ? "; no true place is known here" : "");
  const ranges = state.answers.map(range);
  parts.cards.forEach((one, number) => one.cells.forEach((cell, v) => {
    const answer = state.answers[v][number];
    const limits = parts.own.checked ? range([answer]) : ranges[v];
    showAnswer(cell, scene.views[one.target], answer, limits, table, parts.opacity.value / 100);
    if (state.known >= 0 && !answer.truth) cell.words.textContent += " \u00b7 not seen here";
    cell.canvas.setAttribute("aria-label", `${scene.variants[v].label}, view ${one.target + 1}: ${cell.words.textContent}`);
  }));
  parts.summary.replaceChildren(...scene.variants.map((variant, v) => sum(variant, state.answers[v], scene, ranges[v], table)));
  if (state.pinned) parts.spoken.textContent = parts.summary.innerText.replace(/\s+/g, " ");
}

function showAnswer(cell, view, answer, [low, high], table, opacity) {
  const css = cell.canvas.clientWidth || 160;
  const pen = sizeCanvas(cell.canvas, view, css);
  drawPhoto(pen, view, opacity > 0);
  drawHeat(pen, view, answer.similarity, low, high, table, opacity);
  const unit = view.hw[1] / css;
  if (answer.truth) drawRing(pen, unit, answer.truth, "#fff");
  drawCross(pen, unit, answer.xy, "#ff5a5f");
  cell.words.textContent = `cos ${answer.cosine.toFixed(2)}${answer.truth ? ` \u00b7 ${errorWords(answer, view)}` : ""}`;
  const share = answer.error === null ? null : answer.error / Math.min(...view.hw);
  cell.node.className = share === null ? "" : share < 0.05 ? "hit" : "miss";
}

// One line a variant: how many views it finds the point in, and the legend of its colours.
function sum(variant, answers, scene, [low, high], table) {
  const known = answers.filter((a) => a.error !== null);
  const hits = known.filter((a) => a.error < 0.05 * Math.min(...scene.views[a.view].hw)).length;
  const words = known.length ? `${hits} of ${known.length} within 5 %` : "";
  const stops = [0, 51, 102, 153, 204, 255].map((i) => `rgb(${table.slice(3 * i, 3 * i + 3).join(" ")})`);
  const bar = el("i", { class: "bar" });
  bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  const legend = el("span", { class: "legend-bar" }, `\u2264 ${low.toFixed(2)}`, bar, high.toFixed(2), " cosine");
  return el("div", {}, el("b", {}, variant.label), ` ${words}`, legend);
}

function listen(parts, { state, scene, setScene, setSource, setPoint, later }) {
  const { canvas } = parts;
  const place = (event) => {
    const box = canvas.getBoundingClientRect(), [h, w] = scene().views[state.source].hw;
    return [((event.clientX - box.left) / box.width) * w, ((event.clientY - box.top) / box.height) * h];
  };
  let held = false;
  parts.scenes.forEach((button, i) => button.addEventListener("click", () => setScene(i)));
  canvas.addEventListener("pointerdown", (event) => {
    held = true;
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    setPoint(place(event), true);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (held) setPoint(place(event), true);
    else if (!state.pinned && event.pointerType !== "touch") setPoint(place(event), false);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { held = false; });
  parts.root.addEventListener("keydown", (event) => onKey(event, parts, { state, scene, setSource, setPoint }));
  parts.opacity.addEventListener("input", later);
  parts.own.addEventListener("change", later);
  window.addEventListener("resize", later);
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event, parts, { state, scene, setSource, setPoint }) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "INPUT") return;
  const view = scene().views[state.source], count = scene().views.length;
  if (event.key === "Escape") setPoint(state.xy, false);
  else if (/^[1-9]$/.test(event.key) && event.key <= count) setSource(event.key - 1);
  else if (event.key === "[" || event.key === "]") setSource((state.source + (event.key === "]" ? 1 : count - 1)) % count);
  else if (event.target !== parts.canvas) return;
  else if (event.key === "Enter" || event.key === " ") setPoint(state.xy, !state.pinned);
  else if (ARROWS[event.key]) {
    const token = tokenFromPixel(view, state.xy).map((value, a) => {
      const last = view.grid[1 - a] - 1;
      return Math.min(Math.max(Math.round(value) + ARROWS[event.key][a], 0), last);
    });
    setPoint(pixelFromToken(view, token), true);
  } else return;
  event.preventDefault();
}
