/* Figures that go by layer: rapidity, changed sides, what each layer does beyond noise. A click or an arrow key chooses the layer. */

const PAIR_ROLES = { adversarial_clean: "adversarial", noise_clean: "noise", adversarial_true: "true", adversarial_wrong: "wrong" };
const PAIR_WORDS = {
  adversarial_clean: "adversarial – clean", noise_clean: "noise – clean",
  adversarial_true: "adversarial – true class", adversarial_wrong: "adversarial – wrong class",
};

const layerAxis = () => ({ names: model().layers, label: "layer" });

const rapidityFigure = (pairs) => (host) => {
  const it = model();
  const values = Object.keys(PAIR_ROLES).flatMap((pair) => [...it.bands[pair].low, ...it.bands[pair].high]);
  const chart = figure(host, { x: layerAxis(), y: reach(values, 0, 0.5), height: 300 });
  const at = (row) => row.map((value, index) => [chart.X(index), value === null ? NaN : chart.Y(value)]);
  for (const pair of pairs) {
    const role = PAIR_ROLES[pair], { median, low, high } = it.bands[pair];
    const edge = [...at(high), ...at(low).reverse()].filter(([, y]) => Number.isFinite(y));
    if (edge.length) chart.svg.append(node("polygon", { class: `band ${role}`, points: edge.map((point) => point.join()).join(" ") }));
    if (it.untrained) chart.svg.append(line(at(it.untrained[pair].median), `${role} dashed`));
    chart.svg.append(line(at(median), role), marks(at(median).filter(([, y]) => Number.isFinite(y)), role, 4));
  }
  const entries = pairs.map((pair) => [PAIR_ROLES[pair], PAIR_WORDS[pair]]);
  legend(host, it.untrained ? [...entries, ["other", "untrained network", "dashed"]] : entries);
  column(chart, state.layer, it.layers.length);
  host.chart = chart;
};

const sharesFigure = (host) => {
  const chart = figure(host, { x: layerAxis(), y: { low: 0, high: 1, share: true }, height: 300 });
  const rows = [["swapped", "adversarial", "adversarial twins", -4], ["noise_swapped", "noise", "noise twins (control)", 0],
                ["misclassified_swapped", "other", "clean, wrong by itself (control)", 4]];
  for (const [key, role, , shift] of rows) {
    const points = intervals(chart, model().shares[key], role, shift);
    chart.svg.append(line(points, role));
  }
  legend(host, rows.map(([, role, label]) => [role, label]));
  column(chart, state.layer, model().layers.length);
  host.chart = chart;
};

const boostFigure = (host) => {
  const rows = model().boosts;
  const ends = reach(rows.flat(), -0.05, 0.1);
  const chart = figure(host, { x: layerAxis(), y: ends, height: 300 });
  intervals(chart, rows, "adversarial");
  legend(host, [["adversarial", "driven apart beyond noise, with 95% interval", "marker"]]);
  column(chart, state.layer, model().layers.length);
  host.chart = chart;
};

const describeLayer = (index) => model().views.layers.by_layer[index]?.[1] ?? model().layers[index];

const layerFigure = (id, label, draw) => {
  const host = place(id);
  if (!host) return;
  drawing(id, ["model", "layer"], draw);
  const tell = listbox(host, {
    label, count: () => model().layers.length, current: () => state.layer, describe: describeLayer, step: along,
    pick: (layer, history) => choose({ layer }, history),
  });
  follow(["model", "layer"], tell);
  host.addEventListener("click", (event) => {
    const { X, width } = host.chart, box = host.querySelector("svg.chart").getBoundingClientRect();
    const x = ((event.clientX - box.left) * width) / box.width;
    const distances = model().layers.map((_, index) => Math.abs(X(index) - x));
    choose({ layer: distances.indexOf(Math.min(...distances)) });
  });
};

layerFigure("figure-leaving", "Layers: rapidity to the clean twin. Arrow keys choose a layer.", rapidityFigure(["adversarial_clean", "noise_clean"]));
layerFigure("figure-joining", "Layers: rapidity to the class means. Arrow keys choose a layer.", rapidityFigure(["adversarial_true", "adversarial_wrong"]));
layerFigure("figure-sides", "Layers: share nearer to the wrong class. Arrow keys choose a layer.", sharesFigure);
layerFigure("figure-boosts", "Layers: driven apart beyond noise. Arrow keys choose a layer.", boostFigure);
