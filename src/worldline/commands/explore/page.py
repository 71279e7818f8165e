"""The page of an exploration; other runs join it as further models or as sections."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from markupsafe import Markup
from torch import Tensor

from worldline.commands.base import Result
from worldline.commands.carriers.page import carriers_markup
from worldline.commands.complexity.page import model_markup
from worldline.commands.doctor.page import curve_lines
from worldline.commands.explore.explored import SHOWN, TWINS, Bands, Explored, read_explored
from worldline.commands.explore.record import CARRIERS, Exploration
from worldline.commands.explore.record import TWINS as INPUTS
from worldline.commands.explore.side import Explorer, side_by_side
from worldline.commands.explore.views import at_layer, views_of
from worldline.commands.explore.views.shared import Row, row_of
from worldline.commands.explore.views.turn import drawn_boosts, drawn_sides, tipping_merit
from worldline.commands.explore.words import attack_words, words
from worldline.plot.names import tidy_name
from worldline.report.figures import Lines
from worldline.report.guide import guide
from worldline.report.images import change_sheet, picture_array, sheet
from worldline.report.numbers import NONE, interval, share
from worldline.report.page import Attached, render_page
from worldline.report.views import View
from worldline.settings import Bounds
from worldline.statistics import Share
from worldline.trace import Comparison

__all__ = ["page"]

SCRIPTS = tuple(
    f"explore/{name}"
    for name in ("choice", "samples", "layers", "pictures", "worldlines", "map", "classes", "page")
)
SECTIONS = (
    "trust",
    "carriers",
    "layers",
    "turn",
    "sample",
    "map",
    "classes",
    "flow",
    "gallery",
    "curve",
)
PICTURE_BUDGET = 4_500_000  # bytes of pixels, the four pictures of a sample together
NUMBER_BUDGET = 900_000  # numbers by sample and layer in one page, two bytes each
CARRIED: tuple[Comparison, ...] = (
    "adversarial_clean",
    "noise_clean",
    "clean_true",
    "clean_wrong",
    "adversarial_true",
    "adversarial_wrong",
)
STEPS_PER_NAT = 2000  # rapidities go in steps of 0.0005 nats up to ±16.3
INFINITE, UNDEFINED, LARGEST = 32767, -32768, 32_700
Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Packed:
    """Numbers by sample and layer as little-endian 16-bit steps, ``steps`` in one unit."""

    steps: int
    content: str


@dataclass(frozen=True)
class Curves:
    """Median and quartiles by layer, as the script draws them."""

    median: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True)
class Sheets:
    """Four sheets of the same samples; ``places``: their positions in the page's samples."""

    width: int
    height: int
    columns: int
    places: tuple[int, ...]
    sheets: dict[str, str]


@dataclass(frozen=True)
class FlowBar:
    """A flow from class to class; ``by``: how many are lost for good by each layer."""

    source: str
    target: str
    count: int
    by: tuple[int, ...]
    samples: tuple[int, ...]


@dataclass(frozen=True)
class Carried:
    """The samples that the page carries, by position."""

    number: tuple[int, ...]
    state: tuple[int, ...]
    lost: tuple[int, ...]
    label: tuple[int, ...]
    clean: tuple[int, ...]
    noise: tuple[int, ...]
    adversarial: tuple[int, ...]


@dataclass(frozen=True)
class Drawn:
    """One model, as the script reads it."""

    name: str
    headline: str
    attack: str
    findings: tuple[str, ...]
    merits: tuple[tuple[str, str, str], ...]
    views: dict[str, View]
    told: tuple[str, ...]
    layers: tuple[str, ...]
    layer: int
    bands: dict[str, Curves]
    untrained: dict[str, Curves] | None
    shares: dict[str, tuple[Row, ...]]
    boosts: tuple[Row, ...]
    names: tuple[str, ...]
    classes: tuple[dict[str, int | Row], ...]
    flows: tuple[FlowBar, ...]
    curve: Lines
    total: int
    chosen: int
    samples: Carried
    phi: dict[str, Packed]
    proper: dict[str, Packed]
    pictures: Sheets


@dataclass(frozen=True)
class Pages:
    """What the script reads."""

    models: tuple[Drawn, ...]


def page(results: Sequence[Result[Exploration]], attached: Sequence[Attached]) -> str:
    """The page of one model or several, with sections of other runs below; pictures are inside."""
    names = _names(results)
    explored = [read_explored(result) for result in results]
    said = [views_of(result, data) for result, data in zip(results, explored, strict=True)]
    models = [
        _drawn(result, data, views, name, len(results))
        for result, data, views, name in zip(results, explored, said, names, strict=True)
    ]
    side = side_by_side(
        [
            Explorer(model.name, result.record, data, model.views["driver"].title)
            for model, result, data in zip(models, results, explored, strict=True)
        ]
    )
    record = results[0].record
    return render_page(
        "explore/page.html.j2",
        versions=record.versions,
        scripts=SCRIPTS,
        data=Pages(tuple(models)),
        record=record,
        first=models[0],
        models=models,
        side=side,
        attached=attached,
        carriers=[
            (place, _carriers(it, prefix=f"carriers{place}-"), it.record.carriers_status)
            for place, it in enumerate(results)
        ],
        complexities=[
            (place, model_markup(measured, prefix=f"complexity{place}-", guide=True))
            for place, it in enumerate(results)
            if (measured := it.record.complexity) is not None
        ],
        sections=SECTIONS,
        warned=any(check.status == "warned" for check in record.checks),
        guide=guide(),
    )


def _carriers(result: Result[Exploration], *, prefix: str) -> Markup | None:
    """What carries the attack on one model; None where it was not found."""
    record = result.record
    if record.carriers is None:
        return None
    tensors = result.folder.read_tensors(CARRIERS)
    names = record.class_names
    return carriers_markup(
        record.carriers, tensors, record.bounds, names, prefix=prefix, brief=True, guide=True
    )


def _names(results: Sequence[Result[Exploration]]) -> list[str]:
    """Of the models; equal ones are told apart by their folders."""
    named = [result.record.model for result in results]
    return [
        tidy_name(name if named.count(name) == 1 else f"{name} ({result.folder.path.name})")
        for name, result in zip(named, results, strict=True)
    ]


def _drawn(
    result: Result[Exploration], data: Explored, views: dict[str, View], name: str, models: int
) -> Drawn:
    """A model with as much of its samples as its part of the page's budget holds."""
    record, layers = result.record, data.layer_names
    each = (len(CARRIED) + len(TWINS)) * len(layers)
    rows = _first_fooled(data.fooled, max(1, NUMBER_BUDGET // models // each))
    labels = sorted(data.names)
    code = {label: place for place, label in enumerate(labels)}
    swap, said = record.swap_layer, words(record)

    def coded(values: Whole) -> tuple[int, ...]:
        return tuple(code[label] for label in values[rows].tolist())

    return Drawn(
        name=name,
        headline=said.headline,
        attack=attack_words(record),
        findings=said.findings,
        merits=_merits(record, data),
        views=views,
        told=tuple(at_layer(layer) for layer in record.layers),
        layers=layers,
        layer=swap.index if swap else len(layers) - 1,
        bands={pair: _curves(data.bands(pair)) for pair in SHOWN},
        untrained={pair: _curves(data.bands(pair, untrained=True)) for pair in SHOWN}
        if data.untrained
        else None,
        shares=drawn_sides(record),
        boosts=drawn_boosts(record),
        names=tuple(data.names[label] for label in labels),
        classes=tuple(
            {"class": code[row.label], **{twin: row_of(it) for twin, it in row.right.items()}}
            for row in data.classes
        ),
        flows=tuple(
            FlowBar(it.source, it.target, it.count, it.by_layer, it.samples[:50])
            for it in data.flows
        ),
        curve=curve_lines(record.curve),
        total=record.samples,
        chosen=int(np.searchsorted(rows, data.typical(rows))),
        samples=Carried(
            number=tuple(data.samples[rows].tolist()),
            state=tuple(data.states[rows].tolist()),
            lost=tuple(data.wrong_side_from[rows].tolist()),
            label=coded(data.labels),
            clean=coded(data.said["clean"]),
            noise=coded(data.said["noise"]),
            adversarial=coded(data.said["adversarial"]),
        ),
        phi={pair: _packed(data.rapidity[pair][rows], STEPS_PER_NAT) for pair in CARRIED},
        proper={
            twin: _packed(data.proper[twin][rows], min(STEPS_PER_NAT, LARGEST // len(layers)))
            for twin in TWINS
        },
        pictures=_sheets(
            data, rows, result.folder.read_tensors(INPUTS), record.bounds, PICTURE_BUDGET // models
        ),
    )


def _first_fooled(fooled: npt.NDArray[np.bool_], shown: int) -> Whole:
    """All samples if they fit, else fooled ones before others; in their own order."""
    return np.sort(np.argsort(~fooled, kind="stable")[:shown])


def _merits(record: Exploration, data: Explored) -> tuple[tuple[str, str, str], ...]:
    """Accuracies with their intervals, the tipping layer, and how much was checked."""
    twins = {"clean": "clean accuracy", "noise": "under noise", "adversarial": "under attack"}
    found = [(name, *_merit(data.right(twin))) for twin, name in twins.items()]
    found.append(tipping_merit(record))
    warned = sum(check.status == "warned" for check in record.checks)
    told = "look here first" if warned else "none"
    return (*found, ("checks that warn", f"{warned} of {len(record.checks)}", told))


def _merit(part: Share) -> tuple[str, str]:
    value = NONE if part.value is None else share(part.value, 1)
    return value, interval(part.interval, share)


def _curves(bands: Bands) -> Curves:
    return Curves(*(_values(row) for row in (bands.median, bands.low, bands.high)))


def _values(row: Array) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else round(value, 5) for value in row.tolist())


def _packed(numbers: Array, steps: int) -> Packed:
    """Sample by sample; ±∞ and what is undefined have codes of their own."""
    found = np.where(np.isfinite(numbers), numbers, 0.0) * steps
    found = np.clip(np.rint(found), -LARGEST, LARGEST)
    found = np.where(np.isinf(numbers), np.sign(numbers) * INFINITE, found)
    found = np.where(np.isnan(numbers), UNDEFINED, found)
    return Packed(steps, base64.b64encode(found.astype("<i2").tobytes()).decode())


def _sheets(
    data: Explored, rows: Whole, inputs: dict[str, Tensor], bounds: Bounds, budget: int
) -> Sheets:
    """As many samples as fit, fooled ones first."""
    height, width, *channels = picture_array(inputs["clean"][0]).shape
    most = max(1, budget // (4 * height * width * max([1, *channels])))
    places = _first_fooled(data.fooled[rows], most)
    columns = math.ceil(math.sqrt(len(places)))
    own = torch.from_numpy(rows[places])
    change = inputs["adversarial"][own] - inputs["clean"][own]
    largest = float((inputs["adversarial"] - inputs["clean"]).abs().max())
    twins = ("clean", "noise", "adversarial")
    sheets = {twin: sheet(inputs[twin][own], bounds, columns) for twin in twins}
    sheets["change"] = change_sheet(change, largest, columns)
    return Sheets(width, height, columns, tuple(places.tolist()), sheets)
