"""AutoAttack by its authors' package, made a quiet guest."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldline.attacks.norms import NormName, named_norm
from worldline.errors import ModelError, ShapeError, UsageError
from worldline.inputs import check_inputs, labels_of, logits_of
from worldline.settings import Bounds
from worldline.trace import Model, untouched

__all__ = ["AutoAttack"]


@dataclass(frozen=True, kw_only=True)
class AutoAttack:
    """AutoAttack (Croce and Hein 2020) by the package ``pyautoattack``: ``attack(model, x, y)``.

    Attributes:
        epsilon, norm, bounds, seed: as in :class:`PGD`. The package knows the unit range only;
            other bounds are mapped to it.
        version: ``standard`` (APGD-CE, targeted APGD-DLR, targeted FAB, Square), ``plus``, or
            ``rand`` for models that are random at test time. With fewer than 4 classes the attacks
            that need more are left out.
        batch_size: inputs in one pass.

    Returns, when called, (N, …) adversarial inputs; samples that no attack fooled come back as they
    were.

    Errors: ModelError if the package is missing, or fails; ShapeError for inputs that are no
        pictures (N, C, H, W); UsageError for an unknown version.
    Cost: thousands of passes of the samples that hold. What the package prints, logs, seeds and
        traces is kept from the rest of the program; the model is left as it was. Inputs are made
        float32 by it.

    >>> import worldline as wl
    >>> wl.attacks.AutoAttack(epsilon=8 / 255).version
    'standard'
    """

    epsilon: float
    norm: NormName = "linf"
    version: Literal["standard", "plus", "rand"] = "standard"
    bounds: Bounds = (0.0, 1.0)
    seed: int = 0
    batch_size: int = 256

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        named_norm(self.norm)
        if not self.epsilon > 0:
            raise UsageError(f"epsilon must be positive; got {self.epsilon}.")
        if self.version not in ("standard", "plus", "rand"):
            raise UsageError(f"version must be standard, plus or rand; got {self.version!r}.")

    def __call__(self, model: Model, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> Tensor:
        """Attack each input; ``y`` are the labels."""
        package = _package()
        check_inputs(x, self.bounds)
        y = labels_of(y, len(x))
        if x.ndim != 4:
            raise ShapeError(
                f"AutoAttack's package takes pictures (N, C, H, W); got {tuple(x.shape)}."
            )
        low, high = self.bounds
        with untouched(model), torch.no_grad(), _quietly():
            classes = logits_of(model, x[:2]).shape[1]
            y = labels_of(y, len(y), classes=classes)
            unit = _FromUnit(model, low, high, x.dtype)
            whole = classes >= 4
            judge = package.AutoAttack(
                unit,
                eps=self.epsilon / (high - low),
                norm={"linf": "Linf", "l2": "L2"}[self.norm],
                seed=self.seed,
                device=x.device,
                version=self.version if whole else "custom",
                attacks=None if whole else ["apgd-ce", "fab", "square"],
            )
            for part in (judge.apgd_targeted, judge.fab):
                part.n_target_classes = min(part.n_target_classes, classes - 1)
            start = ((x - low) / (high - low)).clamp(0, 1).float()
            found, _ = judge.run_standard_evaluation(start, y, batch_size=self.batch_size)
        moved = (found - start).flatten(1).ne(0).any(1)
        twin = (found * (high - low) + low).to(x.dtype).clamp(low, high)
        return torch.where(moved.reshape(-1, 1, 1, 1), twin, x)


class _FromUnit(nn.Module):
    """The model on inputs in [0, 1]. Its output is copied, as the package writes into it."""

    def __init__(self, model: Model, low: float, high: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.call = (model,)  # in a tuple, so that the model is no submodule and keeps its mode
        self.low, self.high, self.dtype = low, high, dtype

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        inputs = (x * (self.high - self.low) + self.low).to(self.dtype)
        return logits_of(self.call[0], inputs).float().clone()


def _package() -> Any:
    try:
        return import_module("pyautoattack")
    except ImportError as error:
        raise ModelError(
            "AutoAttack needs the package pyautoattack, which is not installed: pip install "
            "'worldline[autoattack]'."
        ) from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """No printing, no logging, and the debugger's trace function as it was."""
    logger, traced = logging.getLogger("auto-attack"), sys.gettrace()
    disabled, logger.disabled = logger.disabled, True
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.disabled = disabled
        sys.settrace(traced)
