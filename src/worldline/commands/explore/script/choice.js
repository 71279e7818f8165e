/* What is chosen: {model, sample, layer}, in one place. Every view reads it and may set it; the
   address keeps it. */

Object.assign(state, { model: 0, sample: data.models[0].chosen, layer: data.models[0].layer });
const first = { ...state };
const model = () => data.models[state.model];

/* Only what exists can be chosen: another model may have fewer layers or samples. */
const settle = (wanted) => {
  const number = inside(wanted.model ?? state.model, data.models.length, 0);
  const chosen = data.models[number], layers = chosen.layers.length;
  const layer = number === state.model ? state.layer : sameLayer(chosen);
  return {
    model: number,
    sample: inside(wanted.sample ?? state.sample, chosen.samples.number.length, chosen.chosen),
    layer: inside(wanted.layer ?? layer, layers, chosen.layer),
  };
};

/* The layer of the same name in the other model, or else its own first choice. */
const sameLayer = (other) => {
  const found = other.layers.indexOf(model().layers[state.layer]);
  return found < 0 ? other.layer : found;
};

const address = () =>
  `#model=${state.model}&sample=${model().samples.number[state.sample]}&layer=${state.layer}`;

const readAddress = () => {
  const parts = new URLSearchParams(location.hash.slice(1));
  if (!parts.has("model")) return null;
  const number = inside(Number(parts.get("model")), data.models.length, 0);
  const sample = data.models[number].samples.number.indexOf(Number(parts.get("sample")));
  return { model: number, sample, layer: Number(parts.get("layer")) };
};

/* history: "push" leaves a step to come Back to, "replace" does not (steps with the arrow keys),
   null leaves the address, which a frame of a notebook has none of its own. */
const choose = (wanted, history = "push") => {
  const next = settle(wanted);
  const changed = Object.keys(next).filter((name) => next[name] !== state[name]);
  if (!changed.length) return;
  Object.assign(state, next);
  if (location.protocol === "about:") history = null;
  if (history === "push") window.history.pushState(null, "", address());
  else if (history === "replace") window.history.replaceState(null, "", address());
  tellAll(new Set(changed));
};

window.addEventListener("popstate", () => {
  const wanted = readAddress();
  if (wanted) choose(wanted, null);
  else if (!location.hash) choose(first, null);
});
