"""Figures of a model's complexity, as Matplotlib axes: the way of rapidity through the layers, the
use of speed limits, a ranking.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from worldline.errors import UsageError
from worldline.plot.colours import LOOKS
from worldline.plot.figures import new_axes, plain
from worldline.plot.names import tidy
from worldline.runs import RunFolder

__all__ = [
    "boost_waterfall",
    "fragility_ranking",
    "levels",
    "most_used",
    "speed_limit_use",
    "used_share",
]

MOST_LAYERS = 20
Source = RunFolder | dict[str, Any]


def boost_waterfall(
    source: Source, *, model: str | None = None, kind: str = "noise", ax: Axes | None = None
) -> Axes:
    """Median rapidity φ from layer to layer as a waterfall, from the input's to the output's; the
    untrained network dashed.

    Args:
        source: a finished run of ``complexity`` or ``explore``, or a model's document.
        model: which model of the run; default: the most fragile.
        kind: ``noise``, ``strangers`` or, where twins were made, ``adversarial`` or
            ``matched_noise``.
        ax: where to draw.

    Returns:
        The axes. A column from φ before to φ here: downwards, the layer drives such pairs apart;
            upwards, together.

    Raises:
        UsageError: the run holds no complexity, no such model, or no such kind of pairs.

    >>> from worldline import plot
    >>> plot.boost_waterfall.__annotations__["return"]
    'Axes'
    """
    document, ax = _document(source, model), new_axes(ax)
    if kind not in document["pairs"]:
        raise UsageError(
            f"There are no pairs of kind {kind!r}: name one of {', '.join(document['pairs'])}."
        )
    trained, null = (_numbers(levels(document, kind, untrained=it)) for it in (False, True))
    names = [layer["name"] for layer in document["layers"]]
    before = np.concatenate([[0.0], trained[:-1]])
    looks = [
        LOOKS["other"],
        *(LOOKS["adversarial" if step < 0 else "noise"] for step in np.diff(trained)),
    ]
    ax.bar(range(len(names)), trained - before, bottom=before, color=[look.paper for look in looks])
    if np.isfinite(null).any():
        ax.plot(
            null,
            color=LOOKS["other"].paper,
            linestyle="--",
            marker=LOOKS["other"].marker,
            label="untrained",
        )
        ax.legend(frameon=False)
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
    ax.set(
        ylabel="median rapidity φ (Fisher's z), nats",
        title=f"{document['model']}: {kind.replace('_', ' ')}",
    )
    return plain(ax)


def speed_limit_use(source: Source, *, model: str | None = None, ax: Axes | None = None) -> Axes:
    """Median share of its speed limit ln(σ₁/σ₂) that each linear layer uses, with 95 % intervals.

    >>> from worldline import plot
    >>> plot.speed_limit_use.__annotations__["return"]
    'Axes'
    """
    document, ax = _document(source, model), new_axes(ax)
    limits = most_used(document)
    for place, (kind, role) in enumerate((("noise", "noise"), ("strangers", "wrong"))):
        at = [number + 0.4 * (place - 0.5) for number in range(len(limits))]
        found = [used_share(limit, kind) or (np.nan, None) for limit in limits]
        ends = [it[1] or (it[0], it[0]) for it in found]
        sides = [[value - low for (value, _), (low, _) in zip(found, ends, strict=True)]]
        sides.append([high - value for (value, _), (_, high) in zip(found, ends, strict=True)])
        values = [it[0] for it in found]
        ax.barh(
            at,
            values,
            height=0.36,
            color=LOOKS[role].paper,
            label=kind,
            xerr=sides if limits else None,
        )
    ax.set_yticks(range(len(limits)), [limit["name"] for limit in limits])
    ax.invert_yaxis()
    ax.set(xlabel="share of the speed limit that pairs use", xlim=(0, 1))
    ax.legend(frameon=False)
    return plain(ax)


def fragility_ranking(run: RunFolder, *, ax: Axes | None = None) -> Axes:
    """Share of answers that noise changes, by model, the most fragile first, with 95 % intervals:
    an estimate.

    >>> from worldline import plot
    >>> plot.fragility_ranking.__annotations__["return"]
    'Axes'
    """
    summary, ax = tidy(run.read_json("summary.json")), new_axes(ax)
    if "ranking" not in summary:
        raise UsageError("This run ranks no models: give one of worldline complexity.")
    ranked = [summary["models"][place] for place in summary["ranking"]]
    shares = [it["fragility"]["changed"] for it in ranked]
    values = [it["value"] for it in shares]
    sides = [
        [it["value"] - it["interval"][0] for it in shares],
        [it["interval"][1] - it["value"] for it in shares],
    ]
    ax.errorbar(values, range(len(values)), xerr=sides, fmt="o", color=LOOKS["adversarial"].paper)
    ax.set_yticks(range(len(values)), [it["model"] for it in ranked])
    ax.invert_yaxis()
    ax.set(
        xlabel=f"share of answers that noise of σ = {ranked[0]['fragility']['sigma']:.3g} changes"
    )
    ax.set_xlim(left=0)
    return plain(ax)


def levels(document: dict[str, Any], kind: str, *, untrained: bool = False) -> list[float | None]:
    """Median φ by layer; None where it is infinite or unknown."""
    key = "untrained_rapidity" if untrained else "rapidity"
    return [(layer[key] or {}).get(kind, {}).get("median") for layer in document["layers"]]


def most_used(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The linear layers in their order; of many, the twenty that noise twins use most."""
    limits: list[dict[str, Any]] = document["limits"]
    if len(limits) <= MOST_LAYERS:
        return limits
    used = sorted(
        range(len(limits)),
        key=lambda place: -(used_share(limits[place], "noise") or (0.0, None))[0],
    )
    return [limits[place] for place in sorted(used[:MOST_LAYERS])]


def used_share(
    limit: dict[str, Any], kind: str, *, untrained: bool = False
) -> tuple[float, list[float] | None] | None:
    """Median share of a layer's limit with its interval; None where there is none."""
    found = (limit["untrained_share" if untrained else "share"] or {}).get(kind)
    if found is None or found["median"] is None:
        return None
    return found["median"], found["interval"] if found["interval"] and None not in found[
        "interval"
    ] else None


def _document(source: Source, model: str | None) -> dict[str, Any]:
    if isinstance(source, dict):
        return source
    summary = tidy(source.read_json("summary.json"))
    if summary.get("complexity"):
        documents = [summary["complexity"]]
    elif "ranking" in summary:
        documents = [summary["models"][place] for place in summary["ranking"]]
    else:
        raise UsageError(
            "This run holds no complexity: give one of worldline complexity or worldline explore."
        )
    found = [it for it in documents if model is None or it["model"] == model]
    if not found:
        raise UsageError(
            f"There is no model {model!r} in this run: name "
            f"{', '.join(it['model'] for it in documents)}."
        )
    return dict(found[0])


def _numbers(values: list[float | None]) -> Any:
    return np.array([np.nan if value is None else value for value in values])
