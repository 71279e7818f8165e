"""The figure of a message that is carried."""

from __future__ import annotations

from matplotlib.figure import Figure

from worldline.commands.encode.drawn.shared import Drawing, show_law
from worldline.commands.encode.record import ExperimentReport
from worldline.encoder.experiments.carrying import CarryTable, HeldTable
from worldline.encoder.experiments.record import CarryCurves
from worldline.plot.colours import VERMILLION

__all__ = ["DRAWN"]


def _carried(figure: Figure, it: ExperimentReport, table: CarryTable) -> None:
    figure.set_size_inches(11, 6.2)
    shape = int(table.row.max()) + 1, int(table.column.max()) + 1
    held = ((table.held, "the receiver holds", True),) if isinstance(table, HeldTable) else ()
    shown = (
        (table.message, "the message", True),
        (table.carried, "what is sent", False),
        *held,
        (table.received, "the receiver reads", True),
        (table.overheard, "eavesdropper reads", True),
        (table.wrong_key, "without the weights", False),
    )
    grid = figure.add_gridspec(2, len(shown), height_ratios=(1, 1.05))
    for place, (pixels, title, bounded) in enumerate(shown):
        axes = figure.add_subplot(grid[0, place])
        image = pixels.reshape(shape).astype(float)
        low, high = (0, 1) if bounded else (None, None)
        axes.imshow(image, cmap="gray", interpolation="nearest", vmin=low, vmax=high)
        axes.set(xticks=(), yticks=(), title=title)
    below = figure.add_subplot(grid[1, :])
    curves = it.finding.curves
    if isinstance(curves, CarryCurves):
        label = "measured, receiver and eavesdropper"
        below.plot(curves.rapidity, color=VERMILLION, label=label, linewidth=3, alpha=0.6)
        show_law(below, range(len(curves.rapidity_law)), curves.rapidity_law)
    below.set(xlabel="layer", ylabel="mean |φ| from the\nsender's codeword (nats)")
    below.legend(frameon=False)


DRAWN: dict[str, Drawing] = dict.fromkeys(
    ("image", "pictures", "uniform", "digit", "reconcile"), _carried
)
