/* Class by class: accuracies with intervals, and from which class to which the fooled samples go. */

let chosenClass = 0;

const classFigure = (host) => {
  const it = model(), rows = it.classes;
  const names = rows.map((row) => it.names[row.class]);
  const chart = figure(host, { x: { names, label: "class" }, y: { low: 0, high: 1, share: true }, height: 300 });
  const twins = [["clean", "true", "clean", -7], ["noise", "noise", "under noise", 0], ["adversarial", "adversarial", "under attack", 7]];
  for (const [twin, role, , shift] of twins) intervals(chart, rows.map((row) => row[twin]), role, shift);
  legend(host, twins.map(([, role, label]) => [role, label, "marker"]));
  column(chart, chosenClass, rows.length);
  host.chart = chart;
};

const describeClass = (index) => model().views.classes.by_layer[index]?.[1] ?? "";

const chooseClass = (index) => {
  chosenClass = inside(index, model().classes.length, 0);
  place("class-sentence").textContent = describeClass(chosenClass);
  classFigure(place("figure-classes"));
};

/* A button for each flow: it goes to the samples of that flow, one after the other. */
const showFlows = () => {
  const it = model(), body = place("flow-rows"), most = it.flows.length ? it.flows[0].count : 1;
  body.replaceChildren();
  for (const flow of it.flows.slice(0, 12)) {
    const turned = flow.by[state.layer];
    const button = element("button", { type: "button" });
    button.textContent = `${flow.source} → ${flow.target}`;
    button.addEventListener("click", () => {
      const positions = flow.samples.map((number) => it.samples.number.indexOf(number)).filter((position) => position >= 0);
      const next = positions.find((position) => position > state.sample) ?? positions[0];
      if (next !== undefined) choose({ sample: next });
    });
    const bar = node("svg", { viewBox: "0 0 300 18", preserveAspectRatio: "none", class: "flow", "aria-hidden": "true" },
      node("rect", { class: "all", x: 0.5, y: 2.5, width: (297 * flow.count) / most, height: 13 }),
      node("rect", { class: "turned", x: 0.5, y: 2.5, width: (297 * turned) / most, height: 13 }));
    body.append(element("tr", {}, element("td", { class: "text" }, button), element("td", { class: "wide" }, bar),
      element("td", {}, `${turned} of ${flow.count}`)));
  }
};

{
  const host = place("figure-classes");
  drawing("figure-classes", [], classFigure);
  const tell = listbox(host, {
    label: "Classes: accuracy clean, under noise and under attack. Arrow keys choose a class.", count: () => model().classes.length,
    current: () => chosenClass, describe: describeClass, step: along, pick: chooseClass,
  });
  host.addEventListener("click", (event) => {
    const { X, width } = host.chart, box = host.querySelector("svg.chart").getBoundingClientRect();
    const x = ((event.clientX - box.left) * width) / box.width;
    const distances = model().classes.map((_, index) => Math.abs(X(index) - x));
    chooseClass(distances.indexOf(Math.min(...distances)));
    tell();
  });
  follow(["model"], () => { chooseClass(chosenClass); tell(); });
  drawn.push(() => chooseClass(chosenClass));
  follow(["model", "layer"], showFlows);
  drawn.push(showFlows);
}

/* Accuracy against ε, where the run has it. */
drawing("figure-curve", ["model"], (host) => {
  const { curve } = model();
  host.closest("section").hidden = !curve;
  if (curve) KINDS.lines(host, curve);
});
