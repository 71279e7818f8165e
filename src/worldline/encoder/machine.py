"""The encoder: fitted to one feature, applied to any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.checking import came, check_count, check_finite
from worldline.encoder.fitted import FittedEncoder
from worldline.encoder.layer import draw_rows_literally
from worldline.encoder.path import Path, split_length
from worldline.encoder.seeds import make_generator, spawn_generator
from worldline.encoder.selection import Rule, Selection
from worldline.errors import BoundsError, ShapeError, UsageError

__all__ = ["Encoder"]

Sampler = Literal["exact", "literal"]


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """The paper's selecting encoder: L layers, each of the k of n random neurons that read x best.

    One step: draw n random neurons, keep the k whose readings of x the rule prefers, replace x by
    those readings. The same weights, chosen by looking at x alone, are applied to every other
    feature. No labels, no gradient.

    Args:
        width: k ≥ 1.
        candidates: n ≥ k, up to 2⁵³; the cost does not depend on it.
        depth: L ≥ 1.
        rule: ``largest``, ``most_negative`` or ``none``, as in :class:`Selection`.
        normalise: whether features come as unit vectors. Directions are the same either way.
        sampler: ``exact`` draws the kept rows alone; ``literal`` draws all n (slow, the oracle).
        memory: bytes of weights (or of literal candidates) that may be held. Beyond it the exact
            sampler draws its weights again from their seed each time they are needed.

    Raises:
        UsageError: n < k, k < 1, depth < 1, an unknown rule or sampler.

    Source: arXiv:2309.15669; the exact sampler and its laws are ours.

    >>> import torch, worldline as wl
    >>> from worldline.encoder import Encoder
    >>> x, other = torch.tensor([1.0, 0.0]), torch.tensor([[0.1, 1.0]])  # 84 degrees apart
    >>> fitted = Encoder(candidates=100, width=2, depth=8).fit(x, seed=1)
    >>> angle = wl.angle(fitted.path.features(8)[None], fitted.transform(other).features(8))
    >>> bool(torch.minimum(angle, torch.pi - angle) < 1e-3)  # parallel or anti-parallel
    True
    """

    width: int
    candidates: int
    depth: int
    rule: Rule = "largest"
    normalise: bool = True
    sampler: Sampler = "exact"
    memory: int = 2**30

    def __post_init__(self) -> None:
        check_count("depth (number of layers)", self.depth)
        check_count("memory (bytes)", self.memory)
        if self.sampler not in get_args(Sampler):
            raise UsageError(
                f"sampler must be one of {', '.join(get_args(Sampler))}; got {self.sampler!r}."
            )
        self.selection  # noqa: B018  checks width, candidates and rule

    @property
    def selection(self) -> Selection:
        """The selection of every layer, to be given to the laws."""
        return Selection(candidates=self.candidates, width=self.width, rule=self.rule)

    def fit(
        self, x: Float[Tensor, "*P D"], *, seed: int = 0, generator: torch.Generator | None = None
    ) -> FittedEncoder:
        """Draw the layers for one feature, or independent ones for each of P features at once.

        Args:
            x: (D,), or (P, D): P features with an encoder each. float32 or float64, finite, not
                zero.
            seed: of the weights.
            generator: instead of a seed; one number is drawn from it. The global random state is
                never used.

        Returns:
            A :class:`FittedEncoder`.

        Raises:
            ShapeError: not a floating (D,) or (P, D) with D ≥ 1.
            BoundsError: a zero feature, which has no direction, or NaN or an infinity.
            UsageError: literal candidates that exceed ``memory``.

        Cost: O(P L k) for the path of x; the weights, O(P k D) numbers per layer, are drawn when
        first needed.
        """
        single = _check_feature(x)
        features = x[None] if single else x
        device = features.device
        child = spawn_generator(generator, device) if generator else make_generator(seed, device)
        if self.sampler == "literal":
            readings, weights = self._fit_literally(features, child)
        else:
            drawn = self.selection.draw(self.depth * len(features), generator=child)
            readings = drawn.view(self.depth, len(features), self.width)
            weights = None
        return FittedEncoder(
            self.selection,
            path=_walk(features, readings, self.normalise),
            readings=readings,
            generator=child,
            weights=weights,
            memory=self.memory,
            single=single,
        )

    def _fit_literally(
        self, features: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, list[Tensor]]:
        """Readings and weights, layer by layer, all candidates drawn."""
        widest = max(features.shape[-1], self.width)
        drawn = len(features) * max(self.candidates, self.width * self.depth)
        needed = drawn * widest * features.element_size()
        if needed > self.memory:
            raise UsageError(
                f"sampler='literal' with {self.candidates} candidates, depth {self.depth} and "
                f"inputs up to {widest} wide needs {needed:,} bytes; memory allows "
                f"{self.memory:,}. Use sampler='exact', which has the same distribution, or pass a "
                "larger memory=."
            )
        direction, readings, weights = split_length(features)[0], [], []
        for _ in range(self.depth):
            y, rows = draw_rows_literally(direction, self.selection, generator=generator)
            readings.append(y.double())
            weights.append(rows)
            direction = split_length(y)[0]
        return torch.stack(readings), weights


def _walk(features: Tensor, readings: Tensor, normalise: bool) -> Path:
    """Path of the fitted features: each direction is its readings, normalised."""
    start, log_norm = split_length(features)
    directions, growth = split_length(readings)  # (L, P, k), (L, P)
    log_norms = torch.cat((log_norm[None], growth)).cumsum(0)
    layers = tuple(range(len(log_norms)))
    return Path(layers, (start, *directions.to(features.dtype)), log_norms, normalise)


def _check_feature(x: Tensor) -> bool:
    """Whether x is one feature (D,) and not (P, D); refuse what has no direction."""
    floating = isinstance(x, Tensor) and x.dtype in (torch.float32, torch.float64)
    if not floating or x.ndim not in (1, 2) or x.numel() == 0:
        raise ShapeError(
            "A feature must be a float32 or float64 tensor (D,), or (P, D) for P encoders, with D "
            f"≥ 1; got {came(x)}."
        )
    check_finite("the fitted feature", x)
    zero = (x == 0).all(-1)
    if bool(zero.any()):
        which = "It" if x.ndim == 1 else f"Row {int(zero.nonzero()[0])}"
        raise BoundsError(
            f"{which} is a zero feature: it has no direction to fit an encoder to. Leave it out."
        )
    return x.ndim == 1
