/* One sample: its pictures, its sentence, its worldlines from its own frame, and their table. */

const TWINS = [
  ["noise_clean", "noise", "noise twin"],
  ["adversarial_clean", "adversarial", "attacked twin"],
  ["clean_true", "true", "mean of the true class"],
  ["clean_wrong", "wrong", "mean of the wrong class"],
];

/* From the first layer on where a pair is undefined, its line is. */
const worldline = (twin, sample) => {
  const x = [0], depths = [0], rho = [];
  for (let layer = 0; layer < model().layers.length; layer++) {
    rho.push(Math.tanh(phi(twin, sample, layer)));
    x.push(x[layer] + rho[layer]);
    depths.push(proper(twin, sample, layer));
  }
  return { x, depths, rho };
};

/* Where a line has lived through 1, 2, 3, … layers of proper time. */
const properTicks = ({ x, depths }) => {
  const found = [];
  const known = depths.filter((depth) => !Number.isNaN(depth));
  for (let tick = 1; tick <= known.at(-1); tick++) {
    const next = depths.findIndex((depth) => depth >= tick), last = depths[next - 1];
    const part = (tick - last) / (depths[next] - last);
    found.push([x[next - 1] + part * (x[next] - x[next - 1]), next - 1 + part]);
  }
  return found;
};

const spacetimeFigure = (host) => {
  const it = model(), depth = it.layers.length;
  const lines = TWINS.map(([twin, role, text]) =>
    ({ role, text, ...worldline(twin, state.sample) }));
  const { low: least } = reach(lines.flatMap(({ x }) => x), -0.4, 0);
  const chart = figure(host, {
    x: {
      low: least, high: depth + 0.4, brief: "Σ ρ with the clean sample",
      label: "Σ ρ with the clean sample: right edge the same, middle unrelated, left opposite",
    },
    y: { names: ["start", ...it.layers], label: "depth" },
    height: Math.min(560, 150 + 60 * depth),
  });
  const { X, Y, svg, box } = chart, left = Math.max(-depth, least);
  const corners = [[0, 0], [depth, depth], [left, depth], [left, -left]];
  const points = corners.map(([x, y]) => `${X(x)},${Y(y)}`).join(" ");
  svg.append(node("polygon", { class: "cone", points }));
  svg.append(stroke("edge", [X(0), Y(0)], [X(left), Y(-left)]));
  svg.append(stroke("edge", [X(0), Y(0)], [X(depth), Y(depth)]));
  const told = chart.width < 480
    ? "clean: the edge"
    : "the clean sample itself: edge of the light cone";
  svg.append(words(told, box.right - 4, Y(0.22 * depth), { "text-anchor": "end" }));
  svg.append(stroke("now", [box.left, Y(state.layer + 1)], [box.right, Y(state.layer + 1)]));
  for (const own of lines) {
    const way = own.x.map((value, time) => [X(value), Y(time)]);
    svg.append(line(way, own.role), marks(way.slice(1), own.role, 4));
    for (const [x, time] of properTicks(own)) {
      svg.append(stroke(`tick ${own.role}`, [X(x) - 9, Y(time)], [X(x) + 9, Y(time)]));
    }
  }
  legend(host, lines.map(({ role, text }) => [role, text]));
  host.chart = chart;
};

const showSample = () => {
  const it = model(), all = it.samples, here = state.sample, depth = it.layers.length;
  const lines = TWINS.map(([twin]) => worldline(twin, here));
  const [noise, attacked] = lines.map(({ depths }) => told(depths.at(-1)));
  const lost = all.lost[here] < 0
    ? "it is not closer to the wrong class for good"
    : `closer to the wrong class for good from ${it.layers[all.lost[here]]}`;
  const outcome = [
    `turned into a ${it.names[all.adversarial[here]]}`, "did not turn", "found wrong already",
  ][all.state[here]];
  place("sample-title").textContent =
    `Sample ${all.number[here]}: a ${it.names[all.label[here]]} that the attack ${outcome}`;
  place("sample-sentence").textContent =
    `${sampleName(here)}. Of ${depth} layers the network tells its attacked twin apart for a ` +
    `proper depth of ${attacked}, its noise twin for ${noise}; ${lost}.`;
  place("sample-pictures").replaceChildren(pictureRow(here));
  const rows = it.layers.map((name, layer) => [
    name, ...lines.flatMap(({ rho, depths }) => [told(rho[layer], 3), told(depths[layer + 1])]),
  ]);
  const heads = TWINS.flatMap(([, , text]) => [`${text}: ρ`, "proper depth"]);
  fillTable(place("table-sample"), { columns: ["after layer", ...heads], rows, words: 1 });
};

{
  const host = place("figure-spacetime");
  drawing("figure-spacetime", ["model", "sample", "layer"], spacetimeFigure);
  const rho = (twin, layer) => told(Math.tanh(phi(twin, state.sample, layer)));
  const describe = (index) => `${model().layers[index]}: ` +
    TWINS.map(([twin, , text]) => `${text} ρ = ${rho(twin, index)}`).join(", ");
  const tell = listbox(host, {
    label: "Worldlines of the chosen sample, layer by layer. Up and down choose a layer.",
    count: () => model().layers.length, current: () => state.layer, describe, step: along,
    pick: (layer, history) => choose({ layer }, history),
  });
  follow(["model", "sample", "layer"], tell);
  follow(["model", "sample"], showSample);
}
