/* Every sample as a point: still beside its clean twin, or beside strangers, at the chosen layer. */

const STATE_ROLES = ["adversarial", "noise", "other"];
let spots = [];

const mapFigure = (host) => {
  const it = model(), count = it.samples.number.length, layers = it.layers.length;
  const near = rapidities(it, "adversarial_clean"), far = rapidities(it, "adversarial_wrong");
  const xs = Array.from({ length: count }, (_, index) => near[index * layers + state.layer]);
  const ys = Array.from({ length: count }, (_, index) => far[index * layers + state.layer]);
  const room = (values) => {
    const known = values.filter(Number.isFinite);
    const low = known.reduce((a, b) => Math.min(a, b), known[0] ?? 0), high = known.reduce((a, b) => Math.max(a, b), low + 0.1);
    return { low: low - 0.04 * (high - low), high: high + 0.04 * (high - low) };
  };
  const chart = figure(host, {
    x: { ...room(xs), label: `φ(adversarial, clean) at ${short(it.layers[state.layer], 24)}: still beside its twin →`, brief: "φ to its own twin →" },
    y: { ...room(ys), label: "" }, height: 400,
  });
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const { X, Y, box, svg } = chart;
  spots = xs.map((x, index) => (Number.isNaN(x) || Number.isNaN(ys[index]) ? null
    : [clamp(X(x), box.left, box.right), clamp(Y(ys[index]), box.top, box.bottom)]));
  svg.append(words(chart.width < 480 ? "↑ φ to the wrong class" : "↑ φ(adversarial, wrong class): beside strangers", box.left + 4, box.top + 4, { class: "axis" }));
  for (const role of [2, 1, 0]) {
    const own = spots.filter((spot, index) => spot && it.samples.state[index] === role);
    svg.append(marks(own, STATE_ROLES[role], count > 2000 ? 1.6 : 2.6));
  }
  svg.append(node("path", { class: "ring", id: "map-ring" }));
  const numbers = STATE_ROLES.map((_, index) => it.samples.state.reduce((sum, value) => sum + (value === index), 0));
  legend(host, STATE_ROLES.map((role, index) => [role, `${STATES[index]} (${numbers[index].toLocaleString("en")})`, "marker"]));
  host.chart = chart;
  ringAround();
};

const ringAround = () => {
  const spot = spots[state.sample], ring = place("map-ring");
  if (ring) ring.setAttribute("d", spot ? `M${spot[0]},${spot[1]}${MARKERS.adversarial(8)}` : "");
};

const nearest = (x, y, limit) => {
  let best = null, least = limit * limit;
  spots.forEach((spot, index) => {
    if (!spot) return;
    const distance = (spot[0] - x) ** 2 + (spot[1] - y) ** 2;
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
};

/* The nearest point in the direction of an arrow key; what lies aside counts double. */
const towards = (key, index, count) => {
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  if (key === "PageUp" || key === "PageDown") return (index + (key === "PageDown" ? 1 : -1) + count) % count;
  const here = spots[index];
  if (!here) return spots.findIndex((spot) => spot);
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  let best = null, least = Infinity;
  spots.forEach((spot, other) => {
    if (!spot || other === index) return;
    const x = spot[0] - here[0], y = spot[1] - here[1], ahead = x * dx + y * dy, aside = Math.abs(x * dy) + Math.abs(y * dx);
    if (ahead > 0.01 && ahead + 2 * aside < least) [best, least] = [other, ahead + 2 * aside];
  });
  return best;
};

{
  const host = place("figure-map"), tip = element("div", { class: "tip", hidden: "" });
  const showTip = (position) => {
    const spot = position === null ? null : spots[position];
    tip.hidden = !spot;
    if (!spot) return;
    const box = host.querySelector("svg.chart").getBoundingClientRect(), scale = box.width / host.chart.width;
    const text = element("p", {});
    text.textContent = `${sampleName(position)}. φ to its twin ${told(phi("adversarial_clean", position, state.layer))}, to the wrong class ${told(phi("adversarial_wrong", position, state.layer))}`;
    tip.replaceChildren(pictureRow(position), text);
    tip.style.left = `${Math.max(0, Math.min(spot[0] * scale + 12, box.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${spot[1] * scale + 14}px`;
  };
  const pointed = (event) => {
    const box = host.querySelector("svg.chart").getBoundingClientRect(), scale = host.chart.width / box.width;
    return nearest((event.clientX - box.left) * scale, (event.clientY - box.top) * scale, 14);
  };
  drawing("figure-map", ["model", "layer"], mapFigure);
  follow(["sample"], ringAround);
  host.append(tip);
  const tell = listbox(host, {
    label: "Map of the samples. Arrow keys go to the next point in that direction, Page Up and Page Down to the next sample.",
    count: () => model().samples.number.length, current: () => state.sample, describe: sampleName, step: towards,
    pick: (sample, history) => choose({ sample }, history), shown: (focused) => showTip(focused ? state.sample : null),
  });
  follow(["model", "sample", "layer"], tell);
  host.addEventListener("pointermove", (event) => showTip(pointed(event)));
  host.addEventListener("pointerleave", () => showTip(null));
  host.addEventListener("click", (event) => {
    const position = pointed(event);
    if (position !== null) choose({ sample: position });
  });
}
