/* The words of the chosen model, its tables, the gallery, the bar of choices. */

const fillTable = (table, { columns, rows, words: lead }) => {
  const look = (index) => (index < lead ? { class: "text" } : {});
  const heads = columns.map((name, index) =>
    element("th", { scope: "col", ...look(index) }, name));
  const body = rows.map((cells) =>
    element("tr", {}, ...cells.map((cell, index) => element("td", look(index), String(cell)))));
  table.replaceChildren(
    element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body));
};

const set = (id, text) => { const it = place(id); if (it) it.textContent = text; };

/* How many samples the page carries, and of how many there are pictures. */
const sampleCount = ({ samples, total, pictures }) => {
  const shown = samples.number.length, seen = pictures.places.length;
  const whole = shown < total
    ? `${counted(shown)} of ${counted(total)}: the page is kept small, fooled ones come first`
    : `all ${counted(shown)}`;
  return seen < shown ? `${whole}; ${counted(seen)} with pictures` : whole;
};

const showView = (name, view) => {
  const section = document.querySelector(`section[data-view="${name}"]`);
  if (!section) return;
  const [title, sentence] = section.dataset.byLayer
    ? view.by_layer[state.layer]
    : [view.title, view.sentence];
  section.querySelector("h2").textContent = title;
  section.querySelector(".sentence").textContent = sentence;
  section.querySelector(".basis").textContent = view.basis;
  const table = section.querySelector("table[data-twin]");
  if (table && view.table) fillTable(table, view.table);
};

const showWords = () => {
  const it = model();
  set("headline", it.headline);
  set("kicker-attack", it.attack);
  place("findings").replaceChildren(...it.findings.map((text) => element("li", {}, text)));
  place("merits").replaceChildren(...it.merits.map(([name, value, beside]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value),
      element("dd", { class: "beside" }, beside))));
  for (const [name, view] of Object.entries(it.views)) showView(name, view);
  for (const part of document.querySelectorAll("[data-of-model]")) {
    part.hidden = Number(part.dataset.ofModel) !== state.model;
  }
  const select = place("choose-layer");
  if (select.dataset.model !== String(state.model)) {
    select.dataset.model = String(state.model);
    const options = it.layers.map((name, value) => element("option", { value }, name));
    select.replaceChildren(...options);
    set("sample-count", sampleCount(it));
  }
};

const showChoice = () => {
  const chooser = place("choose-model");
  if (chooser) chooser.value = String(state.model);
  place("choose-sample").value = String(model().samples.number[state.sample]);
  place("choose-layer").value = String(state.layer);
  const whose = data.models.length > 1 ? `${model().name}. ` : "";
  const own = sampleAt(state.sample, state.layer);
  set("read-out", `${whose}${sampleName(state.sample)}. ${own}`);
  for (const card of document.querySelectorAll(".card[data-position]")) {
    card.setAttribute("aria-current", String(Number(card.dataset.position) === state.sample));
  }
};

const GALLERY = 12;
let shownCards = GALLERY;

const galleryCard = (position) => {
  const all = model().samples, name = model().names[all.label[position]];
  const button = element("button", { type: "button" }, `Sample ${all.number[position]}: a ${name}`);
  button.addEventListener("click", () => {
    choose({ sample: position });
    place("sample").scrollIntoView();
    place("sample-title").focus({ preventScroll: true });
  });
  const own = { class: "card", "data-position": position };
  return element("div", own, button, pictureRow(position));
};

const showGallery = () => {
  const all = model().samples, every = all.number.map((_, index) => index);
  const fooled = every.filter((index) => all.state[index] === 0);
  const pool = fooled.length ? fooled : every;
  place("gallery-cards").replaceChildren(...pool.slice(0, shownCards).map(galleryCard));
  place("more-cards").hidden = shownCards >= pool.length;
  showChoice();
};

/* The table of all samples is long: it is written when it is opened, a hundred rows at a time. */
const ROWS = 100;
let firstRow = 0;
const showSamples = () => {
  const details = place("samples-table");
  if (!details.open) return;
  const it = model(), all = it.samples, here = it.layers[state.layer];
  const rows = all.number.slice(firstRow, firstRow + ROWS).map((number, index) => {
    const position = firstRow + index, lost = all.lost[position];
    const said = ["label", "clean", "noise", "adversarial"].map((key) =>
      it.names[all[key][position]]);
    const values = ["adversarial_clean", "adversarial_wrong"].map((name) =>
      told(phi(name, position, state.layer)));
    const from = lost < 0 ? "never" : it.layers[lost];
    return [number, ...said, STATES[all.state[position]], from, ...values];
  });
  const columns = [
    "sample", "label", "clean", "noise", "adversarial", "state", "wrong side for good from",
    `φ(attacked, original) at ${here}`, `φ(attacked, wrong class) at ${here}`,
  ];
  fillTable(details.querySelector("table"), { columns, rows, words: 7 });
  const last = firstRow + rows.length;
  set("samples-range", `${firstRow + 1} to ${last} of ${counted(all.number.length)}`);
};

const turn = (by) => {
  const count = model().samples.number.length;
  if (firstRow + by >= 0 && firstRow + by < count) firstRow += by;
  showSamples();
};

/* The sample whose number is nearest to the one that was typed. */
const sampleNumbered = (wanted) => {
  const { number } = model().samples;
  const far = (index) => Math.abs(number[index] - wanted);
  return number.reduce((best, _, index) => (far(index) < far(best) ? index : best), 0);
};

const onChange = (id, act) =>
  place(id)?.addEventListener("change", (event) => act(Number(event.target.value)));
const onClick = (id, act) => place(id).addEventListener("click", act);

const connect = () => {
  onChange("choose-model", (wanted) => choose({ model: wanted }));
  onChange("choose-layer", (wanted) => choose({ layer: wanted }));
  onChange("choose-sample", (wanted) => {
    choose({ sample: sampleNumbered(wanted) });
    showChoice();
  });
  const step = (by) => {
    const count = model().samples.number.length;
    choose({ sample: (state.sample + by + count) % count });
  };
  onClick("previous-sample", () => step(-1));
  onClick("next-sample", () => step(1));
  onClick("more-cards", () => { shownCards += GALLERY; showGallery(); });
  place("samples-table").addEventListener("toggle", showSamples);
  onClick("previous-rows", () => turn(-ROWS));
  onClick("next-rows", () => turn(ROWS));
  for (const button of document.querySelectorAll("button[data-model]")) {
    button.addEventListener("click", () => choose({ model: Number(button.dataset.model) }));
  }
  for (const link of document.querySelectorAll('a[href^="#guide"]')) {
    link.addEventListener("click", () => { place("guide-text").open = true; });
  }
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.how:not([open])")];
    for (const details of opened) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
};

/* Heat maps of attached runs go along where they know a layer of this name. */
const showHeats = () => {
  for (const select of document.querySelectorAll("select[data-heat]")) {
    const name = model().layers[state.layer];
    const option = [...select.options].find((it) => it.text === name);
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
