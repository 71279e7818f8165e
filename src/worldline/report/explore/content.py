"""From a run's stored results to what the page shows: numbers, sentences, pictures; no markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from worldline.errors import RunError
from worldline.report.images import change_picture, picture
from worldline.runs import RunFolder, findings, norm_sign, twin_words

__all__ = ["PAIRS", "TWINS", "Content", "Sample", "read_content"]

PAIRS = {
    "adversarial_clean": "adversarial – clean",
    "noise_clean": "noise – clean",
    "adversarial_true": "adversarial – true class",
    "adversarial_wrong": "adversarial – wrong class",
}
TWINS = {
    "noise_clean": "noise twin",
    "adversarial_clean": "adversarial twin",
    "clean_true": "mean of the true class",
    "clean_wrong": "mean of the wrong class",
}
PICTURE_BUDGET = 900_000  # characters of data URIs in one page
NUMBER_BUDGET = 60_000  # correlations in one page
GALLERY = 24
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One sample with its three twins, as the page shows it."""

    number: int
    label: str
    clean_prediction: str
    noise_prediction: str
    adversarial_prediction: str
    fooled: bool
    state: str
    swap: str
    near_twin: float | None
    near_wrong: float | None
    clean: str
    noise: str
    adversarial: str
    change: str


@dataclass(frozen=True)
class Content:
    """Everything on the page.

    ``worldlines``: twin → (samples, L) correlations with the clean sample; rows as ``samples``.
    """

    summary: dict[str, Any]
    attack: str
    norm: str
    findings: tuple[str, ...]
    samples: tuple[Sample, ...]
    gallery: tuple[Sample, ...]
    chosen: int
    worldlines: dict[str, list[list[float | None]]]
    magnification: float


def read_content(run: RunFolder) -> Content:
    """Read a finished run; RunError where something is missing."""
    summary = run.read_json("summary.json")
    table = run.read_table("samples.parquet").to_pydict()
    tensors = run.read_tensors("twins.safetensors")
    if tensors is None:
        raise RunError(f"{run.path} holds no readable twins.safetensors.")
    layers = len(summary["layers"])
    pairs = run.read_table("pairs.parquet")
    rapidity = {name: pairs[name].to_numpy().reshape(-1, layers) for name in (*PAIRS, *TWINS)}
    shown = _fitting(len(table["sample"]), layers, tensors["clean"][0].numel())
    low, high = summary["bounds"]
    largest = float((tensors["adversarial"] - tensors["clean"]).abs().max())
    rows = _first_fooled(table["fooled"], shown)
    samples = tuple(_sample(row, table, tensors, rapidity, summary, largest) for row in rows)
    fooled = [sample for sample in samples if sample.fooled]
    return Content(
        summary=summary,
        attack=twin_words(summary),
        norm=norm_sign(summary["norm"]),
        findings=findings(summary),
        samples=samples,
        gallery=tuple((fooled or list(samples))[:GALLERY]),
        chosen=_typical(rows, table),
        worldlines={name: _rounded(np.tanh(rapidity[name][rows])) for name in TWINS},
        magnification=(high - low) / max(largest, 1e-12),
    )


def _fitting(samples: int, layers: int, width: int) -> int:
    """How many samples the page can carry."""
    one_picture = 160 + min(width, 48 * 48 * 3)
    return max(1, min(samples, PICTURE_BUDGET // (4 * one_picture), NUMBER_BUDGET // (len(TWINS) * layers)))


def _first_fooled(fooled: list[bool], shown: int) -> list[int]:
    """All samples if they fit, else fooled ones before others; in their own order."""
    order = sorted(range(len(fooled)), key=lambda row: (not fooled[row], row))[:shown]
    return sorted(order)


def _sample(
    row: int,
    table: dict[str, list[Any]],
    tensors: dict[str, Any],
    rapidity: dict[str, Array],
    summary: dict[str, Any],
    largest: float,
) -> Sample:
    names = summary["class_names"]
    bounds = (summary["bounds"][0], summary["bounds"][1])

    def name(label: int) -> str:
        return str(names[label]) if names else str(label)

    label, clean = table["label"][row], table["clean_prediction"][row]
    adversarial = table["adversarial_prediction"][row]
    state = "misclassified by itself" if clean != label else "fooled" if table["fooled"][row] else "held"
    swap = table["swap_layer"][row]
    return Sample(
        number=row,
        label=name(label),
        clean_prediction=name(clean),
        noise_prediction=name(table["noise_prediction"][row]),
        adversarial_prediction=name(adversarial),
        fooled=bool(table["fooled"][row]),
        state=state,
        swap="never" if swap is None else summary["layers"][swap]["name"],
        near_twin=_number(rapidity["adversarial_clean"][row, -1]),
        near_wrong=_number(rapidity["adversarial_wrong"][row, -1]),
        clean=picture(tensors["clean"][row], bounds),
        noise=picture(tensors["noise"][row], bounds),
        adversarial=picture(tensors["adversarial"][row], bounds),
        change=change_picture(tensors["adversarial"][row] - tensors["clean"][row], largest),
    )


def _typical(rows: list[int], table: dict[str, list[Any]]) -> int:
    """Position of the fooled sample whose proper depth is nearest to the median; the first where none is fooled."""
    depth = np.array(table["proper_depth_adversarial_clean"], dtype=float)[rows]
    fooled = np.array(table["fooled"], dtype=bool)[rows]
    if not fooled.any():
        return 0
    distance = np.where(fooled, np.abs(depth - np.nanmedian(depth[fooled])), np.inf)
    return int(np.nanargmin(distance))


def _number(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None


def _rounded(table: Array) -> list[list[float | None]]:
    return [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in table]
