"""Which models share blind spots, without attacking any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks import named_norm
from worldline.compare.checks import check_given, check_label_order
from worldline.compare.models import Failure, Kind, Models
from worldline.compare.probes import evenly, make_probes
from worldline.compare.seeing import Seeing, Sight, View
from worldline.compare.shifts import Threat, cosines, dual_length, losses, white_shifts
from worldline.errors import UsageError
from worldline.inputs import labels_of
from worldline.notebook import as_html
from worldline.settings import DEFAULT, NormName, Settings

__all__ = ["Predicted", "predict"]

Way = Literal["white", "grey", "black"]
"""How a pair is seen: both models' gradients, the source's alone, not the source's."""


@dataclass(frozen=True)
class Link:
    """From shifts to rates.

    Attributes:
        factor: κ, see :mod:`worldline.compare.shifts`.
        spread: β.
        chances: ν.
        doubt: standard deviation of measured less expected rates, in logits.
    """

    factor: float
    spread: float
    chances: float
    doubt: float


LINKS: dict[Way, Link] = {
    "white": Link(0.97, 0.14, 1.26, 0.32),
    "grey": Link(1.28, 0.09, 0.65, 0.3),
    "black": Link(2.4, 0.52, 0.74, 0.5),
}
"""Fitted to rates measured on the development half of one world (Fashion-MNIST; least squares of
their square roots), and judged on the other halves (docs/benchmarks.md)."""
PULL = 0.01
"""Shares are pulled in by this much before their logit is taken: rates near 0 are not far apart."""
Z = 1.96
ANSWERED = "As targets they answered to the others' steps. "
FAINT = (
    "Of them as sources nothing is known but how alike models answer small changes, and that says "
    "less than gradients do."
)
KINDS = {
    "probabilities": "return probabilities; their logarithms stand for the logits",
    "labels": "return labels only; a change says something only where it changes one "
    "(a weaker variant)",
}


@dataclass(frozen=True)
class Predicted:
    """Expected transfer between M models; rows are sources, columns are targets.

    Attributes:
        names: the models that answered.
        rate: (M, M) expected share of the samples that the target has right and loses to the
            source's attack, beyond noise of the same size. 0: nothing carries over; 1: everything.
            Too low where more than a third does (docs/theory.md). NaN for a target that has nothing
            right.
            The diagonal is what one straight step does to the model itself: less than many steps
            find.
        interval: (M, M, 2) 95 % interval of the rate: of the mean over samples, widened by how far
            measured rates were from expected ones where this was calibrated.
        similarity: (M, M) mean cosine of the two models' input gradients where all give them, of
            their answers' displacements else (displacement entanglement): symmetric, 1 on the
            diagonal, 0 for unrelated models. ``cluster`` uses it.
        similarity_interval: (M, M, 2) 95 % interval of the mean over samples.
        sights: how each model is seen: ``white`` (it gives gradients) or ``black``.
        kinds: what each model answers: logits, probabilities or labels.
        rows: (n,) the samples that were looked at.
        failures: models that dropped out, and why.
        notes: in words, what could not be seen and what stood for it.
    """

    names: tuple[str, ...]
    rate: Tensor
    interval: Tensor
    similarity: Tensor
    similarity_interval: Tensor
    sights: tuple[Sight, ...]
    kinds: tuple[Kind, ...]
    rows: Tensor
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        """A short table for notebooks."""
        sentence = "Expected transfer rates: sources down, targets across."
        rows = [(name, *row) for name, row in zip(self.names, self.rate.tolist(), strict=True)]
        return as_html(sentence, ("source", *self.names), rows)


def predict(
    models: Models,
    x: Float[Tensor, "N ..."],
    y: Int[Tensor, " N"] | None = None,
    *,
    epsilon: float = 0.1,
    norm: NormName = "linf",
    samples: int = 200,
    gradients: bool = True,
    probes: int = 4,
    size: float | None = None,
    scouts: int = 5,
    classes: int | None = None,
    settings: Settings = DEFAULT,
) -> Predicted:
    """Predict how attacks carry over from model to model, without attacking any.

    Each model shows what it can: its input gradient (*white*), or its answers to small changes
    (*black*). The step that an attack on the source would take is laid on the target's gradient; a
    black target answers to that step itself; of a black source nothing but how alike both answer is
    known. :mod:`worldline.compare.shifts` has the formulas.

    Args:
        models: name → anything from inputs (N, …) to logits, probabilities or integer labels, or a
            :class:`Loader` of it. A loader is called once, a scout's once more, and all once more
            where one is a black box; the model is dropped before the next one comes.
        x: (N, …) inputs inside the bounds, at least 30, like those that will be attacked.
        y: (N,) labels; without them what a few models, the *scouts*, agree on stands for them.
        epsilon, norm: the threat model, in the units of the inputs.
        samples: how many of the inputs are looked at, evenly spaced. With 100 in place of 200 the
            order of sources is about .02 worse (Spearman), with 50 .04.
        gradients: whether gradients are used; if not, all models are black boxes.
        probes, size: where a model is a black box, P displacements of each sample, in opposite
            pairs, by ± size in each entry; default a twentieth of the width of the bounds.
        scouts: how many models, evenly spaced, stand for the labels.
        classes: number of classes, needed where every model answers with labels only.
        settings: bounds, in which steps and displacements stay; batch size; seed; progress.

    Returns:
        :class:`Predicted`. Hard labels are used as indicator rows, a weaker variant: a change says
        something only where it changes a label. A model that fails is named in ``failures`` and
        left out.

    Raises:
        UsageError, ShapeError, BoundsError: options or inputs that cannot be used.
        ModelError: different numbers of classes, or fewer than two models left.
        LabelError: labels that do not fit, or classes in another order than theirs.

    Cost: for each model n forward passes of one input and 2n backward ones; memory one model and
        4nD bytes for each. Then O(M² n D) for all pairs. With a black box nP forward passes more
        for each model, and for each black box n for each model with gradients.

    Sources: docs/theory.md; Demontis et al., arXiv:1809.02861, compare gradients by their cosine.

    >>> import torch, worldline as wl
    >>> _ = torch.manual_seed(0)
    >>> a, b = torch.nn.Linear(8, 3), torch.nn.Linear(8, 3)
    >>> found = wl.compare.predict({"a": a, "again": a, "b": b}, torch.rand(40, 8))
    >>> bool(found.rate[1, 0] > found.rate[2, 0]), round(float(found.similarity[0, 1]), 4)
    (True, 1.0)
    """
    check_given(models, x, settings)
    named_norm(norm)
    _check_options(epsilon, samples, probes, scouts)
    low, high = bounds = settings.bounds
    threat = Threat(epsilon, norm, bounds)
    size = size if size is not None else 0.05 * (high - low)
    rows = evenly(len(x), samples)
    chosen = x[rows.to(x.device)]
    seeing = Seeing(models, chosen, settings, classes)
    labels = seeing.consensus(scouts) if y is None else labels_of(y, len(x)).cpu()[rows]
    views = seeing.look(labels, gradients)
    if y is not None:
        labels_of(labels, len(labels), classes=seeing.classes)
        found = {name: it.chosen for name, it in views.items()}
        check_label_order(found, labels, seeing.classes or 2)
    if any(it.sight == "black" for it in views.values()):
        shown = make_probes(chosen, pairs=probes // 2, size=size, bounds=bounds, seed=settings.seed)
        views = seeing.probe(views, labels, shown, threat)
    names, held = tuple(views), list(views.values())
    flat = chosen.flatten(1).float().cpu()
    shifts, ways = _shifts(held, flat, threat)
    rate, interval = _rates(held, labels, shifts, ways)
    similarity, similarity_interval = _similarities(held)
    return Predicted(
        names=names,
        rate=rate,
        interval=interval,
        similarity=similarity,
        similarity_interval=similarity_interval,
        sights=tuple(it.sight for it in held),
        kinds=tuple(it.kind for it in held),
        rows=rows,
        failures=tuple(seeing.failures.values()),
        notes=_notes(names, held, gradients),
    )


def _shifts(views: list[View], x: Tensor, threat: Threat) -> tuple[Tensor, list[list[Way]]]:
    """(M, M, n) by how much each margin is moved, and how each pair is seen."""
    count = len(views)
    every = range(count)
    white = [place for place in every if views[place].ascent is not None]
    shifts = torch.empty(count, count, len(x))
    ways: list[list[Way]] = [["black"] * count for _ in every]
    if white:
        rows = torch.tensor(white)
        ascents = [it.ascent for it in views if it.ascent is not None]
        slopes = [it.slope for it in views if it.slope is not None]
        shifts[rows[:, None], rows] = white_shifts(ascents, slopes, x, threat)
    if len(white) < count:
        alike = _answers_alike(views)[0]
    for target, view in enumerate(views):
        length = _length(view, threat.norm)
        for source in every:
            if source not in white:
                shifts[source, target] = float(alike[source, target]) * threat.epsilon * length
            elif view.stepped is not None:
                shifts[source, target] = view.margins - view.stepped[white.index(source)]
                ways[source][target] = "grey"
            else:
                ways[source][target] = "white"
    return shifts, ways


def _length(view: View, norm: NormName) -> Tensor:
    """(n,) or () how much the best step of length 1 would move a margin."""
    if view.slope is not None:
        return dual_length(view.slope.float(), norm)
    return torch.tensor(view.length or 0.0)


def _rates(
    views: list[View], labels: Tensor, shifts: Tensor, ways: list[list[Way]]
) -> tuple[Tensor, Tensor]:
    """Means over what each target has right, with their intervals; NaN where that is nothing."""
    factor, spread, chances, doubt = (
        torch.tensor([[getattr(LINKS[way], it) for way in row] for row in ways])
        for it in ("factor", "spread", "chances", "doubt")
    )
    mean, error = torch.full((2, len(views), len(views)), torch.nan, dtype=torch.float64)
    for target, view in enumerate(views):
        right = view.chosen == labels
        if right.any():
            ours = factor[:, target, None], spread[:, target, None]
            lost = losses(shifts[:, target], view.margins, *ours)[:, right].double()
            mean[:, target] = lost.mean(1)
            error[:, target] = lost.std(1, correction=0) / lost.shape[1] ** 0.5
    rate, error = 1 - (1 - mean) ** chances, chances * error
    place = _logit(rate)
    slope = 1 / (rate.clamp(min=0) + PULL) + 1 / (1 - rate + PULL)
    away = Z * ((slope * error).square() + doubt.double().square()).sqrt()
    low, high = _share(place - away), _share(place + away)
    return rate, torch.stack([torch.minimum(low, rate), high], -1)


def _logit(share: Tensor) -> Tensor:
    return ((share.clamp(min=0) + PULL) / (1 - share + PULL)).log()


def _share(logit: Tensor) -> Tensor:
    return ((1 + 2 * PULL) * logit.sigmoid() - PULL).clamp(0, 1)


def _similarities(views: list[View]) -> tuple[Tensor, Tensor]:
    """Mean cosines, (M, M), and their intervals."""
    ascents = [it.ascent[:, None] for it in views if it.ascent is not None]
    value, error = cosines(ascents) if len(ascents) == len(views) else _answers_alike(views)
    ends = torch.stack([value - Z * error, value + Z * error], -1)
    return value, ends.clamp(-1, 1)


def _answers_alike(views: list[View]) -> tuple[Tensor, Tensor]:
    """Mean cosines of the answers to the probes, and their errors."""
    return cosines([it.displacement for it in views if it.displacement is not None])


def _notes(names: tuple[str, ...], views: list[View], gradients: bool) -> tuple[str, ...]:
    """What could not be seen, in words."""

    def those(wanted: list[bool]) -> str:
        return ", ".join(name for name, it in zip(names, wanted, strict=True) if it)

    notes = []
    dark = those([it.sight == "black" for it in views])
    if dark and gradients:
        answered = "" if dark == those([True] * len(views)) else ANSWERED
        notes.append(f"{dark}: no gradient comes back. {answered}{FAINT}")
    for kind, words in KINDS.items():
        if of := those([it.kind == kind for it in views]):
            notes.append(f"{of}: {words}.")
    return tuple(notes)


def _check_options(epsilon: float, samples: int, probes: int, scouts: int) -> None:
    if not 0 < epsilon < float("inf"):
        raise UsageError(
            f"epsilon must be a positive number in the units of the inputs; got {epsilon}."
        )
    if min(samples, scouts) < 1 or probes < 2:
        raise UsageError(
            "samples and scouts must be at least 1 and probes at least 2; got "
            f"{samples}, {scouts} and {probes}."
        )
