/* The one way in which a page draws: SVG, as wide as its place; colours by class, from page.css.

   A figure of a shared kind (bars, waterfall, tree, sparkline, lines: report/figures.py) needs no
   script: `macros.figure` in the template carries its data, and start.js draws it with KINDS.

   A view script of a command (commands/<name>/script/*.js) draws anything else:

     drawing("figure-mine", ["layer"], (host) => {      // drawn again when `layer` is told, or
       const chart = figure(host, {                     // when the place gets another width
         x: { names: data.layers, label: "layer" },     // or { low, high, label }
         y: { low: 0, high: 1, share: true },           // numbers; share: in per cent
         height: 300,
       });
       const points = intervals(chart, rows, "adversarial");   // rows: [value, low, high]
       chart.svg.append(line(points, "adversarial"));          // roles: the keys of MARKERS
       legend(host, [["adversarial", "under attack"]]);
     });

   `data` is what render_page was given as data=. A page without choices gives [] as the names.
   Text goes in by textContent, `element`, `node` or `words` only: names from outside are text. */

const fill = (it, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) it.setAttribute(name, value);
  it.append(...children);
  return it;
};

const node = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const element = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

const span = (low, high, from, to) => (value) =>
  from + ((to - from) * (value - low)) / (high - low || 1);

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/* The ends of a scale that holds all finite values, and low and high, with some room. */
const reach = (values, low, high) => {
  const known = values.filter((value) => value !== null && Number.isFinite(value));
  const least = known.reduce((a, b) => Math.min(a, b), low);
  const most = known.reduce((a, b) => Math.max(a, b), high), room = 0.05 * (most - least || 1);
  return { low: least < low ? least - room : least, high: most + room };
};

/* Round values between two ends. */
const ticks = (low, high, about) => {
  const raw = (high - low || 1) / about, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((it) => it * size).find((it) => it >= raw);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
};

const plainNumber = (value) => (value < 0 ? `−${-value}` : `${value}`);

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
  wrong: (r) => {
    const far = 1.4 * r;
    return `m0,${-far}l${far},${far}l${-far},${far}l${-far},${-far}z`;
  },
  other: (r) => `m0,${1.2 * r}l${1.2 * r},${-2.1 * r}h${-2.4 * r}z`,
};

const known = (points) => points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));

const marks = (points, role, radius = 3.5) =>
  node("path", {
    class: `marks ${role}`,
    d: known(points)
      .map(([x, y]) => `M${x.toFixed(1)},${y.toFixed(1)}${MARKERS[role](radius)}`)
      .join(""),
  });

/* A line through what is finite; it breaks where something is not. */
const line = (points, className) => {
  let d = "", open = false;
  for (const [x, y] of points) {
    const finite = Number.isFinite(y) && Number.isFinite(x);
    if (finite) d += `${open ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`;
    open = finite;
  }
  return node("path", { class: `line ${className}`, d });
};

/* The middle of a distribution, as a surface between two rows of points: one for each stretch in
   which both are finite. */
const band = (highs, lows, role) => {
  const parts = [];
  let from = null;
  for (let index = 0; index <= highs.length; index++) {
    const both = index < highs.length && known([highs[index], lows[index]]).length === 2;
    if (both && from === null) from = index;
    if (both || from === null) continue;
    const edge = [...highs.slice(from, index), ...lows.slice(from, index).reverse()];
    parts.push(`M${edge.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}Z`);
    from = null;
  }
  return node("path", { class: `band ${role}`, d: parts.join("") });
};

const words = (text, x, y, attributes = {}) => node("text", { x, y, ...attributes }, text);

const stroke = (look, [x1, y1], [x2, y2]) => node("line", { class: look, x1, y1, x2, y2 });

/* The svg of a figure takes the place of the one before; it stands first in its host. */
const canvas = (host, width, height) => {
  const svg = node("svg", {
    viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "chart",
  });
  for (const old of host.querySelectorAll("svg.chart")) old.remove();
  host.prepend(svg);
  return svg;
};

const widthOf = (host) => Math.max(260, host.clientWidth || 600);

/* Every so many names are written, so that they do not touch. */
const thinned = (names, room, each) => {
  const every = Math.max(1, Math.ceil((names.length * each) / room));
  return names.map((_, index) => index).filter((index) => index % every === 0);
};

/* An empty figure. x and y: {low, high, label} or {names, label}, with a brief label for narrow
   places; returns places X(value), Y(value), the box and the svg. */
const figure = (host, { x, y, height }) => {
  const width = widthOf(host);
  const letters = (x.names ?? []).reduce((sum, name) => sum + Math.min(name.length, 14), 0);
  const turned = letters * 7.5 > width - 60;
  const box = {
    left: y.names ? 96 : 46, right: width - 12, top: 10, bottom: height - (turned ? 96 : 44),
  };
  const ends = (axis) => (axis.names ? [-0.4, axis.names.length - 0.6] : [axis.low, axis.high]);
  const X = span(...ends(x), box.left, box.right), Y = span(...ends(y), box.bottom, box.top);
  const svg = canvas(host, width, height), grid = node("g", { class: "grid" });
  const across = box.right - box.left, down = box.bottom - box.top;
  const xTicks = x.names
    ? thinned(x.names, across, turned ? 16 : 30)
    : ticks(x.low, x.high, across / 80);
  for (const value of xTicks) {
    const at = X(value), text = x.names ? label(x.names[value], 14) : plainNumber(value);
    grid.append(stroke("", [at, box.top], [at, box.bottom]));
    const slope = { "text-anchor": "end", transform: `rotate(-35 ${at} ${box.bottom + 14})` };
    grid.append(turned
      ? words(text, at, box.bottom + 14, slope)
      : words(text, at, box.bottom + 16, { "text-anchor": "middle" }));
  }
  const yTicks = y.names ? thinned(y.names, down, 16) : ticks(y.low, y.high, down / 46);
  const yText = (value) => {
    if (y.names) return label(y.names[value], 12);
    return y.share ? percent(value) : plainNumber(value);
  };
  for (const value of yTicks) {
    const at = Y(value);
    grid.append(stroke("", [box.left, at], [box.right, at]));
    grid.append(words(yText(value), box.left - 6, at + 4, { "text-anchor": "end" }));
  }
  if (!y.names && y.low < 0 && y.high > 0) {
    grid.append(stroke("zero", [box.left, Y(0)], [box.right, Y(0)]));
  }
  const caption = x.brief && x.label.length * 6.6 > width - 40 ? x.brief : x.label ?? "";
  const middle = { "text-anchor": "middle", class: "axis" };
  grid.append(words(caption, (box.left + box.right) / 2, height - 6, middle));
  svg.append(grid);
  return { svg, X, Y, box, width, height };
};

/* Values with their intervals: a bar from end to end, and a marker. rows: [value, low, high], null
   where there is none; what is beyond the figure ends at its edge. */
const intervals = (chart, rows, role, shift = 0) => {
  const { X, Y, box, svg } = chart;
  const points = rows.map(([value, low, high], index) => {
    if (value === null) return [X(index) + shift, NaN];
    const at = X(index) + shift;
    if (low !== null && low !== undefined) {
      const ends = [Y(low), Y(high)].map((end) => clamp(end, box.top, box.bottom));
      svg.append(stroke(`whisker ${role}`, [at, ends[0]], [at, ends[1]]));
    }
    return [at, Number.isFinite(value) ? Y(value) : NaN];
  });
  svg.append(marks(points, role, 4));
  return points;
};

/* The chosen column of a figure that goes by layer. */
const column = (chart, index) => {
  const { X, box, svg } = chart, half = (X(1) - X(0)) / 2;
  const from = Math.max(box.left, X(index) - half), to = Math.min(box.right, X(index) + half);
  svg.prepend(node("rect", {
    class: "chosen", x: from, y: box.top, width: Math.max(2, to - from),
    height: box.bottom - box.top, rx: 4,
  }));
};

/* entries: [role, words, look]; look: nothing for a line with a marker, "dashed", "marker". */
const legend = (host, entries) => {
  const list = element("ul", { class: "legend" });
  for (const [role, text, look] of entries) {
    const key = node("svg", { width: 30, height: 14, "aria-hidden": "true" });
    if (look !== "marker") {
      key.append(node("path", { class: `line ${role} ${look ?? ""}`, d: "M1,7H29" }));
    }
    if (look !== "dashed") key.append(marks([[15, 7]], role, 4));
    list.append(element("li", {}, key, text));
  }
  host.querySelector(".legend")?.remove();
  host.append(list);
};

/* Draw when the page starts, when one of `names` is told, and when the place gets another width.
   host: an element, or the id of one that may be missing. */
const drawn = [];
const drawing = (host, names, draw) => {
  const where = typeof host === "string" ? place(host) : host;
  if (!where) return;
  const again = () => draw(where);
  drawn.push(again);
  follow(names, again);
  let width = 0;
  new ResizeObserver(() => {
    if (Math.abs(where.clientWidth - width) < 2) return;
    width = where.clientWidth;
    again();
  }).observe(where);
};
