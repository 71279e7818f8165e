"""What a module returned: its tensors, which of them are one row a sample, and a model's logits."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from worldline.errors import ModelError, UsageError
from worldline.settings import Tokens

__all__ = [
    "Answers",
    "at_least_float32",
    "batch_dimension",
    "check_tokens",
    "choices",
    "logits_in",
    "shape_of",
    "tensors_in",
    "with_tensors",
]


def check_tokens(tokens: str) -> None:
    """Refuse a reduction that does not exist, with a UsageError that names those that do.

    Of a value (N, T, D) of T tokens, ``flatten`` takes all T·D features in one, ``cls`` the first
    token, ``mean`` the mean, ``token`` each token by itself.

    >>> from worldline.trace import check_tokens
    >>> check_tokens("mean")
    """
    if tokens not in get_args(Tokens):
        raise UsageError(
            f"Unknown reduction of tokens {tokens!r}; choose one of {', '.join(get_args(Tokens))}."
        )


def tensors_in(output: object, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a tensor, tuple, list, mapping or dataclass, and where it stands in it.

    >>> import torch
    >>> from worldline.trace.values import tensors_in
    >>> [path for path, _ in tensors_in({"a": torch.ones(1), "b": (3, torch.ones(2))})]
    ["['a']", "['b'][1]"]
    """
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, Mapping):
        for name, part in output.items():
            yield from tensors_in(part, f"{path}[{name!r}]")
    elif isinstance(output, (tuple, list)):
        for index, part in enumerate(output):
            yield from tensors_in(part, f"{path}[{index}]")
    elif hasattr(output, "__dataclass_fields__"):
        for name in output.__dataclass_fields__:
            yield from tensors_in(getattr(output, name), f"{path}.{name}")


def with_tensors(output: object, instead: Iterator[Tensor]) -> object:
    """The same structure with the next of ``instead`` for every tensor of :func:`tensors_in`.

    >>> import torch
    >>> from worldline.trace.values import with_tensors
    >>> with_tensors({"a": torch.ones(1), "b": (3, "x")}, iter([torch.zeros(1)]))
    {'a': tensor([0.]), 'b': (3, 'x')}
    """
    made: Any
    if isinstance(output, Tensor):
        return next(instead)
    if isinstance(output, Mapping):
        made = copy.copy(output)
        for name, part in output.items():
            made[name] = with_tensors(part, instead)
        return made
    if isinstance(output, (tuple, list)):
        parts: list[Any] = [with_tensors(part, instead) for part in output]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    if hasattr(output, "__dataclass_fields__"):
        made = copy.copy(output)
        for name in output.__dataclass_fields__:
            object.__setattr__(made, name, with_tensors(getattr(output, name), instead))
        return made
    return output


def shape_of(value: object) -> str:
    """Shape and dtype of a tensor, else the type: what came, in an error."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    return type(value).__name__


def at_least_float32(features: Tensor) -> Tensor:
    """Half precision made single; others as they are."""
    return features.float() if features.dtype in (torch.float16, torch.bfloat16) else features


def batch_dimension(
    value: Tensor, other: torch.Size | None, samples: tuple[int, int]
) -> int | None:
    """The one dimension that followed the number of samples from one pass to another.

    Args:
        value: of a pass of ``samples[0]`` inputs.
        other: the shape of the same value in a pass of ``samples[1]`` inputs.
        samples: two different numbers.

    Returns:
        The dimension; None where another one changed too, or where nothing has a direction
        (integers, zero width).
    """
    comparable = value.is_floating_point() or value.is_complex()
    if (
        not comparable
        or value.layout != torch.strided
        or value.is_nested
        or other is None
        or len(other) != value.ndim
    ):
        return None
    changed = [axis for axis in range(value.ndim) if value.shape[axis] != other[axis]]
    follows = len(changed) == 1 and (value.shape[changed[0]], other[changed[0]]) == samples
    return changed[0] if follows and value.numel() else None


def logits_in(output: object, samples: int) -> Tensor:
    """The logits (N, K) in what a classifier returned.

    The rule: a tensor is them; else ``.logits`` or ``["logits"]``; else the only floating tensor
    (N, K ≥ 2) in the tuple, list, mapping or dataclass. A tensor (N, 1) or (N,) is one logit z of a
    binary model, the log-odds of class 1: it becomes (−z/2, z/2), whose softmax is (1 − σ(z),
    σ(z)). Further axes of length one, as convolutions alone leave them, are dropped.

    Args:
        output: what the model returned.
        samples: N.

    Raises:
        ModelError: there is none, or there are several and no rule between them; the message lists
        what came.

    >>> import torch
    >>> from worldline.trace.values import logits_in
    >>> tuple(logits_in({"loss": torch.zeros(()), "scores": torch.zeros(4, 3)}, 4).shape)
    (4, 3)
    >>> logits_in(torch.tensor([[-1.0], [3.0]]), 2)
    tensor([[ 0.5000, -0.5000],
            [-1.5000,  1.5000]])
    """
    tensor: object = output
    if not isinstance(output, Tensor):
        tensor = (
            output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
        )
    if not isinstance(tensor, Tensor):
        return _only_scores(output, samples)
    sides = tensor.shape[1:]
    if len(sides) > 1 and tensor.shape[0] == samples and max(sides) == math.prod(sides):
        tensor = tensor.flatten(1)  # (N, K, 1, 1)
    if tensor.shape in ((samples,), (samples, 1)) and tensor.is_floating_point():
        half = tensor.reshape(samples) / 2
        return torch.stack((-half, half), 1)
    if not _are_scores(tensor, samples):
        raise ModelError(
            f"The model must return floating logits (N, K), or one logit a sample of two classes; "
            f"for {samples} inputs it returned {tuple(tensor.shape)} {tensor.dtype}."
        )
    return tensor


def choices(logits: Tensor) -> Tensor:
    """(N,) the class of each output; −1 where it holds NaN, which names none.

    >>> import torch
    >>> from worldline.trace import choices
    >>> choices(torch.tensor([[0.0, 1.0], [2.0, torch.nan]]))
    tensor([ 1, -1])
    """
    return torch.where(logits.isnan().any(1), -1, logits.argmax(1))


@dataclass(frozen=True)
class Answers:
    """What a model said of N inputs, on the CPU.

    Attributes:
        choices: (N,) the class of each, −1 where the output holds NaN (:func:`choices`).
        lead: (N,) by how much the highest logit leads.
        infinite: (N,) whether the output holds ±∞, and no NaN.
        classes: K.
    """

    choices: Tensor
    lead: Tensor
    infinite: Tensor
    classes: int

    @classmethod
    def of(cls, logits: Tensor) -> Answers:
        """From logits (N, K).

        >>> import torch
        >>> from worldline.trace import Answers
        >>> Answers.of(torch.tensor([[1.0, 3.0]])).lead
        tensor([2.])
        """
        best, infinite = logits.topk(2, 1).values, logits.isinf().any(1) & ~logits.isnan().any(1)
        return cls(choices(logits), best[:, 0] - best[:, 1], infinite, logits.shape[1])

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """Of all batches, of which there is at least one."""
        joined = {
            name: torch.cat([getattr(part, name) for part in parts])
            for name in ("choices", "lead", "infinite")
        }
        return cls(**joined, classes=parts[0].classes)


def _only_scores(output: object, samples: int) -> Tensor:
    came = list(tensors_in(output))
    fitting = {id(tensor): tensor for _, tensor in came if _are_scores(tensor, samples)}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    kind = type(output).__name__
    listed = (
        ", ".join(f"{kind}{path} {tuple(tensor.shape)} {tensor.dtype}" for path, tensor in came)
        or "no tensor"
    )
    raise ModelError(
        f"The model must return logits (N, K); for {samples} inputs it returned {kind} with "
        f"{len(fitting)} tensors that could be them: {listed}. Wrap it in a module whose forward "
        "picks the logits, e.g. `return self.model(x)[0]`."
    )


def _are_scores(tensor: Tensor, samples: int) -> bool:
    return (
        tensor.ndim == 2
        and len(tensor) == samples
        and tensor.shape[1] >= 2
        and tensor.is_floating_point()
    )
