"""Figures of models' complexity for papers, as Matplotlib axes."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldline.commands.base import Result
from worldline.commands.complexity.page import most_used
from worldline.commands.complexity.record import ComplexityReport, ModelComplexity
from worldline.errors import UsageError
from worldline.explain import ByKind
from worldline.plot.axes import figure_of, finite, new_axes, plain, short
from worldline.plot.colours import LOOKS
from worldline.report.numbers import significant

__all__ = ["boost_waterfall", "figures", "fragility_ranking", "speed_limit_use"]


def figures(result: Result[ComplexityReport]) -> dict[str, Figure]:
    """Figures by name: the ranking, and the first model of it."""
    record, first = result.record, result.record.ranked[0]
    drawn = {
        "waterfall": boost_waterfall(first),
        "strangers": boost_waterfall(first, kind="strangers"),
        "ranking": fragility_ranking(record),
    }
    if first.limits:
        drawn["limits"] = speed_limit_use(first)
    return {name: figure_of(ax) for name, ax in drawn.items()}


def boost_waterfall(it: ModelComplexity, *, kind: str = "noise", ax: Axes | None = None) -> Axes:
    """Median rapidity φ from layer to layer as a waterfall; the untrained network dashed.

    Args:
        it: a model's complexity: of ``report.models``, or of an exploration.
        kind: ``noise``, ``strangers`` or, where twins were made, ``adversarial`` or
            ``matched_noise``.
        ax: where to draw.

    Returns:
        The axes. A column from φ before to φ here: downwards, the layer drives such pairs apart;
        upwards, together.

    Raises:
        UsageError: no such kind of pairs.
    """
    if kind not in it.pairs:
        raise UsageError(f"There are no pairs of kind {kind!r}: name one of {', '.join(it.pairs)}.")
    ax = new_axes(ax)
    trained = finite([_median(layer.rapidity, kind) for layer in it.layers])
    null = finite([_median(layer.untrained_rapidity, kind) for layer in it.layers])
    before = [0.0, *trained[:-1]]
    steps = [here - was for here, was in zip(trained[1:], before[1:], strict=True)]
    looks = ["other", *("adversarial" if step < 0 else "noise" for step in steps)]
    colours = [LOOKS[look].paper for look in looks]
    ax.bar(range(len(trained)), trained - before, bottom=before, color=colours)
    if it.untrained_total_boost is not None:
        look = LOOKS["other"]
        ax.plot(null, color=look.paper, linestyle="--", marker=look.marker, label="untrained")
        ax.legend(frameon=False)
    ax.axhline(0.0, color="black", linewidth=0.8)
    names = short([layer.name for layer in it.layers])
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
    title = f"{it.model}: {kind.replace('_', ' ')}"
    ax.set(ylabel="median rapidity φ (Fisher's z), nats", title=title)
    return plain(ax)


def speed_limit_use(it: ModelComplexity, *, whole: bool = True, ax: Axes | None = None) -> Axes:
    """Median share of its speed limit that each linear layer uses, with 95 % intervals.

    Args:
        it: a model's complexity.
        whole: of the layer's limit ln κ, else of ln(σ₁/σ₂) on each pair's own plane.
        ax: where to draw.
    """
    ax, limits = new_axes(ax), most_used(it)
    for place, (kind, role) in enumerate((("noise", "noise"), ("strangers", "wrong"))):
        found = [(limit.share if whole else limit.plane_share)[kind] for limit in limits]
        values = finite([_number(one.median) for one in found])
        low, high = (
            finite([_number(one.interval and one.interval[side]) for one in found])
            for side in (0, 1)
        )
        at = [number + 0.4 * (place - 0.5) for number in range(len(limits))]
        ax.barh(
            at,
            values,
            0.36,
            xerr=(values - low, high - values),
            color=LOOKS[role].paper,
            label=kind,
        )
    ax.set_yticks(range(len(limits)), short([limit.name for limit in limits]))
    ax.invert_yaxis()
    limit = "speed limit ln κ" if whole else "limit ln(σ₁/σ₂) on its plane"
    ax.set(xlabel=f"share of the {limit} that the median pair uses", xlim=(0, 1))
    ax.legend(frameon=False)
    return plain(ax)


def fragility_ranking(record: ComplexityReport, *, ax: Axes | None = None) -> Axes:
    """Share of answers that noise changes, by model, with 95 % intervals: an estimate."""
    ax, ranked = new_axes(ax), record.ranked
    shares = [it.fragility.changed for it in ranked]
    for place, changed in enumerate(shares):
        if changed.value is not None and changed.interval is not None:
            low, high = changed.interval
            ends = [[changed.value - low], [high - changed.value]]
            colour = LOOKS["adversarial"].paper
            ax.errorbar([changed.value], [place], xerr=ends, fmt="o", color=colour)
    ax.set_yticks(range(len(ranked)), short([it.model for it in ranked]))
    ax.invert_yaxis()
    sigma = significant(ranked[0].fragility.sigma)
    ax.set(xlabel=f"share of answers that noise of σ = {sigma} changes")
    ax.set_xlim(left=0)
    return plain(ax)


def _median(parts: ByKind | None, kind: str) -> float:
    return _number(parts[kind].median if parts else None)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
