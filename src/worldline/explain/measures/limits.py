"""What each linear layer does to a pair, by its exact 2×2 restriction to the pair's plane.

Derivation. Let o be the mean of the layer's inputs and a, b a pair of inputs seen from it. An
affine layer maps o to the mean of its outputs, so seen from the means it acts by W alone, its bias
gone: what follows is exact for the whole layer. With [a, b−a] = Q C, Q (D, 2) orthonormal, and W Q
= Q' R, R (2, 2) upper triangular, the pair's images have the coordinates R C, and by
:mod:`worldline.geometry.spacetime` |φ_out − φ_in| ≤ η = ln(σ₁(R)/σ₂(R)), with equality for some
pair of the same plane.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldline.errors import UndefinedPairWarning
from worldline.explain.measures.operators import is_linear, linear_part
from worldline.geometry import Moments, rapidity_of_displacement
from worldline.trace import Model, untouched

__all__ = ["LinearLayer", "Planes", "Use", "find_linear", "hearing", "limit_use", "linear_origins"]

Show = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class LinearLayer:
    """One call of a linear or convolutional module.

    Attributes:
        name: the module's dotted name, with ``#k`` for its k-th call where it runs several times.
        module, call, kind: the module's name, which call of it, and its class.
        shape: of one sample's input.
        outputs: of one sample, flattened.
    """

    name: str
    module: str
    call: int
    kind: str
    shape: tuple[int, ...]
    outputs: int

    @property
    def inputs(self) -> int:
        """Width D of the layer's input, flattened."""
        return int(torch.Size(self.shape).numel())


@dataclass(frozen=True)
class Use:
    """What a linear layer does to each of P pairs.

    All are float64 (P,) in nats, and NaN where the pair spans no plane.

    Attributes:
        rapidity_in, rapidity_out: φ of the pair at the layer's input and output, seen from the
            means there.
        plane_limit: η = ln(σ₁/σ₂) of the layer on the pair's plane; ∞ where it collapses the plane.
    """

    rapidity_in: Tensor
    rapidity_out: Tensor
    plane_limit: Tensor

    @property
    def change(self) -> Tensor:
        """φ_out − φ_in."""
        return self.rapidity_out - self.rapidity_in

    @property
    def plane_share(self) -> Tensor:
        """|φ_out − φ_in| / η in [0, 1]; 0 where no pair of the plane moves, NaN where η = ∞."""
        moved = self.change.abs() / self.plane_limit
        return torch.where(self.plane_limit == 0, 0.0, moved).masked_fill(
            ~torch.isfinite(self.plane_limit), torch.nan
        )


@contextmanager
def _watching(
    model: Model, names: frozenset[str], show: Callable[[str, int, Tensor], None]
) -> Iterator[None]:
    """Show the input of every call of these modules; calls count from each pass's beginning."""
    handles = []
    calls: dict[str, int] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def before(_module: nn.Module, inputs: tuple[object, ...]) -> None:
            call = calls.get(name, 0)
            calls[name] = call + 1
            if inputs and isinstance(inputs[0], Tensor):
                show(name, call, inputs[0].detach())

        return before

    try:
        if isinstance(model, nn.Module) and not isinstance(model, torch.jit.ScriptModule):
            handles.append(model.register_forward_pre_hook(lambda *_: calls.clear(), prepend=True))
            for name, module in model.named_modules():
                if name in names:
                    handles.append(module.register_forward_pre_hook(hook(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def find_linear(model: Model, x: Tensor) -> tuple[LinearLayer, ...]:
    """Every call of a linear or convolutional layer, in the order of a forward pass.

    Of those whose input has one row a sample.

    Cost: one forward pass of two samples, and one application of each layer to one.
    """
    modules = (
        {name: it for name, it in model.named_modules() if is_linear(it)}
        if isinstance(model, nn.Module)
        else {}
    )
    seen: list[tuple[str, int, tuple[int, ...], int]] = []
    probe = x[:2]

    def show(name: str, call: int, value: Tensor) -> None:
        if value.ndim > 1 and len(value) == len(probe) and value.is_floating_point():
            outputs = linear_part(modules[name])(value[:1]).numel()
            seen.append((name, call, tuple(value.shape[1:]), outputs))

    with untouched(model), torch.no_grad(), _watching(model, frozenset(modules), show):
        model(probe.clone())
    repeated = {name for name, call, _, _ in seen if call > 0}
    return tuple(
        LinearLayer(
            f"{name}#{call}" if name in repeated else name or "model",
            name,
            call,
            type(modules[name]).__name__,
            shape,
            outputs,
        )
        for name, call, shape, outputs in seen
    )


@contextmanager
def hearing(model: Model, layers: Sequence[LinearLayer], show: Show) -> Iterator[None]:
    """``show(position, inputs of that layer)`` in every pass of the model meanwhile."""
    places = {(layer.module, layer.call): position for position, layer in enumerate(layers)}

    def heard(name: str, call: int, value: Tensor) -> None:
        if (name, call) in places:
            show(places[name, call], value)

    with _watching(model, frozenset(layer.module for layer in layers), heard):
        yield


class Planes:
    """What linear layers do to pairs, as their inputs come by.

    Args:
        model, layers, origins: from :func:`find_linear`; origins (D,), the mean inputs.
        pairs: how many.
    """

    def __init__(
        self, model: Model, layers: Sequence[LinearLayer], origins: Sequence[Tensor], pairs: int
    ) -> None:
        modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
        self.origins = list(origins)
        self.operators = [linear_part(modules[layer.module]) for layer in layers]
        self.found = [[torch.empty(pairs, dtype=torch.float64) for _ in range(3)] for _ in layers]

    def add(self, position: int, first: Tensor, second: Tensor, rows: slice) -> None:
        """Of these pairs: the inputs of one layer (p, *shape)."""
        self.origins[position] = origin = self.origins[position].to(first)
        parts = _use(first, second, origin, self.operators[position])
        for kept, part in zip(self.found[position], parts, strict=True):
            kept[rows] = part.cpu()

    def uses(self) -> tuple[Use, ...]:
        """By layer."""
        return tuple(Use(*parts) for parts in self.found)


def linear_origins(
    model: Model, x: Tensor, layers: Sequence[LinearLayer], *, batch_size: int = 256
) -> tuple[Tensor, ...]:
    """Mean input (D,) of each layer over these samples, float64. Cost: one forward pass."""
    moments = [Moments(layer.inputs) for layer in layers]

    def show(position: int, value: Tensor) -> None:
        moments[position].update(value.flatten(1))

    with untouched(model), torch.no_grad(), hearing(model, layers, show):
        for batch in x.split(batch_size):
            model(batch.clone())
    return tuple(moment.mean for moment in moments)


def limit_use(
    model: Model,
    first: Tensor,
    second: Tensor,
    layers: Sequence[LinearLayer],
    origins: Sequence[Tensor],
    *,
    batch_size: int = 256,
) -> tuple[Use, ...]:
    """What every linear layer does to each pair, and the most that it could do in its plane.

    Args:
        model: the model.
        first, second: (P, …) the two inputs of each pair.
        layers, origins: from :func:`find_linear` and :func:`linear_origins`.
        batch_size: inputs in one pass (two a pair).

    Returns:
        One :class:`Use` a layer.

    Cost: the forward pass of the 2P inputs, and one more application of each linear layer to as
        many (the plane's basis): less than two forward passes and about ten readings of the layers'
        inputs. Memory: one batch.
    """
    planes = Planes(model, layers, origins, len(first))
    step = max(1, batch_size // 2)
    rows = slice(0, 0)

    def show(position: int, value: Tensor) -> None:
        one, other = value.chunk(2)
        planes.add(position, one, other, rows)

    with untouched(model), torch.no_grad(), hearing(model, layers, show):
        for start in range(0, len(first), step):
            rows = slice(start, min(start + step, len(first)))
            model(torch.cat((first[rows], second[rows])))
    return planes.uses()


def _use(
    first: Tensor, second: Tensor, origin: Tensor, operator: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """φ before, φ after and the limit of each pair, of a layer's inputs (P, *shape)."""
    a, b = first.flatten(1), second.flatten(1)
    basis, inside = triangle(a - origin, b - a)
    moved = operator(basis.view(-1, *first.shape[1:])).flatten(1).view(2, len(a), -1)
    _, restriction = triangle(moved[0], moved[1])
    flatness = inside[:, 1, 1] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedPairWarning)
        before = rapidity_of_displacement(inside[:, :, 0], inside[:, :, 1])
        after = restriction @ inside
        beyond = rapidity_of_displacement(after[:, :, 0], after[:, :, 1])
    parts = before, beyond, triangle_boost(restriction)
    return tuple(part.masked_fill(flatness, torch.nan) for part in parts)  # type: ignore[return-value]


def triangle(a: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Q (2, P, D), orthonormal to rounding, and R (P, 2, 2) float64, with [a d] = Q R.

    R is upper triangular, and R₂₂ = 0 where a and d are parallel. Gram–Schmidt, the second vector
    twice ("twice is enough"): for two tall vectors ten times faster than Householder.
    """
    eps = torch.finfo(a.dtype).eps
    r11 = torch.linalg.vector_norm(a, dim=1)
    one = a / r11.clamp(min=torch.finfo(a.dtype).tiny)[:, None]
    size = torch.linalg.vector_norm(d, dim=1)
    r12 = torch.linalg.vecdot(one, d)
    rest = torch.addcmul(d, r12[:, None], one, value=-1)
    again = torch.linalg.vecdot(one, rest)
    rest.addcmul_(again[:, None], one, value=-1)
    r22 = torch.linalg.vector_norm(rest, dim=1)
    r22 = torch.where((r22 <= 4 * eps * size) | (r11 == 0), 0.0, r22)
    two = rest / r22.clamp(min=torch.finfo(a.dtype).tiny)[:, None] * (r22 > 0)[:, None]
    zero = torch.zeros_like(r11)
    rows = torch.stack((torch.stack((r11, r12 + again), 1), torch.stack((zero, r22), 1)), 1)
    return torch.stack((one, two)), rows.double()


def triangle_boost(r: Tensor) -> Tensor:
    """η = ln(σ₁/σ₂) of upper triangular (P, 2, 2); ∞ where det = 0.

    From (σ₁ − σ₂)² = (|r₁₁| − |r₂₂|)² + r₁₂², which is accurate down to η = 0.
    """
    one, two, mixed = r[:, 0, 0].abs(), r[:, 1, 1].abs(), r[:, 0, 1]
    area = one * two
    boost: Tensor = 2 * torch.asinh(torch.hypot(one - two, mixed) / (2 * area.sqrt()))
    return torch.where(area > 0, boost, torch.inf)
