/* Figures are SVG, drawn as wide as their place: axes, lines, markers. Colours come from the style sheet, by class. */

const node = (tag, attributes = {}, ...children) => {
  const it = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) it.setAttribute(name, value);
  it.append(...children);
  return it;
};

const element = (tag, attributes = {}, ...children) => {
  const it = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) it.setAttribute(name, value);
  it.append(...children);
  return it;
};

const span = (low, high, from, to) => (value) => from + ((to - from) * (value - low)) / (high - low || 1);

/* Round values between two ends. */
const ticks = (low, high, about) => {
  const raw = (high - low || 1) / about, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((it) => it * size).find((it) => it >= raw);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
};

const plainNumber = (value) => String(value).replace("-", "−");

const short = (name, length) => {
  const letters = [...name];
  return letters.length <= length ? name : `${letters.slice(0, length - 1).join("")}…`;
};

/* Names with dots differ at their end: that is what is kept of them. */
const label = (name, length) => {
  const letters = [...name];
  if (letters.length <= length || !name.includes(".")) return short(name, length);
  return `…${letters.slice(1 - length).join("")}`;
};

/* Paths of markers, centred: one shape for each thing, so that colour never stands alone. */
const MARKERS = {
  adversarial: (r) => `m${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0z`,
  noise: (r) => `m${-r},${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  true: (r) => `m0,${-1.2 * r}l${1.2 * r},${2.1 * r}h${-2.4 * r}z`,
  wrong: (r) => `m0,${-1.4 * r}l${1.4 * r},${1.4 * r}l${-1.4 * r},${1.4 * r}l${-1.4 * r},${-1.4 * r}z`,
  other: (r) => `m0,${1.2 * r}l${1.2 * r},${-2.1 * r}h${-2.4 * r}z`,
};

const marks = (points, role, radius = 3.5) =>
  node("path", {
    class: `marks ${role}`,
    d: points.map(([x, y]) => `M${x.toFixed(1)},${y.toFixed(1)}${MARKERS[role](radius)}`).join(""),
  });

/* A line through what is finite; it breaks where something is not. */
const line = (points, className) => {
  let d = "", open = false;
  for (const [x, y] of points) {
    if (Number.isFinite(y) && Number.isFinite(x)) d += `${open ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`;
    open = Number.isFinite(y) && Number.isFinite(x);
  }
  return node("path", { class: `line ${className}`, d });
};

const words = (text, x, y, attributes = {}) => node("text", { x, y, ...attributes }, text);

/* An empty figure. x and y: {low, high, label} or {names, label}, with a brief label for narrow places; returns places X(value), Y(value) and the svg. */
const figure = (host, { x, y, height }) => {
  const width = Math.max(260, host.clientWidth || 600);
  const turned = x.names && x.names.reduce((sum, name) => sum + Math.min(name.length, 14), 0) * 7.5 > width - 60;
  const box = { left: y.names ? 96 : 46, right: width - 12, top: 10, bottom: height - (turned ? 96 : 44) };
  const ends = (axis) => (axis.names ? [-0.4, axis.names.length - 0.6] : [axis.low, axis.high]);
  const X = span(...ends(x), box.left, box.right), Y = span(...ends(y), box.bottom, box.top);
  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "chart" });
  const grid = node("g", { class: "grid" });
  const every = (axis, room) => Math.max(1, Math.ceil((axis.names.length * (turned ? 16 : 30)) / room));
  const xTicks = x.names
    ? x.names.map((_, index) => index).filter((index) => index % every(x, box.right - box.left) === 0)
    : ticks(x.low, x.high, (box.right - box.left) / 80);
  for (const value of xTicks) {
    const at = X(value);
    grid.append(node("line", { x1: at, x2: at, y1: box.top, y2: box.bottom }));
    const text = x.names ? label(x.names[value], 14) : plainNumber(value);
    grid.append(
      turned
        ? words(text, at, box.bottom + 14, { "text-anchor": "end", transform: `rotate(-35 ${at} ${box.bottom + 14})` })
        : words(text, at, box.bottom + 16, { "text-anchor": "middle" }),
    );
  }
  const yTicks = y.names ? y.names.map((_, index) => index).filter((index) => index % Math.ceil((y.names.length * 16) / (box.bottom - box.top)) === 0) : ticks(y.low, y.high, (box.bottom - box.top) / 46);
  for (const value of yTicks) {
    const at = Y(value);
    grid.append(node("line", { x1: box.left, x2: box.right, y1: at, y2: at }));
    const text = y.names ? label(y.names[value], 12) : y.share ? percent(value) : plainNumber(value);
    grid.append(words(text, box.left - 6, at + 4, { "text-anchor": "end" }));
  }
  if (!y.names && y.low < 0 && y.high > 0) grid.append(node("line", { class: "zero", x1: box.left, x2: box.right, y1: Y(0), y2: Y(0) }));
  const caption = x.brief && x.label.length * 6.6 > width - 40 ? x.brief : x.label;
  grid.append(words(caption, (box.left + box.right) / 2, height - 6, { "text-anchor": "middle", class: "axis" }));
  svg.append(grid);
  for (const old of host.querySelectorAll("svg.chart")) old.remove();
  host.prepend(svg);
  return { svg, X, Y, box, width, height };
};

/* Values with their intervals: a bar from end to end, and a marker. */
const intervals = (chart, rows, role, shift = 0) => {
  const known = rows.map((row, index) => [index, row]).filter(([, row]) => row[0] !== null);
  for (const [index, [, low, high]] of known)
    if (low !== null) {
      const at = chart.X(index) + shift;
      chart.svg.append(node("line", { class: `whisker ${role}`, x1: at, x2: at, y1: chart.Y(low), y2: chart.Y(high) }));
    }
  const points = known.map(([index, [value]]) => [chart.X(index) + shift, chart.Y(value)]);
  chart.svg.append(marks(points, role, 4));
  return points;
};

/* The chosen column of a figure that goes by layer. */
const column = (chart, index, count) => {
  const half = (chart.X(1) - chart.X(0)) / 2;
  const from = Math.max(chart.box.left, chart.X(index) - half), to = Math.min(chart.box.right, chart.X(index) + half);
  chart.svg.prepend(node("rect", { class: "chosen", x: from, y: chart.box.top, width: Math.max(2, to - from), height: chart.box.bottom - chart.box.top, rx: 4 }));
};

const legend = (host, entries) => {
  const list = element("ul", { class: "legend" });
  for (const [role, label, dashed] of entries) {
    const key = node("svg", { width: 30, height: 14, "aria-hidden": "true" });
    if (!dashed || dashed === "dashed") key.append(node("path", { class: `line ${role} ${dashed ?? ""}`, d: "M1,7H29" }));
    if (dashed !== "dashed") key.append(marks([[15, 7]], role, 4));
    list.append(element("li", {}, key, label));
  }
  host.querySelector(".legend")?.remove();
  host.append(list);
};

/* Draw now, and again when the place gets another width. */
const drawn = [];
const drawing = (id, names, draw) => {
  const host = place(id);
  if (!host) return;
  drawn.push(() => draw(host));
  follow(names, () => draw(host));
  let width = 0;
  new ResizeObserver(() => {
    if (Math.abs(host.clientWidth - width) < 2) return;
    width = host.clientWidth;
    draw(host);
  }).observe(host);
};
