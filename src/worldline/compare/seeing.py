"""What each model shows of itself: gradients where it gives them, answers to small changes else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from worldline.compare.checks import check_constant, check_label_order, check_left
from worldline.compare.models import Answers, Failure, Kind, Models, dropping_out, opened
from worldline.compare.probes import Probes, evenly
from worldline.compare.shifts import Threat, against, margin, probed_length, step
from worldline.settings import Settings
from worldline.trace import Model

__all__ = ["Seeing", "Sight", "View"]

Sight = Literal["white", "black"]
FAINT = 1e-5
"""Share of the largest entry of a gradient under which one is rounding, and has no sign."""


@dataclass(frozen=True)
class View:
    """One model at n samples.

    Attributes:
        kind: what it answers.
        margins: (n,) m.
        chosen: (n,) the class that it gives.
        ascent: (n, D) ∇L, where an attack on it goes, in bfloat16, which keeps every sign; None of
            a black box.
        slope: (n, D) −∇m, in bfloat16; with ``ascent``.
        displacement: (n, P, K) half the difference of its answers to x ± δ; None where no black box
            asks for it.
        length: |∇L|* as probes see it; with ``displacement``.
        stepped: (W, n) margins after the steps of the W models with gradients; of a black box.
    """

    kind: Kind
    margins: Tensor
    chosen: Tensor
    ascent: Tensor | None = None
    slope: Tensor | None = None
    displacement: Tensor | None = None
    length: float | None = None
    stepped: Tensor | None = None

    @property
    def sight(self) -> Sight:
        """How it is seen."""
        return "black" if self.ascent is None else "white"


@dataclass
class Seeing:
    """Models looked at in turn, and what is known of them so far."""

    models: Models
    x: Tensor
    settings: Settings
    classes: int | None
    kinds: dict[str, Kind] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    def consensus(self, scouts: int) -> Tensor:
        """(n,) the likeliest class by the mean of a few models, evenly spaced."""
        every = list(self.models)
        places = evenly(len(every), scouts).unique().tolist()
        seen: dict[str, Tensor] = {}
        for number, place in enumerate(places):
            with dropping_out(every[place], self.failures):
                seen[every[place]] = self._answer(every[place])
            self.settings.progress("Scouting", number + 1, len(places))
        if not seen:
            check_left(0, self.failures)
        chosen = {name: scores.argmax(1) for name, scores in seen.items()}
        check_label_order(chosen, None, self.classes or 2)
        return torch.stack([scores.softmax(1) for scores in seen.values()]).mean(0).argmax(1)

    def look(self, labels: Tensor, gradients: bool) -> dict[str, View]:
        """Every model's view, with its gradient if it gives one and is asked for it."""
        views: dict[str, View] = {}
        for number, name in enumerate(self.models):
            if name not in self.failures:
                with dropping_out(name, self.failures):
                    views[name] = self._view(name, labels, gradients)
            self.settings.progress("Looking at models", number + 1, len(self.models))
        check_left(len(views), self.failures)
        return views

    def probe(
        self, views: Mapping[str, View], labels: Tensor, probes: Probes, threat: Threat
    ) -> dict[str, View]:
        """What the probes show of every model, and of black boxes the others' steps."""
        sources = [it.ascent for it in views.values() if it.ascent is not None]
        probed: dict[str, View] = {}
        for number, (name, view) in enumerate(views.items()):
            with dropping_out(name, self.failures):
                steps = sources if view.ascent is None else ()
                probed[name] = self._probed(name, view, labels, probes, threat, steps)
            self.settings.progress("Probing", number + 1, len(views))
        check_left(len(probed), self.failures)
        return probed

    def _view(self, name: str, labels: Tensor, gradients: bool) -> View:
        size = self.settings.batch_size
        with opened(name, self.models[name]) as model:
            answers = self._asking(name, model)
            heights = (against, lead)
            found = answers.with_gradients(self.x, labels, heights, size) if gradients else None
            scores = self._noted(answers, answers(self.x, size) if found is None else found[0])
        ascent, slope = (None, None) if found is None else map(_kept, found[1:])
        return View(
            kind=answers.kind or "logits",
            margins=margin(scores, labels),
            chosen=scores.argmax(1),
            ascent=ascent,
            slope=slope,
        )

    def _probed(
        self,
        name: str,
        view: View,
        labels: Tensor,
        probes: Probes,
        threat: Threat,
        steps: Sequence[Tensor],
    ) -> View:
        flat, size = self.x.flatten(1), self.settings.batch_size
        stepped = []
        with opened(name, self.models[name]) as model:
            answers = self._asking(name, model)
            pairs = answers(probes.x, size).view(len(labels), probes.pairs, 2, -1)
            for ascent in steps:
                there = flat + step(ascent.to(flat), flat, threat)
                stepped.append(margin(answers(there.view_as(self.x), size), labels))
        return replace(
            view,
            displacement=(pairs[:, :, 0] - pairs[:, :, 1]) / 2,
            length=probed_length(pairs, labels, probes.size, flat.shape[1], threat.norm),
            stepped=torch.stack(stepped) if stepped else None,
        )

    def _asking(self, name: str, model: Model) -> Answers:
        return Answers(name, model, self.classes, self.kinds.get(name))

    def _answer(self, name: str) -> Tensor:
        with opened(name, self.models[name]) as model:
            answers = self._asking(name, model)
            scores = answers(self.x, self.settings.batch_size)
        return self._noted(answers, scores)

    def _noted(self, answers: Answers, scores: Tensor) -> Tensor:
        check_constant(answers.name, scores)
        self.classes = answers.classes
        if answers.kind is not None:
            self.kinds[answers.name] = answers.kind
        return scores


def lead(logits: Tensor, labels: Tensor) -> Tensor:
    """−m, what the strongest rival has more."""
    return -margin(logits, labels)


def _kept(gradient: Tensor) -> Tensor:
    """In bfloat16, without what is rounding."""
    faint = gradient.abs() < FAINT * gradient.abs().amax(1, keepdim=True)
    return gradient.masked_fill(faint, 0.0).bfloat16()
