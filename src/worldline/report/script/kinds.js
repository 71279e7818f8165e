/* Figures of the shared kinds; what they carry is declared in report/figures.py. */

const ROW = 26;

/* A scale at the foot of a figure without axes: a thin line and a number at each value. */
const scaleBelow = (svg, X, values, bottom, write) => {
  for (const value of values) {
    svg.append(stroke("edge", [X(value), 0], [X(value), bottom]));
    svg.append(words(write(value), X(value), bottom + 15, { "text-anchor": "middle" }));
  }
};

/* Bars from 0 to the right, each with its interval, the mark of nothing, and its number. */
const barsFigure = (host, it) => {
  const width = widthOf(host), left = Math.min(150, 0.3 * width), right = width - 64;
  const bottom = ROW * it.bars.length + 8;
  const svg = canvas(host, width, bottom + (it.label ? 38 : 22));
  const all = it.bars.flatMap(({ value, interval, null: none }) => [value, none, interval?.[1]]);
  const finite = all.filter((value) => Number.isFinite(value));
  const most = it.most ?? finite.reduce((a, b) => Math.max(a, b), 0.01);
  const X = span(0, most, left, right), upTo = (value) => X(clamp(value, 0, most));
  const marked = ticks(0, most, (right - left) / 90);
  scaleBelow(svg, X, marked, bottom, it.share ? percent : plainNumber);
  it.bars.forEach((bar, index) => {
    const top = ROW * index + 6, middle = top + 9;
    const group = node("g", { class: `bar-row ${bar.role}` });
    const name = label(bar.name, Math.floor(left / 7));
    group.append(words(name, left - 8, top + 14, { "text-anchor": "end" }));
    if (bar.value !== null) {
      const length = upTo(bar.value) - left;
      group.append(node("rect", { x: left, y: top, width: length, height: 18 }));
    }
    if (bar.interval) {
      const [low, high] = bar.interval.map(upTo);
      group.append(stroke("whisker", [low, middle], [high, middle]));
    }
    if (bar.null !== null) {
      group.append(stroke("null-mark", [upTo(bar.null), top - 3], [upTo(bar.null), top + 21]));
    }
    group.append(words(bar.said, width - 4, top + 14, { "text-anchor": "end" }));
    svg.append(group);
  });
  if (it.label) {
    const middle = { "text-anchor": "middle", class: "axis" };
    svg.append(words(it.label, (left + right) / 2, bottom + 33, middle));
  }
  if (it.legend.length) legend(host, it.legend.map(([role, text]) => [role, text, "marker"]));
};

/* From level to level: a column for each layer, between what was and what is. */
const waterfallFigure = (host, it) => {
  const { names, levels } = it;
  const end = levels.findIndex((level) => !Number.isFinite(level));
  const whole = levels.slice(0, end < 0 ? levels.length : end);
  const columns = end < 0 ? [...names, "output"] : [...names];
  const y = reach([...whole, ...it.null], 0, 0.1);
  const chart = figure(host, { x: { names: columns, label: it.label }, y, height: 290 });
  const { X, Y, svg } = chart, half = 0.38 * (X(1) - X(0));
  const told2 = (value) => `${value > 0 ? "+" : ""}${told(value)}`;
  const step = (index, from, to, look) => {
    const top = Math.min(Y(from), Y(to)), height = Math.max(1, Math.abs(Y(from) - Y(to)));
    const group = node("g", { class: `step ${look}` });
    group.append(node("rect", { x: X(index) - half, y: top, width: 2 * half, height }));
    if (half > 15) {
      const text = look === "other" ? told(to) : told2(to - from);
      group.append(words(text, X(index), top - 4, { "text-anchor": "middle" }));
    }
    svg.append(group);
  };
  whole.forEach((level, index) => {
    if (index === 0) return step(0, 0, level, "other");
    const before = whole[index - 1];
    step(index, before, level, level < before ? "adversarial" : "noise");
  });
  if (end < 0) step(names.length, 0, whole.at(-1), "other");
  if (it.null.length) {
    const points = it.null.map((level, index) => [X(index), level === null ? NaN : Y(level)]);
    svg.append(line(points, "other dashed"));
  }
  const entries = [["adversarial", "driven apart", "marker"], ["noise", "together", "marker"]];
  legend(host, [...entries, ...(it.null.length ? [["other", "untrained", "dashed"]] : [])]);
};

/* What is joined far to the left shares little. */
const treeFigure = (host, it) => {
  const width = widthOf(host), names = Math.min(190, 0.4 * width), left = 14;
  const right = width - names, bottom = 24 * it.leaves.length + 8;
  const svg = canvas(host, width, bottom + (it.label ? 38 : 22));
  const most = it.joins.reduce((highest, [, , height]) => Math.max(highest, height), 1e-9);
  const X = span(0, most, right, left);
  scaleBelow(svg, X, [0, most / 2, most], bottom, (value) => told(value));
  const places = new Map(it.order.map((leaf, index) => [leaf, [X(0), 16 + 24 * index]]));
  let d = "";
  it.joins.forEach(([one, other, height], index) => {
    const [x1, y1] = places.get(one), [x2, y2] = places.get(other), x = X(height);
    d += `M${x1},${y1}H${x}V${y2}H${x2}`;
    places.set(it.leaves.length + index, [x, (y1 + y2) / 2]);
  });
  svg.append(node("path", { class: "line noise", d }));
  it.leaves.forEach((name, index) => {
    svg.append(words(label(name, Math.floor(names / 7.2)), right + 8, 20 + 24 * index));
  });
  if (it.label) {
    const middle = { "text-anchor": "middle", class: "axis" };
    svg.append(words(it.label, (left + right) / 2, bottom + 33, middle));
  }
};

/* A pair's way through the layers, small. */
const sparklineFigure = (host, it) => {
  const width = 150, height = 64, room = 5, { reach: most } = it;
  const svg = canvas(host, width, height);
  const X = span(0, Math.max(1, it.line.length - 1), room, width - room);
  const Y = span(-most, most, height - room, room);
  const at = (row) => row.map((value, index) =>
    [X(index), value === null ? NaN : Y(clamp(value, -most, most))]);
  svg.append(band(at(it.high), at(it.low), "other"), stroke("edge", [0, Y(0)], [width, Y(0)]));
  if (it.null.length) svg.append(line(at(it.null), "other dashed"));
  svg.append(line(at(it.line), "adversarial"), marks(at(it.line), "adversarial", 1.8));
};

/* Lines over numbers or names, their intervals as whiskers or bands, and levels with a meaning. */
const linesFigure = (host, it) => {
  const named = typeof it.x[0] === "string", most = named ? 0 : Math.max(...it.x);
  const all = it.series.flatMap(({ values, intervals: ends }) => [...values, ...ends.flat()]);
  const y = it.share
    ? { low: 0, high: 1, share: true }
    : reach([...all, ...it.levels.map(({ value }) => value)], it.low, it.high);
  const x = named
    ? { names: it.x, label: it.label }
    : { low: Math.min(0, ...it.x), high: most * 1.03 || 1, label: it.label };
  const chart = figure(host, { x, y, height: 300 }), { X, Y, svg, box } = chart;
  const along = (index) => X(named ? index : it.x[index]);
  const at = (row) => row.map((value, index) => [along(index), value === null ? NaN : Y(value)]);
  for (const series of it.series) {
    const { role, values } = series, ends = series.intervals;
    if (series.band) {
      const edge = (side) => at(ends.map((pair) => pair?.[side] ?? null));
      svg.append(band(edge(1), edge(0), role));
    } else {
      ends.forEach((pair, index) => {
        if (!pair) return;
        const [low, high] = pair.map((end) => clamp(Y(end), box.top, box.bottom));
        svg.append(stroke(`whisker ${role}`, [along(index), low], [along(index), high]));
      });
    }
    svg.append(line(at(values), series.dashed ? `${role} dashed` : role));
    const every = Math.ceil(values.length / 40);  // markers that touch are no markers
    const marked = at(values).filter((_, index) => index % every === 0);
    if (!series.dashed) svg.append(marks(marked, role, 4));
  }
  for (const { value } of it.levels) {
    svg.append(stroke("line other dashed", [box.left, Y(value)], [box.right, Y(value)]));
  }
  const entries = it.series.filter(({ name }) => name).map(({ role, name, dashed }) =>
    [role, name, ...(dashed ? ["dashed"] : [])]);
  legend(host, [...entries, ...it.levels.map(({ name }) => ["other", name, "dashed"])]);
};

const KINDS = {
  bars: barsFigure,
  waterfall: waterfallFigure,
  tree: treeFigure,
  sparkline: sparklineFigure,
  lines: linesFigure,
};
