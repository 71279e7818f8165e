"""From a run's stored results to what its page carries: numbers, words, pictures; no markup."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from worldline.errors import RunError
from worldline.plot.classes import Proportion
from worldline.plot.explored import PAIRS, Bands, Explored, read_explored
from worldline.report.explore.words import headline, tell
from worldline.report.figures import Level, Lines, Series
from worldline.report.images import change_sheet, picture_array, sheet
from worldline.report.numbers import count, share
from worldline.report.old_numbers import interval
from worldline.report.views import View
from worldline.runs import RunFolder, findings, norm_sign, twin_words

__all__ = ["Model", "read_model"]

PICTURE_BUDGET = (
    4_500_000  # bytes of pixels before compression, the four pictures of a sample together
)
NUMBER_BUDGET = 900_000  # rapidities in one page, two bytes each
MOST_ENTRIES = 30_000_000  # of inputs, behind what is said of the change
CARRIED = (
    "adversarial_clean",
    "noise_clean",
    "clean_true",
    "clean_wrong",
    "adversarial_true",
    "adversarial_wrong",
)
STEPS_PER_NAT = 2000  # rapidities are carried in steps of 0.0005 nats up to ±16.3; infinite and undefined have codes
INFINITE, UNDEFINED = 32767, -32768
RAPIDITY_CODE = 32_700


@dataclass(frozen=True)
class Model:
    """One model of the page: what is written for it, and what its script draws.

    Attributes:
        name: unique on the page.
        findings: the sentences of the head; ``merits``: (name, value, beside) of the figures under
            it.
        views: words and tables by view.
        drawn: what the script needs, ready for JSON.
    """

    name: str
    headline: str
    attack: str
    findings: tuple[str, ...]
    merits: tuple[tuple[str, str, str], ...]
    views: dict[str, View]
    drawn: dict[str, Any]
    explored: Explored


def read_model(run: RunFolder, *, name: str = "", share_of_page: int = 1) -> Model:
    """Read a finished run; RunError where something is missing.

    Args:
        run: of ``explore``.
        name: that it has on the page; default: the model's.
        share_of_page: how many models the page carries: each gets that part of the budget.
    """
    data = read_explored(run)
    tensors = run.read_tensors("twins.safetensors")
    if tensors is None:
        raise RunError(f"{run.path} holds no readable twins.safetensors.")
    summary = data.summary
    rows = _first_fooled(
        data.fooled, max(1, NUMBER_BUDGET // share_of_page // (len(CARRIED) * len(data.layers)))
    )
    change = _change(data, tensors)
    views = tell(data, change)
    return Model(
        name=name or summary["model"],
        headline=headline(summary),
        attack=twin_words(summary),
        findings=findings(summary),
        merits=_merits(data),
        views=views,
        drawn=_drawn(data, rows, tensors, PICTURE_BUDGET // share_of_page),
        explored=data,
    )


def _first_fooled(fooled: npt.NDArray[np.bool_], shown: int) -> npt.NDArray[np.int64]:
    """All samples if they fit, else fooled ones before others; in their own order."""
    return np.sort(np.argsort(~fooled, kind="stable")[:shown])


def _merits(data: Explored) -> tuple[tuple[str, str, str], ...]:
    """Accuracies with their intervals, and how much was checked."""
    summary = data.summary
    found = []
    for twin, words in (
        ("clean", "clean accuracy"),
        ("noise", "under noise"),
        ("adversarial", "under attack"),
    ):
        hits, total = int((data.said[twin] == data.labels).sum()), len(data.labels)
        found.append(
            (words, f"{100 * hits / total:.1f}%", interval(Proportion(hits, total).interval))
        )
    swap = summary["swap_layer"]
    turned = (
        f"most are on the wrong side there: "
        f"{share(summary['layers'][swap['index']]['swapped_share'])}"
        if swap
        else "for good"
    )
    found.append(("change sides at", swap["name"] if swap else "no layer", turned))
    warned = sum(check["status"] == "warned" for check in summary["checks"])
    found.append(
        (
            "checks that warn",
            f"{warned} of {len(summary['checks'])}",
            "look here first" if warned else "none",
        )
    )
    return tuple(found)


def _change(data: Explored, tensors: dict[str, Tensor]) -> View:
    """What the attack did to the inputs of the fooled samples, or of all where none was."""
    some = np.flatnonzero(data.fooled) if data.fooled.any() else np.arange(len(data.fooled))
    rows = torch.from_numpy(some[: max(1, MOST_ENTRIES // tensors["clean"][0].numel())])
    change = (tensors["adversarial"][rows] - tensors["clean"][rows]).flatten(1)
    largest, length = change.abs().amax(1), change.norm(dim=1)
    moved = (change.abs() > 1e-6 * largest.clamp_min(1e-30)[:, None]).sum(1).double()
    scale = tensors["clean"][rows].flatten(1).norm(dim=1).clamp_min(1e-30)
    middle = {
        name: float(it.median())
        for name, it in (("moved", moved), ("largest", largest), ("length", length / scale))
    }
    own = {"linf": middle["largest"], "l2": float(length.median())}[data.summary["norm"]]
    title = (
        f"The attack changes {middle['moved']:.0f} of {change.shape[1]} entries of an input "
        f"by at most {middle['largest']:.3g}"
    )
    sentence = (
        f"Medians over {count(len(change), 'sample')}. In the {norm_sign(data.summary['norm'])} "
        f"norm that is {own:.3g} of the allowed "
        f"{data.summary['epsilon_text']}; the change is {share(middle['length'])} as long as the "
        f"input itself. In the pictures of the "
        "change, lighter raises a value, darker lowers it, grey leaves it."
    )
    low, high = data.summary["bounds"]
    greatest = float(change.abs().max())
    magnified = (
        f"; changes are magnified {(high - low) / greatest:.1f} times" if greatest > 0 else ""
    )
    return View(
        title,
        sentence,
        f"n = {count(len(change), 'fooled sample' if data.fooled.any() else 'sample')}{magnified}",
    )


def _drawn(
    data: Explored, rows: npt.NDArray[np.int64], tensors: dict[str, Tensor], budget: int
) -> dict[str, Any]:
    summary = data.summary
    layers = summary["layers"]
    labels = sorted(data.names)
    code = {label: place for place, label in enumerate(labels)}
    typical = data.typical(rows)
    swap = summary["swap_layer"]
    return {
        "layers": data.layers,
        "widths": [layer["width"] for layer in layers],
        "layer": swap["index"] if swap else len(layers) - 1,
        "bands": {pair: _bands(data.bands(pair)) for pair in PAIRS},
        "untrained": {pair: _bands(data.bands(pair, untrained=True)) for pair in PAIRS}
        if data.untrained
        else None,
        "shares": {
            key: [
                [it["value"], *(it["interval"] or (None, None))]
                for it in (layer[key] for layer in layers)
            ]
            for key in ("swapped", "noise_swapped", "misclassified_swapped")
        },
        "boosts": [_boost(layer["excess_boost"]) for layer in layers],
        "names": [data.names[label] for label in labels],
        "classes": [
            {
                "class": code[row.label],
                **{
                    twin: [it.value, *(it.interval or (None, None))]
                    for twin, it in row.right.items()
                },
            }
            for row in data.classes
        ],
        "flows": [
            {
                "source": it.source,
                "target": it.target,
                "count": it.count,
                "by": it.by_layer,
                "samples": it.samples[:50],
            }
            for it in data.flows
        ],
        "curve": _curve(summary.get("curve")),
        "total": len(data.fooled),
        "chosen": int(np.searchsorted(rows, typical)),
        "samples": {
            "number": rows.tolist(),
            "state": data.states[rows].tolist(),
            "swap": data.swap[rows].tolist(),
            "label": [code[label] for label in data.labels[rows].tolist()],
            **{
                twin: [code[label] for label in it[rows].tolist()] for twin, it in data.said.items()
            },
        },
        "phi": {name: _carried(data.rapidity[name][rows]) for name in CARRIED},
        "pictures": _pictures(data, rows, tensors, budget),
    }


def _curve(curve: dict[str, Any] | None) -> Lines | None:
    if not curve:
        return None
    points = curve["points"]
    ends = tuple(tuple(it["interval"]) if it["interval"] else None for it in points)
    return Lines(
        tuple(it["epsilon"] for it in points),
        (
            Series("under noise", "noise", tuple(it.get("noise_accuracy") for it in points)),
            Series("under attack", "adversarial", tuple(it["accuracy"] for it in points), ends),
        ),
        () if curve.get("chance") is None else (Level("chance", curve["chance"]),),
        label="ε",
        share=True,
    )


def _bands(bands: Bands) -> dict[str, list[float | None]]:
    return {name: [_number(value) for value in values] for name, values in vars(bands).items()}


def _boost(boost: dict[str, Any] | None) -> list[float | None]:
    if boost is None or boost["median"] is None:
        return [None, None, None]
    low, high = boost["interval"] or (None, None)
    return [-boost["median"], None if high is None else -high, None if low is None else -low]


def _carried(rapidity: npt.NDArray[np.float64]) -> str:
    """Rapidities as little-endian 16-bit steps in base64, sample by sample."""
    steps = np.clip(np.rint(np.nan_to_num(rapidity) * STEPS_PER_NAT), -RAPIDITY_CODE, RAPIDITY_CODE)
    steps = np.where(np.isinf(rapidity), np.sign(rapidity) * INFINITE, steps)
    steps = np.where(np.isnan(rapidity), UNDEFINED, steps)
    return base64.b64encode(steps.astype("<i2").tobytes()).decode()


def _pictures(
    data: Explored, rows: npt.NDArray[np.int64], tensors: dict[str, Tensor], budget: int
) -> dict[str, Any]:
    """Four sheets of the same samples: as many as fit, fooled ones first. ``places``: their
    positions in the page's samples.
    """
    height, width, *channels = picture_array(tensors["clean"][0]).shape
    most = max(1, budget // (4 * height * width * max([1, *channels])))
    places = _first_fooled(data.fooled[rows], most)
    columns = math.ceil(math.sqrt(len(places)))
    own = torch.from_numpy(rows[places])
    bounds = (data.summary["bounds"][0], data.summary["bounds"][1])
    change = tensors["adversarial"][own] - tensors["clean"][own]
    largest = float((tensors["adversarial"] - tensors["clean"]).abs().max())
    sheets = {
        twin: sheet(tensors[twin][own], bounds, columns)
        for twin in ("clean", "noise", "adversarial")
    }
    return {
        "width": width,
        "height": height,
        "columns": columns,
        "places": places.tolist(),
        "sheets": {**sheets, "change": change_sheet(change, largest, columns)},
    }


def _number(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None
