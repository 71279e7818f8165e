/* Every sample as a point: still beside its original, or beside strangers, at the chosen layer. */

const STATE_ROLES = ["adversarial", "noise", "other"];
let spots = [];

/* A scale that holds all finite values. */
const roomFor = (values) => {
  const low = values.filter(Number.isFinite).reduce((a, b) => Math.min(a, b), Infinity);
  return Number.isFinite(low) ? reach(values, low, low + 0.1) : { low: 0, high: 1 };
};

const mapFigure = (host) => {
  const it = model(), count = it.samples.number.length, layers = it.layers.length;
  const here = (name) => {
    const all = rapidities(it, name);
    return Array.from({ length: count }, (_, index) => all[index * layers + state.layer]);
  };
  const xs = here("adversarial_clean"), ys = here("adversarial_wrong");
  const name = short(it.layers[state.layer], 24);
  const chart = figure(host, {
    x: {
      ...roomFor(xs), brief: "φ to its own original →",
      label: `φ(attacked, original) at ${name}: still beside its twin →`,
    },
    y: { ...roomFor(ys), label: "" }, height: 400,
  });
  const { X, Y, box, svg } = chart;
  spots = xs.map((x, index) => (Number.isNaN(x) || Number.isNaN(ys[index])
    ? null
    : [clamp(X(x), box.left, box.right), clamp(Y(ys[index]), box.top, box.bottom)]));
  const caption = chart.width < 480
    ? "↑ φ to the wrong class"
    : "↑ φ(attacked, wrong class): beside strangers";
  svg.append(words(caption, box.left + 4, box.top + 4, { class: "axis" }));
  for (const role of [2, 1, 0]) {
    const own = spots.filter((spot, index) => spot && it.samples.state[index] === role);
    svg.append(marks(own, STATE_ROLES[role], count > 2000 ? 1.6 : 2.6));
  }
  svg.append(node("path", { class: "ring", id: "map-ring" }));
  const many = (wanted) =>
    it.samples.state.reduce((sum, value) => sum + (value === wanted), 0);
  legend(host, STATE_ROLES.map((role, index) =>
    [role, `${STATES[index]} (${counted(many(index))})`, "marker"]));
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

const DIRECTIONS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

/* The nearest point in the direction of an arrow key; what lies aside counts double. */
const towards = (key, index, count) => {
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  if (key === "PageUp" || key === "PageDown") {
    return (index + (key === "PageDown" ? 1 : -1) + count) % count;
  }
  const here = spots[index];
  if (!here) return spots.findIndex((spot) => spot);
  const [dx, dy] = DIRECTIONS[key];
  let best = null, least = Infinity;
  spots.forEach((spot, other) => {
    if (!spot || other === index) return;
    const x = spot[0] - here[0], y = spot[1] - here[1];
    const ahead = x * dx + y * dy, aside = Math.abs(x * dy) + Math.abs(y * dx);
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
    const box = host.querySelector("svg.chart").getBoundingClientRect();
    const scale = box.width / host.chart.width;
    const text = element("p", {}, `${sampleName(position)}. ${sampleAt(position, state.layer)}`);
    tip.replaceChildren(pictureRow(position), text);
    tip.style.left = `${clamp(spot[0] * scale + 12, 0, box.width - tip.offsetWidth - 4)}px`;
    tip.style.top = `${spot[1] * scale + 14}px`;
  };
  const pointed = (event) => {
    const box = host.querySelector("svg.chart").getBoundingClientRect();
    const scale = host.chart.width / box.width;
    return nearest((event.clientX - box.left) * scale, (event.clientY - box.top) * scale, 14);
  };
  drawing("figure-map", ["model", "layer"], mapFigure);
  follow(["sample"], ringAround);
  host.append(tip);
  const tell = listbox(host, {
    label: "Map of the samples. Arrow keys go to the next point in that direction, Page Up and " +
      "Page Down to the next sample.",
    count: () => model().samples.number.length, current: () => state.sample, describe: sampleName,
    step: towards, pick: (sample, history) => choose({ sample }, history),
    shown: (focused) => showTip(focused ? state.sample : null),
  });
  follow(["model", "sample", "layer"], tell);
  host.addEventListener("pointermove", (event) => showTip(pointed(event)));
  host.addEventListener("pointerleave", () => showTip(null));
  host.addEventListener("click", (event) => {
    const position = pointed(event);
    if (position !== null) choose({ sample: position });
  });
}
