/* One sample: its pictures, its sentence, its worldlines from its own frame, and their table. */

const TWINS = [["noise_clean", "noise", "noise twin"], ["adversarial_clean", "adversarial", "adversarial twin"],
               ["clean_true", "true", "mean of the true class"], ["clean_wrong", "wrong", "mean of the wrong class"]];

const worldline = (twin, sample) => {
  const x = [0], proper = [0], rho = [];
  for (let layer = 0; layer < model().layers.length; layer++) {
    const value = Math.tanh(phi(twin, sample, layer)), known = Number.isNaN(value) ? 0 : value;
    rho.push(value);
    x.push(x[layer] + known);
    proper.push(proper[layer] + Math.sqrt(Math.max(0, 1 - known * known)));
  }
  return { x, proper, rho };
};

/* Where a line has lived through 1, 2, 3, … layers of proper time. */
const properTicks = ({ x, proper }) => {
  const found = [];
  for (let tick = 1; tick <= proper.at(-1); tick++) {
    const next = proper.findIndex((value) => value >= tick), part = (tick - proper[next - 1]) / (proper[next] - proper[next - 1]);
    found.push([x[next - 1] + part * (x[next] - x[next - 1]), next - 1 + part]);
  }
  return found;
};

const spacetimeFigure = (host) => {
  const it = model(), depth = it.layers.length;
  const lines = TWINS.map(([twin, role, label]) => ({ role, label, ...worldline(twin, state.sample) }));
  const least = Math.min(0, ...lines.flatMap(({ x }) => x));
  const chart = figure(host, {
    x: { low: least - 0.4, high: depth + 0.4, label: "Σ ρ with the clean sample: right edge the same, middle unrelated, left opposite", brief: "Σ ρ with the clean sample" },
    y: { names: ["start", ...it.layers], label: "depth" }, height: Math.min(560, 150 + 60 * depth),
  });
  const { X, Y, svg } = chart;
  const left = Math.max(-depth, least - 0.4);
  svg.append(node("polygon", { class: "cone", points: `${X(0)},${Y(0)} ${X(depth)},${Y(depth)} ${X(left)},${Y(depth)} ${X(left)},${Y(-left)}` }));
  svg.append(node("line", { class: "edge", x1: X(0), y1: Y(0), x2: X(left), y2: Y(-left) }));
  svg.append(node("line", { class: "edge", x1: X(0), y1: Y(0), x2: X(depth), y2: Y(depth) }));
  svg.append(words(chart.width < 480 ? "clean: the edge" : "the clean sample itself: edge of the light cone", chart.box.right - 4, Y(0.22 * depth), { "text-anchor": "end" }));
  svg.append(node("line", { class: "now", x1: chart.box.left, x2: chart.box.right, y1: Y(state.layer + 1), y2: Y(state.layer + 1) }));
  for (const it of lines) {
    const points = it.x.map((value, time) => [X(value), Y(time)]);
    svg.append(line(points, it.role), marks(points.slice(1), it.role, 4));
    for (const [x, time] of properTicks(it)) svg.append(node("line", { class: `tick ${it.role}`, x1: X(x) - 9, x2: X(x) + 9, y1: Y(time), y2: Y(time) }));
  }
  legend(host, lines.map(({ role, label }) => [role, label]));
  host.chart = chart;
};

const showSample = () => {
  const it = model(), all = it.samples, here = state.sample, depth = it.layers.length;
  const lines = Object.fromEntries(TWINS.map(([twin]) => [twin, worldline(twin, here)]));
  const turned = all.swap[here] < 0 ? "it never stays nearer to the wrong class" : `nearer to the wrong class for good from ${it.layers[all.swap[here]]}`;
  place("sample-title").textContent = `Sample ${all.number[here]}: a ${it.names[all.label[here]]} that the attack ` +
    `${["turned into a " + it.names[all.adversarial[here]], "did not turn", "found wrong already"][all.state[here]]}`;
  place("sample-sentence").textContent =
    `${sampleName(here)}. Of ${depth} layers the network tells its adversarial twin apart for a proper depth of ${told(lines.adversarial_clean.proper.at(-1))}, ` +
    `its noise twin for ${told(lines.noise_clean.proper.at(-1))}; ${turned}.`;
  place("sample-pictures").replaceChildren(pictureRow(here));
  const rows = it.layers.map((name, layer) => [name, ...TWINS.flatMap(([twin]) => [told(lines[twin].rho[layer], 3), told(lines[twin].proper[layer + 1])])]);
  fillTable(place("table-sample"), { columns: ["after layer", ...TWINS.flatMap(([, , label]) => [`${label}: ρ`, "proper depth"])], rows, words: 1 });
};

{
  const host = place("figure-spacetime");
  drawing("figure-spacetime", ["model", "sample", "layer"], spacetimeFigure);
  const describe = (index) => `${model().layers[index]}: ` + TWINS.map(([twin, , label]) => `${label} ρ = ${told(Math.tanh(phi(twin, state.sample, index)))}`).join(", ");
  const tell = listbox(host, {
    label: "Worldlines of the chosen sample, layer by layer. Up and down choose a layer.", count: () => model().layers.length,
    current: () => state.layer, describe, step: along, pick: (layer, history) => choose({ layer }, history),
  });
  follow(["model", "sample", "layer"], tell);
  follow(["model", "sample"], showSample);
}
