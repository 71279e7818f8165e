"""Messages whose carriers and receivers are no Gaussian noise: pictures, uniform noise, digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.encoder.experiments.carrying import Grey, HeldTable, OnePicture, check_picture
from worldline.encoder.experiments.digits import check_digits
from worldline.encoder.experiments.record import Floats, Outcome
from worldline.encoder.experiments.walks import Trial, Walk
from worldline.errors import BoundsError, ShapeError, UsageError

__all__ = ["Digit", "Pictures", "Uniform"]

BRIGHTEST = 255.0
SIDE = 28  # pixels a side at which digits are drawn, as in the sets that are usual


@dataclass(frozen=True, kw_only=True)
class Receivers(Grey):
    """A grey message whose readers begin at different distances from the sender."""

    apart = True

    def _layers(self, walk: Walk) -> tuple[int, ...]:
        """Four layers up to the last that is resolved."""
        return tuple(sorted({max(1, round(walk.resolved * part / 4)) for part in range(1, 5)}))


@dataclass(frozen=True, kw_only=True)
class Holder(Receivers):
    """A receiver whose feature is a picture of as many pixels as the message."""

    table = HeldTable
    shown = (
        "Above: the message, what is sent, what the receiver holds, and what three readers make of "
        "it. Below: rapidity of the codewords by layer."
    )

    def __post_init__(self) -> None:
        """Refuse a width of features that no picture has."""
        super().__post_init__()
        if self.dimension:
            raise UsageError(
                f"{self.name} has no --dimension: it is the number of pixels; got {self.dimension}."
            )

    def _shown(self, receiver: Tensor) -> tuple[Floats, ...]:
        """What the receiver holds."""
        return ((receiver / receiver.max()).numpy(),)


@dataclass(frozen=True, kw_only=True)
class Pictures(Holder):
    """Real pictures: one is the message on noise, another the receiver's feature.

    Published: grey 50×50, k = 2500, n = k + 1000, 100 steps, α = 100.

    >>> import torch
    >>> from worldline.encoder.experiments import Pictures
    >>> message, own = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> Pictures(candidates=400, depth=40).run(message, own).finding.agrees
    True
    """

    name = "pictures"
    title = "A real picture as the receiver"
    claim = (
        "A worst-case adversarial example, noise to a human eye, becomes a recognisable and robust "
        "picture, for a receiver whose own feature is another real picture."
    )
    holds = (
        "The receiver holds a picture that has nothing to do with the sender's noise, and reads "
        "the message all the same: only the angle between the two counts, not what a picture shows."
    )
    needs = "two pictures"
    quick: ClassVar = {"depth": 25}

    def run(self, picture: Float[Tensor, "H W"], receiver: Float[Tensor, "H W"]) -> Outcome:
        """Carry a picture on noise to a receiver who holds another.

        Args:
            picture: (H, W) floating, in [0, 1], at most 256 pixels a side: the message.
            receiver: (H, W), the feature that the receiver encodes.

        Raises:
            ShapeError: not two grey pictures of one size. BoundsError: values outside [0, 1], or a
                black receiver, which has no direction.
        """
        message, own = check_picture(picture), check_picture(receiver)
        if message.shape != own.shape:
            raise ShapeError(
                "The message and the receiver's picture must have one size, a neuron for each "
                f"pixel; got {tuple(message.shape)} and {tuple(own.shape)}. Make one of them as "
                "large as the other."
            )
        if not bool(own.any()):
            raise BoundsError("The receiver's picture is black: it has no direction. Use another.")
        return self._carry(message, own.flatten())

    def _features(self, trial: Trial, encoders: int, *given: Tensor) -> Tensor:
        """The sender's noise, the picture, the eavesdropper's noise."""
        features = trial.normals(encoders, 3)
        features[:, 1] = given[0]
        return features


@dataclass(frozen=True, kw_only=True)
class Uniform(Receivers, OnePicture):
    """A message on uniform noise U(0, 255): published n = 5·10⁵, L = 1 … 12, α = 10⁵.

    >>> import torch
    >>> from worldline.encoder.experiments import Uniform
    >>> picture = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    >>> [it.unit for it in Uniform(depth=4).run(picture).finding.measurements]
    ['nats', 'nats', 'nats', 'nats', '']
    """

    name = "uniform"
    title = "A message on uniform noise"
    claim = (
        "With more layers a message on uniform noise appears, step by step, to a receiver who "
        "holds other noise."
    )
    holds = (
        "The receiver holds other noise; as all of it is positive, the two begin at ρ = ¾ and not "
        "at 0 (a mean of ½ and a mean square of ⅓), and the message appears some four layers "
        "sooner than between unrelated features."
    )
    listens = "the vector (1, …, 1), which begins nearer to the sender than the receiver does,"
    quick: ClassVar = {"candidates": 50_000}

    candidates: int = 500_000
    depth: int = 12
    strength: float = 1e5

    def _features(self, trial: Trial, encoders: int, *given: Tensor) -> Tensor:
        """Uniform noise of sender and receiver, and a constant for the eavesdropper: ρ = √¾."""
        shape = (encoders, 3, trial.inputs)
        noise = BRIGHTEST * torch.rand(shape, dtype=torch.float64, generator=trial.generator)
        noise[:, 2] = BRIGHTEST
        return noise


@dataclass(frozen=True, kw_only=True)
class Digit(Holder):
    """A digit carried on a digit to a receiver who holds another: published n = 5,000, α = 10⁴.

    >>> import torch
    >>> from worldline.encoder.experiments import Digit
    >>> x = torch.rand(40, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> Digit(depth=2).run(x, torch.arange(40) % 4).table.row.shape  # 28×28 pixels
    (784,)
    """

    name = "digit"
    title = "Another digit as the receiver"
    claim = "A digit is recovered from another digit, of another class, by way of the encoder."
    holds = (
        "The receiver holds a digit of another class and reads the sender's message: digits begin "
        "near each other, since their pixels are positive, and the class plays no part."
    )
    listens = "the mean of all digits"
    needs = "digits"
    quick: ClassVar = {"depth": 15}

    candidates: int = 5000
    depth: int = 16
    strength: float = 1e4

    def run(self, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"], *_: Tensor) -> Outcome:
        """Carry the first digit on others, each to the next of another class.

        Args:
            x, y: (N, H, W) or (N, 1, H, W) in [0, 1] with labels.

        Raises:
            ShapeError, BoundsError: pictures that do not fit, or of one class alone.
        """
        check_digits(x, y)
        size = (SIDE, SIDE)
        squares = x.view(len(x), 1, *x.shape[-2:]).double()
        drawn = torch.nn.functional.interpolate(squares, size, mode="bilinear")[:, 0]
        senders, receivers = _partners(y)
        return self._carry(
            check_picture(drawn[0]), *(drawn[rows].flatten(1) for rows in (senders, receivers))
        )

    def _features(self, trial: Trial, encoders: int, *given: Tensor) -> Tensor:
        """A digit, one of another class, and the mean of all for the eavesdropper."""
        rows = torch.arange(encoders) % len(given[0])
        middle = given[0].mean(0).expand(encoders, -1)
        return torch.stack((*(it[rows] for it in given), middle), 1)


def _partners(y: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of digits, without the first, and of the next of another class for each."""
    rows = torch.arange(1, len(y))
    following = rows.roll(-1)
    other = y[rows] != y[following]
    if not bool(other.any()):
        raise ShapeError("All digits are of one class: there is no other one to receive.")
    return rows[other], following[other]
