"""Square Attack: random search without gradients, for models whose gradients may lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks.asking import choices
from worldline.attacks.norms import NormName, check_ball, named_norm
from worldline.attacks.record import Attacked, by_sample
from worldline.errors import UsageError
from worldline.inputs import check_inputs, labels_of, logits_of
from worldline.settings import Bounds
from worldline.trace import Model, untouched

__all__ = ["Square"]

HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 queries: after each the share of changed pixels is halved."""


@dataclass(frozen=True, kw_only=True)
class Square:
    """Square Attack (Andriushchenko et al. 2020), as ``attack(model, x, y)``: forward passes only.

    Random windows of the picture are set anew on the surface of the ball; a change is kept where it
    lowers the margin z_y − max_{i≠y} z_i. The windows shrink on the paper's schedule. Samples that
    are fooled are left alone from then on.

    Attributes:
        epsilon, norm, bounds, seed: as in :class:`PGD`; success is a lower bound on how often the
            model can be fooled.
        queries: forward passes of each sample at most.
        share: of the pixels in the first window, in (0, 1].

    Inputs (N, C, H, W) are pictures; others are taken as one row of pixels. We differ from the
    paper where all samples of a call share the places of the windows (as in its code), and for L2,
    where a window's bump is one peak with a random sign for each channel, and the norm that is free
    is spent on it.

    Errors: UsageError for impossible options; ShapeError, BoundsError, LabelError for x and y that
        do not fit.
    Cost: at most ``queries`` forward passes of what is not fooled yet. The model is left bit for
        bit as it was.
    Source: arXiv:1912.00049.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
    >>> wl.attacks.Square(epsilon=0.3, queries=50)(model, x, y).x
    tensor([[0.3000, 0.7000]])
    """

    epsilon: float
    norm: NormName = "linf"
    queries: int = 1000
    share: float = 0.8
    bounds: Bounds = (0.0, 1.0)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        check_ball(self.epsilon, self.norm, self.bounds)
        if self.queries < 1:
            raise UsageError(f"queries must be at least 1; got {self.queries}.")
        if not 0 < self.share <= 1:
            raise UsageError(f"share is a share of the pixels in (0, 1]; got {self.share}.")

    def __call__(self, model: Model, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> Attacked:
        """Attack each input; ``y`` are the labels."""
        check_inputs(x, self.bounds)
        y = labels_of(y, len(x))
        with untouched(model), torch.no_grad():
            return self._search(
                lambda point: logits_of(model, point.reshape(-1, *x.shape[1:])), _pictures(x), x, y
            )

    def with_epsilon(self, epsilon: float) -> Square:
        """The same attack in another ball."""
        return replace(self, epsilon=epsilon)

    def _search(
        self, ask: Callable[[Tensor], Tensor], clean: Tensor, x: Tensor, y: Tensor
    ) -> Attacked:
        generator = torch.Generator().manual_seed(self.seed)
        project = named_norm(self.norm).projector
        best = project(clean, self.epsilon, self.bounds)(clean + self._stripes(clean, generator))
        logits = ask(best)
        y = labels_of(y, len(y), classes=logits.shape[1])
        margin, said = _margin(logits, y), choices(logits)
        success = (said != y) & (said >= 0)
        first = torch.where(success, 0, -1)
        passes = 2
        for query in range(1, self.queries):
            held = (~success).nonzero().flatten()
            if len(held) == 0:
                break
            changed = self._change(
                clean[held], best[held], self._window(clean, query, generator), generator
            )
            changed = project(clean[held], self.epsilon, self.bounds)(changed)
            answer = ask(changed)
            now, named = _margin(answer, y[held]), choices(answer)
            hit = (named != y[held]) & (named >= 0)
            better = (now < margin[held]) | hit
            rows = held[better]
            best[rows], margin[rows], said[rows] = changed[better], now[better], named[better]
            success[held], first[held] = hit, torch.where(hit, query, first[held])
            passes += 1
        loss = torch.nn.functional.cross_entropy(ask(best), y, reduction="none")
        return Attacked(best.reshape(x.shape), success, said, loss, first, passes)

    def _window(self, clean: Tensor, query: int, generator: torch.Generator) -> tuple[slice, slice]:
        """Where the next change is: a square of the scheduled share of the picture, if it fits."""
        height, width = clean.shape[2:]
        done = 10_000 * query / self.queries
        pixels = self.share * 0.5 ** sum(done > at for at in HALVINGS) * height * width
        tall = min(height, max(1, round(math.sqrt(pixels))))
        wide = min(width, max(1, round(pixels / tall)))
        top, left = (
            int(torch.randint(free + 1, (1,), generator=generator))
            for free in (height - tall, width - wide)
        )
        return slice(top, top + tall), slice(left, left + wide)

    def _stripes(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """The start: vertical stripes on the surface of the ball."""
        samples, channels, height, width = clean.shape
        signs = _signs((samples, channels, 1, width), generator, clean).expand(-1, -1, height, -1)
        return signs * (self.epsilon / float(named_norm(self.norm).size(signs[:1])))

    def _change(
        self, clean: Tensor, best: Tensor, window: tuple[slice, slice], generator: torch.Generator
    ) -> Tensor:
        down, across = window
        delta = best - clean
        samples, channels = clean.shape[:2]
        signs = _signs((samples, channels, 1, 1), generator, clean)
        if self.norm == "linf":
            delta[:, :, down, across] = self.epsilon * signs
            return clean + delta
        inside = delta[:, :, down, across]
        bump = (
            signs * _peak(inside)
            + inside / inside.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
        )
        free = (self.epsilon**2 - delta.flatten(1).square().sum(1)).clamp_min(0)
        budget = (free + inside.flatten(1).square().sum(1)).sqrt()
        delta[:, :, down, across] = bump * by_sample(
            budget / bump.flatten(1).norm(dim=1).clamp_min(1e-12), bump
        )
        size = delta.flatten(1).norm(dim=1).clamp_min(1e-12)
        return clean + delta * by_sample(self.epsilon / size, delta)


def _pictures(x: Tensor) -> Tensor:
    return x.detach().clone() if x.ndim == 4 else x.detach().reshape(len(x), 1, 1, -1).clone()


def _signs(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator).to(like) * 2 - 1


def _peak(window: Tensor) -> Tensor:
    """A unit bump on the window, falling with the squared distance from its middle."""
    down, across = (
        torch.arange(size, device=window.device) - (size - 1) / 2 for size in window.shape[2:]
    )
    peak = (1 / (1 + torch.maximum(down.abs()[:, None], across.abs()[None])) ** 2).to(window.dtype)
    unit: Tensor = peak / (peak.norm() * math.sqrt(window.shape[1]))
    return unit


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    """(N,) z_y − the largest other logit; at 0 the first of both classes is named. ∞ for NaN."""
    true = logits.gather(1, y[:, None])[:, 0]
    others = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    return torch.nan_to_num(true - others, nan=torch.inf)
