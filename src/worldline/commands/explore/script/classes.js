/* Class by class: accuracies with intervals, and from which class to which the fooled samples go;
   accuracy against ε. */

const MOST_FLOWS = 12;
const CLASS_TWINS = [
  ["clean", "true", "clean", -7],
  ["noise", "noise", "under noise", 0],
  ["adversarial", "adversarial", "under attack", 7],
];
let chosenClass = 0;

const classFigure = (host) => {
  const it = model(), rows = it.classes;
  const names = rows.map((row) => it.names[row.class]);
  const y = { low: 0, high: 1, share: true };
  const chart = figure(host, { x: { names, label: "class" }, y, height: 300 });
  for (const [twin, role, , shift] of CLASS_TWINS) {
    intervals(chart, rows.map((row) => row[twin]), role, shift);
  }
  legend(host, CLASS_TWINS.map(([, role, text]) => [role, text, "marker"]));
  column(chart, chosenClass);
  host.chart = chart;
};

const describeClass = (index) => model().views.classes.by_layer[index]?.[1] ?? "";

const chooseClass = (index) => {
  chosenClass = inside(index, model().classes.length, 0);
  place("class-sentence").textContent = describeClass(chosenClass);
  classFigure(place("figure-classes"));
};

/* A button for each flow: it goes to the samples of that flow, one after the other. */
const flowButton = (flow) => {
  const button = element("button", { type: "button" }, `${flow.source} → ${flow.target}`);
  button.addEventListener("click", () => {
    const numbers = model().samples.number;
    const positions = flow.samples.map((it) => numbers.indexOf(it)).filter((it) => it >= 0);
    const next = positions.find((it) => it > state.sample) ?? positions[0];
    if (next !== undefined) choose({ sample: next });
  });
  return button;
};

const showFlows = () => {
  const { flows } = model(), most = flows.length ? flows[0].count : 1;
  const bar = (look, count) => node("rect", {
    class: look, x: 0.5, y: 2.5, width: (297 * count) / most, height: 13,
  });
  const rows = flows.slice(0, MOST_FLOWS).map((flow) => {
    const lost = flow.by[state.layer];
    const bars = node("svg", {
      viewBox: "0 0 300 18", preserveAspectRatio: "none", class: "flow", "aria-hidden": "true",
    }, bar("all", flow.count), bar("turned", lost));
    return element("tr", {},
      element("td", { class: "text" }, flowButton(flow)),
      element("td", { class: "wide" }, bars),
      element("td", {}, `${counted(lost)} of ${counted(flow.count)}`));
  });
  place("flow-rows").replaceChildren(...rows);
};

{
  const host = place("figure-classes");
  drawing("figure-classes", [], classFigure);
  const tell = listbox(host, {
    label: "Classes: accuracy clean, under noise and under attack. Arrow keys choose a class.",
    count: () => model().classes.length, current: () => chosenClass, describe: describeClass,
    step: along, pick: chooseClass,
  });
  host.addEventListener("click", (event) => {
    chooseClass(clickedColumn(host, model().classes.length, event));
    tell();
  });
  follow(["model"], () => { chooseClass(chosenClass); tell(); });
  drawn.push(() => chooseClass(chosenClass));
  follow(["model", "layer"], showFlows);
  drawn.push(showFlows);
}

drawing("figure-curve", ["model"], (host) => KINDS.lines(host, model().curve));
