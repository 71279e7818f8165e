/* A figure whose points can be reached by keyboard: a list box that holds one option at a time, the current one.
   Two options take turns, so that assistive software notices each change. */

const KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];

const listbox = (host, { label, count, current, describe, step, pick, shown = () => {} }) => {
  let turn = 0;
  const options = [0, 1].map((index) => element("div", { role: "option", id: `${host.id}-option-${index}`, class: "unseen", "aria-selected": "false" }));
  host.tabIndex = 0;
  host.setAttribute("role", "listbox");
  host.setAttribute("aria-label", label);
  host.append(...options);
  const tell = () => {
    turn = 1 - turn;
    options.forEach((option, index) => {
      const own = index === turn;
      option.textContent = describe(current());
      option.setAttribute("aria-selected", String(own));
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

const along = (key, index, count) => {
  const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 5, PageDown: -5 }[key];
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  return Math.min(count - 1, Math.max(0, index + by));
};
