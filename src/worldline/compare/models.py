"""Models that come one at a time, and what they answer: logits, probabilities or labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from worldline.errors import InputError, ModelError
from worldline.inputs import in_dtype_of
from worldline.trace import Model, logits_in, untouched

__all__ = [
    "Answers",
    "ClassCountError",
    "Failure",
    "Kind",
    "Loader",
    "Loss",
    "Models",
    "dropping_out",
    "opened",
]

Kind = Literal["logits", "probabilities", "labels"]


@dataclass(frozen=True)
class Loader:
    """A model that is made when its turn comes and dropped after, so that never two are in memory.

    Attributes:
        load: takes nothing, returns the model; called once for each pass over it.

    >>> import torch, worldline as wl
    >>> wl.compare.Loader(lambda: torch.nn.Linear(2, 2)).load()
    Linear(in_features=2, out_features=2, bias=True)
    """

    load: Callable[[], Model]


Loss = Callable[[Tensor, Tensor], Tensor]
"""(N, K) scores and (N,) labels → (N,)."""
Models = Mapping[str, Model | Loader]
"""Name → a live model, or a :class:`Loader` of one.

A model is anything that maps inputs (N, …) to (N, K) scores or (N,) labels.
"""


@dataclass(frozen=True)
class Failure:
    """A model that dropped out in the middle of a run: its name, and why in words."""

    model: str
    reason: str


class ClassCountError(ModelError):
    """Models with different numbers of classes: no one model's failure, so nothing goes on."""


class Answers:
    """One model's answers as centred logits (N, K), whatever it gives.

    The first batch decides what that is. Probabilities (no row negative, every row summing to one)
    become logarithms; labels become indicator rows. The model is in eval mode, without gradients,
    and left as it was; it is given the inputs in the dtype of its weights.
    """

    def __init__(
        self, name: str, model: Model, classes: int | None = None, kind: Kind | None = None
    ) -> None:
        self.name, self.model, self.classes, self.kind = name, model, classes, kind

    def __call__(self, x: Tensor, batch_size: int) -> Tensor:
        """Answers (N, K), class-centred, on the CPU in float32."""
        with untouched(self.model), torch.inference_mode():
            parts = [self._scores(in_dtype_of(self.model, it)).cpu() for it in x.split(batch_size)]
        return _centred(torch.cat(parts))

    def with_gradients(
        self, x: Tensor, labels: Tensor, heights: Sequence[Loss], batch_size: int
    ) -> tuple[Tensor, ...] | None:
        """Answers (N, K), and for each height the gradients (N, D) of it by the inputs.

        On the CPU in float32, from one forward pass and a backward one for each height. None where
        no gradient comes back or it is 0 everywhere; whether the model answers at all, a plain call
        says.
        """
        if isinstance(getattr(self.model, "no_gradient", None), str):
            return None
        parts = []
        with untouched(self.model), torch.enable_grad():
            for inputs, goal in zip(x.split(batch_size), labels.split(batch_size), strict=True):
                point = in_dtype_of(self.model, inputs).detach().clone().requires_grad_()
                try:
                    scores = self._scores(point)
                    slopes = [
                        torch.autograd.grad(
                            height(scores, goal.to(scores.device)).sum(),
                            point,
                            retain_graph=number < len(heights),
                        )[0]
                        for number, height in enumerate(heights, 1)
                    ]
                except (RuntimeError, ModelError):  # not differentiable, or no answer
                    return None
                flat = (it.flatten(1).float().cpu() for it in slopes)
                parts.append((scores.detach().cpu(), *flat))
        answers, *gradients = (torch.cat(it) for it in zip(*parts, strict=True))
        known = all(bool(it.isfinite().all() and it.any()) for it in gradients)
        return (_centred(answers), *gradients) if known else None

    def _scores(self, batch: Tensor) -> Tensor:
        """(N, K) in float32, logarithms of probabilities; with its graph, where one is kept."""
        output = self._run(batch)
        if output.ndim == 1 and not output.is_floating_point():
            return self._labels(output)
        shaped = output.ndim == 2 and len(output) == len(batch) and output.shape[1] >= 2
        if not shaped or not output.is_floating_point():
            raise ModelError(
                f"Model {self.name!r} must return scores (N, K) with K ≥ 2 classes, or integer "
                f"labels (N,); for {len(batch)} inputs it returned {tuple(output.shape)} "
                f"{output.dtype}."
            )
        undefined = int((~output.isfinite()).any(1).sum())
        if undefined:
            raise ModelError(
                f"Model {self.name!r} returned NaN or infinite scores for {undefined} of "
                f"{len(batch)} inputs; check its weights and inputs."
            )
        if self.classes is not None and output.shape[1] != self.classes:
            raise ClassCountError(
                f"Model {self.name!r} has {output.shape[1]} classes where the models before it "
                f"have {self.classes}; compare models of the same classes in the same order."
            )
        self.classes = output.shape[1]
        scores = output.float()
        self.kind = self.kind or ("probabilities" if _are_probabilities(scores) else "logits")
        return scores.clamp(min=1e-12).log() if self.kind == "probabilities" else scores

    def _run(self, batch: Tensor) -> Tensor:
        try:
            output: object = self.model(batch.clone())
        except InputError:
            raise
        except Exception as error:  # the user's code: anything can come
            raise ModelError(
                f"Model {self.name!r} refused inputs {tuple(batch.shape)} {batch.dtype}: "
                f"{type(error).__name__}: {error}. All models must take the same inputs; "
                "wrap one that needs another shape or scale."
            ) from error
        if isinstance(output, Tensor) and not output.is_floating_point():
            return output
        try:
            return logits_in(output, len(batch))
        except ModelError as error:
            raise ModelError(f"Model {self.name!r}: {error}") from None

    def _labels(self, output: Tensor) -> Tensor:
        labels = output.detach().cpu().long()
        low, high = int(labels.min()), int(labels.max())
        if self.classes is None or low < 0 or high >= self.classes:
            unknown = "unknown: put a model with scores first, or pass classes="
            raise ModelError(
                f"Model {self.name!r} returned labels {low}…{high}; "
                f"the number of classes is {self.classes or unknown}."
            )
        self.kind = "labels"
        return torch.nn.functional.one_hot(labels, self.classes).float()


@contextmanager
def opened(name: str, entry: Model | Loader) -> Iterator[Model]:
    """The model, made now if it is a loader's; nothing of ours holds it afterwards."""
    if not isinstance(entry, Loader):
        yield entry
        return
    try:
        model = entry.load()
    except InputError:
        raise
    except Exception as error:  # the user's code: anything can come
        raise ModelError(
            f"The loader of model {name!r} raised {type(error).__name__}: {error}."
        ) from error
    yield model


@contextmanager
def dropping_out(name: str, failures: dict[str, Failure]) -> Iterator[None]:
    """What goes wrong with this one model goes on record, and the others go on."""
    try:
        yield
    except ClassCountError:
        raise
    except InputError as error:
        failures[name] = Failure(name, str(error))


def _centred(scores: Tensor) -> Tensor:
    return scores - scores.mean(1, keepdim=True)


def _are_probabilities(scores: Tensor) -> bool:
    scores = scores.detach()
    return bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < 1e-3).all())
