"""What an evaluation found, sample by sample, under its threat model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from worldline.attacks import Attack, NormName, adversarial_twin, choices, named_norm, predict
from worldline.attacks.norms import check_ball
from worldline.inputs import check_inputs, labels_of
from worldline.settings import Bounds, Settings
from worldline.trace import Model, check_twins

__all__ = ["Found", "Threat", "found_by", "whole_range"]


@dataclass(frozen=True)
class Threat:
    """What an attack may do: move each input by ε in a norm, inside the bounds."""

    epsilon: float
    norm: NormName
    bounds: Bounds

    def __post_init__(self) -> None:
        """Refuse what no attack can keep to."""
        check_ball(self.epsilon, self.norm, self.bounds)

    @property
    def sign(self) -> str:
        """Of the norm."""
        return named_norm(self.norm).sign

    @property
    def width(self) -> float:
        """Highest less lowest legal value."""
        return self.bounds[1] - self.bounds[0]

    def largest(self, clean: Tensor, twin: Tensor) -> float:
        """Largest change of a sample."""
        return float(named_norm(self.norm).size(twin - clean).max())


def whole_range(norm: NormName, bounds: Bounds, x: Tensor) -> float:
    """The radius from which the ball holds every legal input, wherever its center is."""
    width = bounds[1] - bounds[0]
    return width * math.sqrt(x[0].numel()) if norm == "l2" else width


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
    threat: Threat
    settings: Settings

    def __len__(self) -> int:
        return len(self.clean)

    def first(self, samples: int) -> Found:
        """The first samples alone."""
        names = ("clean", "adversarial", "y", "right", "noise_right", "still_right", "lead")
        return replace(self, **{name: getattr(self, name)[:samples] for name in names})

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
        batches = self.batches(self.clean[rows], self.y[rows])
        return torch.cat([adversarial_twin(attack, target, *batch) for batch in batches])

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
    threat: Threat,
    settings: Settings,
) -> Found:
    """Ask the model about all three twins of each sample, once what was given fits together."""
    check_inputs(clean, (-torch.inf, torch.inf))  # the check ball looks at the bounds
    check_twins(clean, noise=noise, adversarial=adversarial)
    y = labels_of(y, len(clean))
    twins = clean, noise, adversarial
    said = [predict(model, twin, batch_size=settings.batch_size) for twin in twins]
    y = labels_of(y, len(clean), classes=said[0].shape[1])
    nan = torch.stack([output.isnan().any(1) for output in said]).any(0)
    infinite = torch.stack([output.isinf().any(1) for output in said]).any(0) & ~nan
    keep = (~nan).nonzero().flatten() if bool(nan.any()) else slice(None)
    here = keep.to(clean.device) if isinstance(keep, Tensor) else keep
    right, noise_right, still_right = (choices(it[keep]) == y.cpu()[keep] for it in said)
    return Found(
        model=model,
        clean=clean[here],
        adversarial=adversarial[here],
        y=y[here],
        right=right,
        noise_right=noise_right,
        still_right=still_right,
        lead=(best := said[2][keep].topk(2, 1).values)[:, 0] - best[:, 1],
        undefined=int(nan.sum()),
        infinite=int(infinite.sum()),
        attack=attack,
        threat=threat,
        settings=settings,
    )
