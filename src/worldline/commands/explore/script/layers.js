/* Figures that go by layer: similarity, sides, what each layer does beyond noise. A click or an
   arrow key chooses the layer. */

const PAIR_ROLES = {
  adversarial_clean: "adversarial", noise_clean: "noise",
  adversarial_true: "true", adversarial_wrong: "wrong",
};
const PAIR_WORDS = {
  adversarial_clean: "attacked – original", noise_clean: "noise – original",
  adversarial_true: "attacked – true class", adversarial_wrong: "attacked – wrong class",
};
/* key, role, words, and how far its markers stand aside */
const SIDES = [
  ["wrong", "adversarial", "attacked twins", -6],
  ["clean", "true", "their originals", -2],
  ["noise", "noise", "noise twins (control)", 2],
  ["moved", "wrong", "moved by the attack", 6],
];

const layerAxis = () => ({ names: model().layers, label: "layer" });

const similarityFigure = (pairs) => (host) => {
  const it = model();
  const ends = Object.keys(PAIR_ROLES).flatMap((pair) => [it.bands[pair].low, it.bands[pair].high]);
  const chart = figure(host, { x: layerAxis(), y: reach(ends.flat(), 0, 0.5), height: 300 });
  const at = (row) => row.map((value, index) =>
    [chart.X(index), value === null ? NaN : chart.Y(value)]);
  for (const pair of pairs) {
    const role = PAIR_ROLES[pair], { median, low, high } = it.bands[pair];
    chart.svg.append(band(at(high), at(low), role));
    if (it.untrained) chart.svg.append(line(at(it.untrained[pair].median), `${role} dashed`));
    chart.svg.append(line(at(median), role), marks(at(median), role, 4));
  }
  const entries = pairs.map((pair) => [PAIR_ROLES[pair], PAIR_WORDS[pair]]);
  if (it.untrained) entries.push(["other", "untrained network", "dashed"]);
  legend(host, entries);
  column(chart, state.layer);
  host.chart = chart;
};

const sidesFigure = (host) => {
  const { shares } = model();
  const ends = SIDES.flatMap(([key]) => shares[key].flat());
  const { low } = reach(ends, 0, 1);
  const y = { low: Math.max(-1, low), high: 1, share: true };
  const chart = figure(host, { x: layerAxis(), y, height: 320 }), { box, svg, Y } = chart;
  svg.append(stroke("line other dashed", [box.left, Y(0.5)], [box.right, Y(0.5)]));
  for (const [key, role, , shift] of SIDES) {
    svg.append(line(intervals(chart, shares[key], role, shift), role));
  }
  const entries = SIDES.map(([, role, text]) => [role, text]);
  legend(host, [...entries, ["other", "one half", "dashed"]]);
  column(chart, state.layer);
  host.chart = chart;
};

const boostFigure = (host) => {
  const rows = model().boosts;
  const chart = figure(host, { x: layerAxis(), y: reach(rows.flat(), -0.05, 0.1), height: 320 });
  intervals(chart, rows, "adversarial");
  legend(host, [["adversarial", "damage beyond noise, nats, with 95% interval", "marker"]]);
  column(chart, state.layer);
  host.chart = chart;
};

const layerFigure = (id, name, draw) => {
  const host = place(id);
  if (!host) return;
  drawing(id, ["model", "layer"], draw);
  const tell = listbox(host, {
    label: `Layers: ${name}. Arrow keys choose a layer.`, count: () => model().layers.length,
    current: () => state.layer, describe: (index) => model().told[index], step: along,
    pick: (layer, history) => choose({ layer }, history),
  });
  follow(["model", "layer"], tell);
  host.addEventListener("click", (event) => {
    choose({ layer: clickedColumn(host, model().layers.length, event) });
  });
};

const ORIGINAL = ["adversarial_clean", "noise_clean"];
const MEANS = ["adversarial_true", "adversarial_wrong"];
layerFigure("figure-leaving", "similarity to the original", similarityFigure(ORIGINAL));
layerFigure("figure-joining", "similarity to the class means", similarityFigure(MEANS));
layerFigure("figure-sides", "share closer to the wrong class", sidesFigure);
layerFigure("figure-boosts", "damage beyond noise", boostFigure);
