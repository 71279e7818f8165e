/* The words of the chosen model, its tables, the gallery, the bar of choices; then everything is drawn. */

const fillTable = (table, { columns, rows, words: lead }) => {
  const head = element("tr"), body = element("tbody");
  columns.forEach((name, index) => head.append(element("th", { scope: "col", ...(index < lead ? { class: "text" } : {}) }, name)));
  for (const cells of rows) {
    const row = element("tr");
    cells.forEach((cell, index) => row.append(element("td", index < lead ? { class: "text" } : {}, String(cell))));
    body.append(row);
  }
  table.replaceChildren(element("thead", {}, head), body);
};

const set = (id, text) => { const it = place(id); if (it) it.textContent = text; };

const showWords = () => {
  const it = model();
  set("headline", it.headline);
  set("kicker-attack", it.attack);
  place("findings").replaceChildren(...it.findings.map((sentence) => element("li", {}, sentence)));
  place("merits").replaceChildren(...it.merits.map(([name, value, beside]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value), element("dd", { class: "beside" }, beside))));
  for (const [name, view] of Object.entries(it.views)) {
    const section = document.querySelector(`section[data-view="${name}"]`);
    if (!section) continue;
    const [title, sentence] = section.dataset.byLayer ? view.by_layer[state.layer] : [view.title, view.sentence];
    section.querySelector("h2").textContent = title;
    section.querySelector(".sentence").textContent = sentence;
    section.querySelector(".basis").textContent = view.basis;
    const table = section.querySelector("table[data-twin]");
    if (table && view.table) fillTable(table, view.table);
  }
  for (const part of document.querySelectorAll("[data-of-model]")) part.hidden = Number(part.dataset.ofModel) !== state.model;
  const select = place("choose-layer");
  if (select.dataset.model !== String(state.model)) {
    select.dataset.model = String(state.model);
    select.replaceChildren(...it.layers.map((name, index) => element("option", { value: index }, name)));
    place("sample-count").textContent = (it.samples.number.length < it.total ? "" : "all ") + it.samples.number.length.toLocaleString("en") +
      (it.samples.number.length < it.total ? ` of ${it.total.toLocaleString("en")}: the page is kept small, fooled ones come first` : "") +
      (it.pictures.places.length < it.samples.number.length ? `; ${it.pictures.places.length.toLocaleString("en")} with pictures` : "");
  }
};

const showChoice = () => {
  const chooser = place("choose-model");
  if (chooser) chooser.value = String(state.model);
  place("choose-sample").value = String(model().samples.number[state.sample]);
  place("choose-layer").value = String(state.layer);
  set("read-out", `${data.models.length > 1 ? `${model().name}. ` : ""}${sampleName(state.sample)}. ${describeLayer(state.layer)}`);
  for (const card of document.querySelectorAll(".card[data-position]"))
    card.setAttribute("aria-current", String(Number(card.dataset.position) === state.sample));
};

const GALLERY = 12;
let shownCards = GALLERY;

const showGallery = () => {
  const all = model().samples, fooled = all.number.map((_, index) => index).filter((index) => all.state[index] === 0);
  const pool = fooled.length ? fooled : all.number.map((_, index) => index);
  const cards = pool.slice(0, shownCards).map((position) => {
    const button = element("button", { type: "button" }, `Sample ${all.number[position]}: a ${model().names[all.label[position]]}`);
    button.addEventListener("click", () => { choose({ sample: position }); place("sample").scrollIntoView(); place("sample-title").focus({ preventScroll: true }); });
    return element("div", { class: "card", "data-position": position }, button, pictureRow(position));
  });
  place("gallery-cards").replaceChildren(...cards);
  place("more-cards").hidden = shownCards >= pool.length;
  showChoice();
};

/* The table of all samples is long: it is written when it is opened, a hundred rows at a time. */
const ROWS = 100;
let firstRow = 0;
const showSamples = () => {
  const details = place("samples-table");
  if (!details.open) return;
  const it = model(), all = it.samples, names = it.names, last = it.layers.length - 1;
  const rows = all.number.slice(firstRow, firstRow + ROWS).map((number, index) => {
    const position = firstRow + index;
    const said = ["label", "clean", "noise", "adversarial"].map((key) => names[all[key][position]]);
    const turned = all.swap[position] < 0 ? "never" : it.layers[all.swap[position]];
    return [number, ...said, STATES[all.state[position]], turned,
      ...["adversarial_clean", "adversarial_wrong"].map((name) => told(phi(name, position, state.layer)))];
  });
  const here = it.layers[state.layer];
  fillTable(details.querySelector("table"), {
    columns: ["sample", "label", "clean", "noise", "adversarial", "state", "wrong side from", `φ(adv, clean) at ${here}`, `φ(adv, wrong) at ${here}`], rows, words: 7,
  });
  set("samples-range", `${firstRow + 1} to ${firstRow + rows.length} of ${all.number.length.toLocaleString("en")}`);
};

const turn = (by) => {
  const count = model().samples.number.length;
  if (firstRow + by >= 0 && firstRow + by < count) firstRow += by;
  showSamples();
};

const connect = () => {
  place("choose-model")?.addEventListener("change", (event) => choose({ model: Number(event.target.value) }));
  place("choose-layer").addEventListener("change", (event) => choose({ layer: Number(event.target.value) }));
  place("choose-sample").addEventListener("change", (event) => {
    const wanted = Number(event.target.value), numbers = model().samples.number;
    const nearest = numbers.reduce((best, number, index) => (Math.abs(number - wanted) < Math.abs(numbers[best] - wanted) ? index : best), 0);
    choose({ sample: nearest });
    showChoice();
  });
  const step = (by) => choose({ sample: (state.sample + by + model().samples.number.length) % model().samples.number.length });
  place("previous-sample").addEventListener("click", () => step(-1));
  place("next-sample").addEventListener("click", () => step(1));
  place("more-cards").addEventListener("click", () => { shownCards += GALLERY; showGallery(); });
  place("samples-table").addEventListener("toggle", showSamples);
  place("previous-rows").addEventListener("click", () => turn(-ROWS));
  place("next-rows").addEventListener("click", () => turn(ROWS));
  for (const button of document.querySelectorAll("button[data-model]"))
    button.addEventListener("click", () => choose({ model: Number(button.dataset.model) }));
  for (const link of document.querySelectorAll('a[href^="#guide"]')) link.addEventListener("click", () => { place("guide-text").open = true; });
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.how:not([open])")];
    for (const details of opened) details.open = true;
  });
  window.addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
};

/* Heat maps of attached runs go along where they know a layer of this name. */
const showHeats = () => {
  for (const select of document.querySelectorAll("select[data-heat]")) {
    const option = [...select.options].find((it) => it.text === model().layers[state.layer]);
    if (!option) continue;
    select.value = option.value;
    select.dispatchEvent(new Event("change"));
  }
};

follow(["model", "layer"], showWords);
follow(["model", "layer"], showHeats);
follow(["model"], () => { shownCards = GALLERY; firstRow = 0; showGallery(); });
follow(["model", "layer"], showSamples);
follow(["model", "sample", "layer"], showChoice);
connect();
drawn.unshift(showWords);
drawn.push(showSample, showGallery, () => {
  const wanted = readAddress();
  if (wanted) choose(wanted, null);
});
