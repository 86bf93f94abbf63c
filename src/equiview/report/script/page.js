// What is asked (state), and the page that shows the answers.

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function start(root, data) {
  const table = colourTable(data.colours);
  const state = { scene: 0, source: 0, xy: null, known: -1, pinned: false, answers: [], targets: [], ms: 0 };
  const decoded = data.scenes.map(() => null);
  const scene = () => (decoded[state.scene] ||= decodeScene(data.scenes[state.scene]));
  const parts = buildPage(root, data);
  let waiting = false;

  function setScene(number) {
    Object.assign(state, { scene: number, source: 0, pinned: false });
    parts.scenes.forEach((button, i) => button.setAttribute("aria-pressed", String(i === number)));
    parts.strip.replaceChildren(...scene().views.map((view, i) => thumb(view, i)));
    scene().views.forEach((view) => view.image.addEventListener("load", later));
    setSource(0);
  }

  function thumb(view, number) {
    const button = el("button", { type: "button", "aria-label": titleOf(view, number) });
    button.append(el("img", { src: view.jpeg, alt: "" }), el("span", {}, String(number + 1)));
    button.addEventListener("click", () => setSource(number));
    return button;
  }

  function setSource(number) {
    state.source = number;
    const views = scene().views, others = views.map((_, i) => i).filter((i) => i !== number);
    state.targets = others.length ? others : [number];
    [...parts.strip.children].forEach((b, i) => b.setAttribute("aria-pressed", String(i === number)));
    parts.cards = state.targets.map((target) => card(scene(), target));
    parts.targets.replaceChildren(...parts.cards.map((one) => one.node));
    parts.sourceName.textContent = titleOf(views[number], number);
    setPoint(startPoint(views[number]), false);
  }

  function setPoint(xy, pinned) {
    const view = scene().views[state.source];
    const inside = [0, 1].map((a) => Math.min(Math.max(xy[a], 0), view.hw[1 - a]));
    state.known = knownPoint(view, inside);
    state.xy = state.known < 0 ? inside : [view.xy[2 * state.known], view.xy[2 * state.known + 1]];
    state.pinned = pinned;
    later();
  }

  function later() {
    if (!waiting) requestAnimationFrame(update);
    waiting = true;
  }

  function update() {
    waiting = false;
    const began = performance.now();
    state.answers = ask(scene(), state.source, state.xy, state.known, state.targets);
    state.ms = performance.now() - began;
    show(parts, scene(), state, table);
  }

  listen(parts, { state, scene, setScene, setSource, setPoint, later });
  setScene(0);
  Object.defineProperty(window, "equiviewLive", { get: () => snapshot(data, scene(), state, waiting) });
}

function titleOf(view, number) {
  return `View ${number + 1}${view.name ? `: ${view.name}` : ""}`;
}

// Where a view begins: the known point nearest to the middle of all of them, or the middle of the picture.
function startPoint(view) {
  const n = view.xy.length / 2, middle = [view.hw[1] / 2, view.hw[0] / 2];
  if (!n) return middle;
  const mean = [0, 0];
  for (let i = 0; i < 2 * n; i++) mean[i % 2] += view.xy[i] / n;
  const far = (i) => Math.hypot(view.xy[2 * i] - mean[0], view.xy[2 * i + 1] - mean[1]);
  let best = 0;
  for (let i = 1; i < n; i++) if (far(i) < far(best)) best = i;
  return [view.xy[2 * best], view.xy[2 * best + 1]];
}

function snapshot(data, scene, state, waiting) {
  const results = scene.variants.flatMap((variant, v) =>
    (state.answers[v] || []).map((a) => ({
      variant: variant.name, view: a.view, token: [...a.token], xy: [...a.xy], cosine: a.cosine,
      truth: a.truth && [...a.truth], error_px: a.error,
    })));
  const names = data.scenes.map((one) => one.name);
  const { source, xy, pinned, ms } = state;
  return Object.freeze({ scenes: names, scene: state.scene, source, xy: xy && [...xy], pinned, ms, waiting, results });
}
