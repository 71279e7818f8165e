"""What an evaluation found, sample by sample, under its threat model (a ``Budget``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from worldline.attacks import Attack, Budget, adversarial_twin, choices, predict
from worldline.attacks.budget import at_rows
from worldline.errors import ShapeError
from worldline.inputs import check_inputs, labels_of
from worldline.settings import Settings
from worldline.trace import Answers, Model, check_twins

__all__ = ["Found", "found_by"]


@dataclass(frozen=True)
class Found:
    """The twins of all samples whose three outputs name a class, and what they are taken for.

    Attributes:
        clean, adversarial: (N, …).
        y: (N,) labels, on the device of the inputs.
        right, noise_right, still_right: (N,) on the CPU, whether input, noise twin and adversarial
            twin are classified rightly.
        lead: (N,) by how much the adversarial twin's highest logit leads, on the CPU.
        undefined: samples that were left out, as an output holds NaN.
        infinite: samples with an infinite output, NaN aside.
    """

    model: Model
    clean: Tensor
    adversarial: Tensor
    y: Tensor
    right: Tensor
    noise_right: Tensor
    still_right: Tensor
    lead: Tensor
    undefined: int
    infinite: int
    attack: Attack
    threat: Budget
    settings: Settings

    def __len__(self) -> int:
        return len(self.clean)

    def first(self, samples: int) -> Found:
        """The first samples alone."""
        names = ("clean", "adversarial", "y", "right", "noise_right", "still_right", "lead")
        first = {name: getattr(self, name)[:samples] for name in names}
        rows = torch.arange(len(first["clean"]), device=self.clean.device)
        attack = at_rows(self.attack, self.clean, rows)
        threat = self.threat.on(self.clean).at(rows)
        return replace(self, attack=attack, threat=threat, **first)

    @property
    def fooled(self) -> Tensor:
        """(N,) whether the attack fools the sample, which is right without it."""
        return self.right & ~self.still_right

    @cached_property
    def left(self) -> Tensor:
        """Rows that are right, attacked or not."""
        return (self.right & self.still_right).nonzero().flatten().to(self.clean.device)

    def batches(self, *tensors: Tensor) -> zip[tuple[Tensor, ...]]:
        """Tensors of one length, in batches."""
        return zip(*(part.split(self.settings.batch_size) for part in tensors), strict=True)

    def attacked(self, attack: Attack, rows: Tensor, *, model: Model | None = None) -> Tensor:
        """Twins of these rows by another attack, or of another model."""
        target = self.model if model is None else model
        parts = (
            adversarial_twin(at_rows(attack, self.clean, some), target, self.clean[some], y)
            for some, y in self.batches(rows, self.y[rows])
        )
        return torch.cat([*parts])

    def fools(self, rows: Tensor, twins: Tensor) -> Tensor:
        """Which twins of these rows are misclassified, on the CPU; an output of NaN is not."""
        said = choices(predict(self.model, twins, batch_size=self.settings.batch_size))
        return (said != self.y[rows].cpu()) & (said >= 0)

    def points(self, samples: int) -> float:
        """As percentage points of accuracy."""
        return 100 * samples / len(self.clean)


def found_by(
    attack: Attack,
    model: Model,
    clean: Tensor,
    noise: Tensor,
    adversarial: Tensor,
    y: Tensor,
    *,
    threat: Budget,
    answers: Sequence[Answers] | None,
    settings: Settings,
) -> Found:
    """What the model says of all three twins of each sample, once what was given fits together.

    It is asked, unless the three ``answers`` are here already.
    """
    check_inputs(clean, (-torch.inf, torch.inf))  # the check ball looks at the bounds
    check_twins(clean, noise=noise, adversarial=adversarial)
    y = labels_of(y, len(clean))
    twins = clean, noise, adversarial
    said = answers or [
        Answers.of(predict(model, twin, batch_size=settings.batch_size)) for twin in twins
    ]
    if [len(it.choices) for it in said] != [len(clean)] * len(twins):
        raise ShapeError(
            f"answers must be what the model says of the {len(clean)} inputs, of their noise twins "
            f"and of their adversarial twins; got answers of {[len(it.choices) for it in said]}."
        )
    y = labels_of(y, len(clean), classes=said[0].classes)
    nan = torch.stack([it.choices < 0 for it in said]).any(0)
    infinite = torch.stack([it.infinite for it in said]).any(0) & ~nan
    keep = (~nan).nonzero().flatten() if bool(nan.any()) else slice(None)
    here = keep.to(clean.device) if isinstance(keep, Tensor) else keep
    if isinstance(here, Tensor):
        attack, threat = at_rows(attack, clean, here), threat.on(clean).at(here)
    right, noise_right, still_right = (it.choices[keep] == y.cpu()[keep] for it in said)
    return Found(
        model=model,
        clean=clean[here],
        adversarial=adversarial[here],
        y=y[here],
        right=right,
        noise_right=noise_right,
        still_right=still_right,
        lead=said[2].lead[keep],
        undefined=int(nan.sum()),
        infinite=int(infinite.sum()),
        attack=attack,
        threat=threat,
        settings=settings,
    )
