/* What is chosen: {model, sample, layer}, in one place. Every view reads it and may set it; the address keeps it. */

const data = JSON.parse(document.getElementById("page-data").textContent);
const place = (id) => document.getElementById(id);
const state = { model: 0, sample: data.models[0].chosen, layer: data.models[0].layer };
const listeners = [];
const model = () => data.models[state.model];

const inside = (value, size, otherwise) =>
  Number.isInteger(value) && value >= 0 && value < size ? value : otherwise;

/* Only what exists can be chosen: another model may have fewer layers or samples. */
const settle = (wanted) => {
  const number = inside(wanted.model ?? state.model, data.models.length, 0);
  const chosen = data.models[number];
  const moved = number !== state.model;
  return {
    model: number,
    sample: inside(wanted.sample ?? state.sample, chosen.samples.number.length, chosen.chosen),
    layer: inside(wanted.layer ?? (moved ? sameLayer(chosen) : state.layer), chosen.layers.length, chosen.layer),
  };
};

/* The layer of the same name in the other model, or else its own first choice. */
const sameLayer = (other) => {
  const found = other.layers.indexOf(model().layers[state.layer]);
  return found < 0 ? other.layer : found;
};

const address = () => `#model=${state.model}&sample=${model().samples.number[state.sample]}&layer=${state.layer}`;

const readAddress = () => {
  const parts = new URLSearchParams(location.hash.slice(1));
  if (!parts.has("model")) return null;
  const number = inside(Number(parts.get("model")), data.models.length, 0);
  const sample = data.models[number].samples.number.indexOf(Number(parts.get("sample")));
  return { model: number, sample, layer: Number(parts.get("layer")) };
};

/* history: "push" leaves a step to come Back to, "replace" does not (steps with the arrow keys), null leaves the address. */
const choose = (wanted, history = "push") => {
  const next = settle(wanted);
  const changed = Object.keys(next).filter((name) => next[name] !== state[name]);
  if (!changed.length) return;
  Object.assign(state, next);
  if (history === "push") window.history.pushState(null, "", address());
  else if (history === "replace") window.history.replaceState(null, "", address());
  tellAll(new Set(changed));
};

const tellAll = (changed) => {
  for (const [names, listener] of listeners) if (names.some((name) => changed.has(name))) listener();
};

const follow = (names, listener) => listeners.push([names, listener]);

window.addEventListener("popstate", () => {
  const wanted = readAddress();
  if (wanted) choose(wanted, null);
  else if (!location.hash) choose({ model: 0, sample: data.models[0].chosen, layer: data.models[0].layer }, null);
});
