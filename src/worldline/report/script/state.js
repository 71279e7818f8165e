/* What the page carries, what is chosen on it, and who follows. A page with choices of its own
   (explore: model, sample, layer) writes them into `state` and calls `tellAll` with their names. */

const place = (id) => document.getElementById(id);
const data = JSON.parse(place("page-data")?.textContent ?? "null");
const state = {};
const listeners = [];

const follow = (names, listener) => listeners.push([names, listener]);

const tellAll = (changed) => {
  for (const [names, listener] of listeners) {
    if (names.some((name) => changed.has(name))) listener();
  }
};

const inside = (value, size, otherwise) =>
  Number.isInteger(value) && value >= 0 && value < size ? value : otherwise;
