"""Which models share blind spots, from forward passes alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.attacks import named_norm
from worldline.compare.checks import check_constant, check_given, check_label_order, check_left
from worldline.compare.models import Answers, Failure, Kind, Models, dropping_out, opened
from worldline.compare.probes import Probes, choose_samples, drawn_counts, make_probes
from worldline.compare.responses import Response, margin, predicted_flips, respond, similarity
from worldline.errors import UsageError
from worldline.notebook import as_html
from worldline.settings import DEFAULT, NormName, Settings

__all__ = ["Predicted", "predict"]

SHRINK = 0.5
"""How much of the probes' linear answer a full attack gets; chosen on development models."""


@dataclass(frozen=True)
class Predicted:
    """Predicted transfer between M models; rows are sources, columns are targets.

    Attributes:
        names: the models that answered.
        score: (M, M) predicted share of boundary samples that the target loses to the source's
            attack, over what it loses unmoved. Higher: more transfer. Only its order is meant: it
                is not calibrated to a rate.
        interval: (M, M, 2) 95 % percentile bootstrap interval of the score over the probed samples.
        similarity: (M, M) displacement entanglement, the mean cosine of the two models'
            displacements: symmetric, 1 on the diagonal, 0 for unrelated models. ``diverse`` and
            ``cluster`` use it.
        similarity_interval: (M, M, 2) of the similarity.
        kinds: what each model answers: logits, probabilities or labels.
        rows: (n,) the probed samples.
        failures: models that dropped out, and why.
        notes: in words, what was done to answers that are not logits.
    """

    names: tuple[str, ...]
    score: Tensor
    interval: Tensor
    similarity: Tensor
    similarity_interval: Tensor
    kinds: tuple[Kind, ...]
    rows: Tensor
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        """A short table for notebooks."""
        sentence = (
            "Predicted transfer: sources down, targets across. "
            "Compare within a column; it is no rate."
        )
        rows = [(name, *row) for name, row in zip(self.names, self.score.tolist(), strict=True)]
        return as_html(sentence, ("source", *self.names), rows)


def predict(
    models: Models,
    x: Float[Tensor, "N ..."],
    *,
    epsilon: float = 0.1,
    norm: NormName = "linf",
    samples: int = 12,
    probes: int = 64,
    size: float | None = None,
    share: float = 0.4,
    scouts: int = 5,
    classes: int | None = None,
    resamples: int = 200,
    settings: Settings = DEFAULT,
) -> Predicted:
    """Predict how attacks carry over from model to model, without attacks, gradients or labels.

    A few *scouts* say which samples lie near the boundary that they share. Every model answers the
    same random displacements of these samples. From its answers follow where an attack on it would
    go and, for every other model, what that model answers there (:mod:`worldline.compare.responses`
    has the formulas).

    Args:
        models: name → anything from inputs (N, …) to logits, probabilities or integer labels, or a
            :class:`Loader` of it. A loader is called once, a scout's twice; the model is dropped
            before the next one comes.
        x: (N, …) inputs inside the bounds, at least 30, like those that will be attacked.
        epsilon, norm: the threat model, in the units of the inputs. L∞ attacks move every entry, L2
            attacks follow the gradient: the best source for one is not the best for the other.
        samples, probes: n probed samples and P displacements of each; n·P passes a model. More
            samples are worth more than more probes, once P is near 64. 12 × 64 is 70 to 100 times
            cheaper than PGD-20 at 48 models; 100 × 64 is about 13 times cheaper and near the best
            that this score can do (docs/benchmarks.md).
        size: how far a probe moves each entry; default a fifth of the width of the bounds: larger
            than an infinitesimal one, as attacks are.
        share: the samples come from this share with the smallest gap between the scouts' two
            likeliest classes.
        scouts: how many models, evenly spaced, look at all of x first.
        classes: number of classes, needed where every model answers with labels only.
        resamples: of the intervals.
        settings: bounds, in which the probes stay; batch size; seed of intervals and probes;
            progress.

    Returns:
        :class:`Predicted`. Hard labels are used as indicator rows, a weaker variant: a probe says
        something only where it changes a label. A model that fails is named in ``failures`` and
        left out.

    Raises:
        UsageError, ShapeError, BoundsError: options or inputs that cannot be used.
        ModelError: different numbers of classes, or fewer than two models left.
        LabelError: a scout's classes are in another order than the first one's.

    Cost: n(P + 1) forward passes of one input for each model and N for each scout; memory one model
    and, for each, n·P·K numbers; then O(M² n P K) for all pairs.

    Sources: docs/theory.md; Wiedeman and Wang, arXiv:2108.12492, correlate features instead;
    gradients from probes as in Ilyas et al., arXiv:1804.08598.

    >>> import torch, worldline as wl
    >>> _ = torch.manual_seed(0)
    >>> a, b = torch.nn.Linear(8, 3), torch.nn.Linear(8, 3)
    >>> found = wl.compare.predict({"a": a, "again": a, "b": b}, torch.rand(40, 8), resamples=20)
    >>> bool(found.score[1, 0] > found.score[2, 0]), round(float(found.similarity[0, 1]), 4)
    (True, 1.0)
    """
    check_given(models, x, settings)
    named_norm(norm)
    _check_options(epsilon, samples, probes, share, scouts, resamples)
    low, high = bounds = settings.bounds
    size = size if size is not None else 0.2 * (high - low)
    run = _Run(models, x, settings, classes)
    probabilities = run.scout(scouts)
    rows, labels = choose_samples(probabilities, samples, share)
    shown = make_probes(
        x, labels, rows, probes=probes, size=size, bounds=bounds, seed=settings.seed
    )
    responses = run.probe(shown, norm)
    reach = SHRINK * epsilon / size
    names = tuple(responses)
    held = list(responses.values())
    responses.clear()
    score, spread, alike, alike_spread = _reduce(held, labels, reach, resamples, settings.seed)
    return Predicted(
        names=names,
        score=score,
        interval=spread,
        similarity=alike,
        similarity_interval=alike_spread,
        kinds=tuple(run.kinds[name] for name in names),
        rows=rows,
        failures=tuple(run.failures.values()),
        notes=run.notes(names),
    )


class _Run:
    """What is known of the models so far."""

    def __init__(self, models: Models, x: Tensor, settings: Settings, classes: int | None) -> None:
        self.models, self.x, self.settings, self.classes = models, x, settings, classes
        self.kinds: dict[str, Kind] = {}
        self.failures: dict[str, Failure] = {}

    def ask(self, name: str, x: Tensor) -> Tensor | None:
        """A model's centred logits (N, K); None, and a failure on record, if it cannot answer."""
        with dropping_out(name, self.failures):
            with opened(name, self.models[name]) as model:
                answers = Answers(name, model, self.classes, self.kinds.get(name))
                scores = answers(x, self.settings.batch_size)
            check_constant(name, scores)
            self.classes = answers.classes
            if answers.kind is not None:
                self.kinds[name] = answers.kind
            return scores
        return None

    def scout(self, count: int) -> Tensor:
        """Mean class probabilities (N, K) of a few models on all samples."""
        every = list(self.models)
        spaced = torch.linspace(0, len(every) - 1, min(count, len(every)))
        places = spaced.round().long().unique().tolist()
        seen: dict[str, Tensor] = {}
        for number, place in enumerate(places):
            scores = self.ask(every[place], self.x)
            if scores is not None:
                seen[every[place]] = scores
            self.settings.progress("Scouting", number + 1, len(places))
        if not seen:
            check_left(0, self.failures)
        classes = {name: scores.argmax(1) for name, scores in seen.items()}
        check_label_order(classes, None, self.classes or 2)
        return torch.stack([scores.softmax(1) for scores in seen.values()]).mean(0)

    def probe(self, shown: Probes, norm: NormName) -> dict[str, Response]:
        """Every model's response; models come one at a time."""
        clean = self.x[shown.rows.to(self.x.device)]
        every = torch.cat([clean, shown.x])
        responses: dict[str, Response] = {}
        for number, name in enumerate(self.models):
            scores = self.ask(name, every) if name not in self.failures else None
            if scores is not None:
                responses[name] = respond(scores[: len(clean)], scores[len(clean) :], shown, norm)
            self.settings.progress("Probing", number + 1, len(self.models))
        check_left(len(responses), self.failures)
        return responses

    def notes(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """What was done to answers that are not logits, in words."""
        words = {
            "probabilities": "return probabilities; their logarithms stand for the logits",
            "labels": "return labels only; a probe says something only where it changes one "
            "(a weaker variant)",
        }
        of = {kind: [name for name in names if self.kinds[name] == kind] for kind in words}
        return tuple(f"{', '.join(of[kind])}: {words[kind]}." for kind in words if of[kind])


def _reduce(
    responses: list[Response], labels: Tensor, reach: float, resamples: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Score and similarity, each with its interval.

    The list is emptied, so that nothing is in memory twice.
    """
    logits = torch.stack([it.logits for it in responses])
    coefficients = torch.stack([it.coefficient for it in responses])
    density = torch.tensor([it.density for it in responses]).clamp(min=1e-6)
    margins = torch.tensor([it.margin for it in responses])
    displacements = torch.stack([it.displacement for it in responses])
    responses.clear()
    counts = drawn_counts(len(labels), resamples, seed)
    weights = torch.cat([torch.ones(1, len(labels)), counts]) / len(labels)  # first, equal ones
    every = similarity(displacements, weights)
    alike, alike_spread = every[0].double(), _percentiles(every[1:])
    del every
    flips = predicted_flips(
        logits,
        displacements,
        coefficients,
        labels,
        reach=reach,
        alignment=alike.float() * density[:, None] / density[None, :],
        margins=margins,
        weights=weights,
    )
    unmoved = margin(logits.transpose(0, 1), labels).T.contiguous()  # (M, n)
    still = torch.sigmoid(unmoved / margins[:, None])
    flips -= (weights @ still.T)[:, None, :]
    return flips[0].double(), _percentiles(flips[1:]), alike, alike_spread


def _percentiles(values: Tensor) -> Tensor:
    """(R, M, M), which is sorted in place, → (M, M, 2): 2.5 % and 97.5 %."""
    values.numpy().sort(axis=0)
    last = len(values) - 1
    return torch.stack([values[round(0.025 * last)], values[round(0.975 * last)]], -1).double()


def _check_options(
    epsilon: float, samples: int, probes: int, share: float, scouts: int, resamples: int
) -> None:
    if not 0 < epsilon < float("inf"):
        raise UsageError(
            f"epsilon must be a positive number in the units of the inputs; got {epsilon}."
        )
    if min(samples, scouts, resamples) < 1 or probes < 2:
        raise UsageError(
            "samples, scouts and resamples must be at least 1 and probes at least 2; got "
            f"{samples}, {scouts}, {resamples} and {probes}."
        )
    if not 0 < share <= 1:
        raise UsageError(f"share must be in (0, 1]; got {share}.")
