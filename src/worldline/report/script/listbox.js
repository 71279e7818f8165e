/* A figure whose points can be reached by keyboard: a list box that holds one option at a time, the
   current one. Two options take turns, so that assistive software notices each change. */

const KEYS = [
  "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown",
];

const listbox = (host, { label: name, count, current, describe, step, pick, shown = () => {} }) => {
  let turn = 0;
  const options = [0, 1].map((index) => element("div", {
    role: "option", id: `${host.id}-option-${index}`, class: "unseen", "aria-selected": "false",
  }));
  host.tabIndex = 0;
  host.setAttribute("role", "listbox");
  host.setAttribute("aria-label", name);
  host.append(...options);
  const tell = () => {
    turn = 1 - turn;
    options.forEach((option, index) => {
      option.textContent = describe(current());
      option.setAttribute("aria-selected", String(index === turn));
      option.setAttribute("aria-posinset", String(current() + 1));
      option.setAttribute("aria-setsize", String(count()));
    });
    host.setAttribute("aria-activedescendant", options[turn].id);
  };
  host.addEventListener("keydown", (event) => {
    if (!KEYS.includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = step(event.key, current(), count());
    if (next !== null && next !== current()) pick(next, "replace");
    tell();
    shown(true);
  });
  host.addEventListener("focus", () => { tell(); shown(true); });
  host.addEventListener("blur", () => shown(false));
  tell();
  return tell;
};

const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 5, PageDown: -5 };

/* The next in a row of `count`: arrows by one, pages by five. */
const along = (key, index, count) => {
  if (key === "Home") return 0;
  return key === "End" ? count - 1 : clamp(index + STEPS[key], 0, count - 1);
};

/* The column of a figure by names at which a click points. */
const clickedColumn = (host, count, event) => {
  const { X, width } = host.chart, box = host.querySelector("svg.chart").getBoundingClientRect();
  const x = ((event.clientX - box.left) * width) / box.width;
  const distances = Array.from({ length: count }, (_, index) => Math.abs(X(index) - x));
  return distances.indexOf(Math.min(...distances));
};
