/* Accuracy against ε; drawn where the run has it. */

drawing("figure-curve", ["model"], (host) => {
  const curve = model().curve;
  host.closest("section").hidden = !curve;
  if (!curve) return;
  const most = Math.max(...curve.points.map(({ epsilon }) => epsilon));
  const chart = figure(host, { x: { low: 0, high: most * 1.03, label: "ε" }, y: { low: 0, high: 1, share: true }, height: 300 });
  const { X, Y, svg, box } = chart;
  const at = (key) => curve.points.map((it) => [X(it.epsilon), it[key] === null || it[key] === undefined ? NaN : Y(it[key])]);
  for (const { epsilon, interval } of curve.points)
    if (interval) svg.append(node("line", { class: "whisker adversarial", x1: X(epsilon), x2: X(epsilon), y1: Y(interval[0]), y2: Y(interval[1]) }));
  for (const [key, role] of [["noise_accuracy", "noise"], ["accuracy", "adversarial"]])
    svg.append(line(at(key), role), marks(at(key).filter(([, y]) => Number.isFinite(y)), role, 4));
  if (curve.chance !== null && curve.chance !== undefined)
    svg.append(node("line", { class: "line other dashed", x1: box.left, x2: box.right, y1: Y(curve.chance), y2: Y(curve.chance) }));
  legend(host, [["adversarial", "under attack"], ["noise", "under noise"], ["other", "chance", "dashed"]]);
});
