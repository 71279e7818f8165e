"""What the same architecture at random weights would do to a pair, without drawing any weights.

Derivation. In a wide random network the units of a layer are i.i.d. Gaussian given the layer
before, so that the second moments ⟨aa⟩, ⟨bb⟩, ⟨ab⟩ per unit of the two inputs' features are all
that goes on: a linear layer maps each to σ_w² · mean + σ_b², an activation by its Gaussian kernel,
and a convolution averages them over its window, position by position (Novak et al. 2019; Xiao et
al. 2018). The rapidity of the two feature vectors is artanh(Σ⟨ab⟩/√(Σ⟨aa⟩ Σ⟨bb⟩)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldline.errors import ModelError, ShapeError, UsageError
from worldline.nullmodel.activations import Activation

__all__ = ["Prediction", "predict"]

_CONVOLUTIONS = {
    nn.Conv1d: nn.functional.conv1d,
    nn.Conv2d: nn.functional.conv2d,
    nn.Conv3d: nn.functional.conv3d,
}
_DROPOUTS = nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d
Init = str | tuple[float, float]


@dataclass(frozen=True)
class Prediction:
    """Pairs through an architecture at random weights, in the raw frame.

    Attributes:
        layers: names of the modules, the input first.
        rapidity: (L + 1, N) nats.
        correlation: (L + 1, N), its hyperbolic tangent.
    """

    layers: tuple[str, ...]
    rapidity: Tensor
    correlation: Tensor


@dataclass(frozen=True)
class _Moments:
    """⟨aa⟩, ⟨bb⟩, ⟨ab⟩ per unit, (3, N, *positions), and whether the units are channels of maps."""

    values: Tensor
    maps: bool

    def flat(self) -> Tensor:
        """(3, N), over all positions."""
        return self.values.flatten(2).mean(2) if self.values.ndim > 2 else self.values

    def rapidity(self) -> Tensor:
        aa, bb, ab = self.flat().unbind()
        both = torch.sqrt(aa * bb)
        return 0.5 * ((both + ab).clamp_min(0).log() - (both - ab).clamp_min(0).log())


def predict(
    module: nn.Module, a: Float[Tensor, "N ..."], b: Float[Tensor, "N ..."], *, init: Init = "reset"
) -> Prediction:
    """Rapidity of each pair after every layer, had the network random weights and infinite width.

    Args:
        module: an ``nn.Sequential`` (nested ones too) of Linear, Conv1d/2d/3d, Flatten, Dropout,
            Identity and the activations ReLU, LeakyReLU, GELU and Tanh; or one such module. Modules
            without parameters that come before the first weights, such as a normalisation of the
            input, are applied as they are. Only shapes and settings are read, no weights.
        a, b: (N, …) inputs of the module, one shape.
        init: ``reset``, what ``reset_parameters`` of PyTorch draws (σ_w² = 1/3, σ_b² = 1/(3
            fan-in)); ``he``, σ_w² = 2 without bias; or (σ_w, σ_b), meaning weights N(0,
            σ_w²/fan-in) and biases N(0, σ_b²) where a layer has one.

    Returns:
        :class:`Prediction`. Compare with the *raw* frame of a trained network: where it keeps pairs
        further apart, or merges them more, than this, training did it. A pair with a zero input has
        NaN at layer 0.

    Raises:
        ModelError: a module for which no map is known (normalisation layers after weights, max or
            average pooling, residual and attention blocks, grouped convolutions); the layer is
            named. ``wl.explain.untrained`` draws such networks instead.
        ShapeError: a and b of different shape, or inputs that do not fit the first layer.
        UsageError: an unknown init.

    Accuracy: the infinite-width limit; a network of width n deviates by O(1/√n) per draw of the
        weights.
    Cost: closed formulas per pair and position; two-dimensional quadrature for Tanh.

    >>> import torch
    >>> from torch import nn
    >>> from worldline.nullmodel import predict
    >>> wide, read = nn.Linear(2, 100, bias=False), nn.Linear(100, 10, bias=False)
    >>> net = nn.Sequential(wide, nn.ReLU(), read)
    >>> prediction = predict(net, torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    >>> prediction.layers
    ('input', '0', '1', '2')
    >>> prediction.correlation[:, 0]  # ReLU turns 0 into 1/π
    tensor([0.0000, 0.0000, 0.3183, 0.3183], dtype=torch.float64)
    """
    _check_inputs(a, b, init)
    layers, rows = ["input"], [_raw(a, b, 1).rapidity()]
    state: _Moments | None = None
    for place, part in _parts(module, ""):
        name = place or type(part).__name__
        try:
            if state is None and next(part.parameters(), None) is None:
                a, b = _apply(part, a), _apply(part, b)
                rows.append(_raw(a, b, 1).rapidity())
            else:
                state = _advance(part, state, a, b, init)
                rows.append(state.rapidity())
        except (ModelError, ShapeError) as error:
            raise type(error)(f"Layer {name!r}: {error}") from error
        layers.append(name)
    rapidity = torch.stack(rows)
    return Prediction(tuple(layers), rapidity, torch.tanh(rapidity))


def _parts(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    if type(module) is not nn.Sequential:
        yield prefix, module
        return
    for name, child in module.named_children():
        yield from _parts(child, f"{prefix}.{name}" if prefix else name)


def _apply(part: nn.Module, x: Tensor) -> Tensor:
    if isinstance(part, _DROPOUTS):
        return x
    with torch.no_grad():
        out: Tensor = part(x)
    return out


def _advance(part: nn.Module, state: _Moments | None, a: Tensor, b: Tensor, init: Init) -> _Moments:
    """Moments after one module."""
    if isinstance(part, nn.Linear):
        if state is None:
            _fits(a, -1, part.in_features)
            state = _raw(a, b, a.ndim - 1)
        if state.maps:
            raise ModelError(
                "a Linear on the maps of a convolution has no prediction; put nn.Flatten() before "
                "it."
            )
        return _affine(state, part, init, part.in_features)
    if type(part) in _CONVOLUTIONS:
        return _convolve(part, state, a, b, init)  # type: ignore[arg-type]
    if state is None:
        raise ModelError(f"no random-weight map is known for {type(part).__name__}.")
    if isinstance(part, (nn.Identity, *_DROPOUTS)):
        return state
    if isinstance(part, nn.Flatten):
        return _flatten(part, state)
    return _activate(_activation(part), state)


def _raw(a: Tensor, b: Tensor, unit_axis: int) -> _Moments:
    """Moments of given features: the mean over one axis, the units, and N and positions kept."""
    x, y = a.double(), b.double()
    if x.ndim == 1:
        x, y = x[:, None], y[:, None]
    return _Moments(torch.stack((x * x, y * y, x * y)).mean(unit_axis + 1), unit_axis != x.ndim - 1)


def _affine(state: _Moments, part: nn.Module, init: Init, fan_in: int) -> _Moments:
    """σ_w² · mean + σ_b²."""
    has_bias = getattr(part, "bias", None) is not None
    if isinstance(init, tuple):
        w2, b2 = init[0] ** 2, init[1] ** 2
    else:
        w2, b2 = (1 / 3, 1 / (3 * fan_in)) if init == "reset" else (2.0, 0.0)
    b2 = b2 if has_bias else 0.0
    return replace(state, values=w2 * state.values + b2)


def _convolve(
    part: nn.Conv1d | nn.Conv2d | nn.Conv3d,
    state: _Moments | None,
    a: Tensor,
    b: Tensor,
    init: Init,
) -> _Moments:
    space = len(part.kernel_size)
    if part.groups != 1 or part.padding_mode != "zeros":
        raise ModelError(
            "only a convolution with groups=1 and zero padding has a map; got "
            f"groups={part.groups}, padding_mode={part.padding_mode!r}."
        )
    if state is None:
        if a.ndim != space + 2:
            raise ShapeError(
                f"needs inputs (N, C, {'× '.join(['size '] * space).strip()}); got "
                f"{tuple(a.shape)}."
            )
        _fits(a, 1, part.in_channels)
        state = _raw(a, b, 1)
    if not state.maps:
        raise ModelError("a convolution after Linear or Flatten has no prediction.")
    taps = math.prod(part.kernel_size)
    window = state.values.new_full((1, 1, *part.kernel_size), 1 / taps)
    averaged = _CONVOLUTIONS[type(part)](
        state.values.flatten(0, 1)[:, None],
        window,
        stride=part.stride,
        padding=part.padding,
        dilation=part.dilation,
    )
    moved = _Moments(averaged[:, 0].unflatten(0, (3, -1)), True)
    return _affine(moved, part, init, part.in_channels * taps)


def _flatten(part: nn.Flatten, state: _Moments) -> _Moments:
    if part.start_dim != 1 or part.end_dim != -1:
        raise ModelError("only nn.Flatten() of all dimensions after the batch has a map.")
    return _Moments(state.flat(), False)


def _activate(activation: Activation, state: _Moments) -> _Moments:
    aa, bb, ab = state.values.unbind()
    both = torch.sqrt(aa * bb)
    c = torch.where(both > 0, ab / both, torch.zeros_like(both)).clamp(-1, 1)
    after_a, after_b = activation.variance(aa), activation.variance(bb)
    same = (c == 1) & (aa == bb)  # identical stays identical, to the last digit
    mixed = torch.where(same, after_a, activation.kernel(aa, bb, c))
    return replace(state, values=torch.stack((after_a, after_b, mixed)))


def _activation(part: nn.Module) -> Activation:
    if isinstance(part, nn.ReLU):
        return Activation("relu")
    if isinstance(part, nn.LeakyReLU):
        return Activation("leaky_relu", part.negative_slope)
    if isinstance(part, nn.Tanh):
        return Activation("tanh")
    if isinstance(part, nn.GELU):
        return Activation("gelu" if part.approximate == "none" else "gelu_tanh")
    raise ModelError(
        f"no random-weight map is known for {type(part).__name__}. predict follows nn.Sequential "
        "of Linear, Conv, Flatten, Dropout, Identity, ReLU, LeakyReLU, GELU and Tanh; "
        "wl.explain.untrained draws the null of any other network."
    )


def _fits(x: Tensor, axis: int, expected: int) -> None:
    if x.shape[axis] != expected:
        raise ShapeError(
            f"reads {expected} units; the input has {x.shape[axis]} in {tuple(x.shape)}."
        )


def _check_inputs(a: Tensor, b: Tensor, init: Init) -> None:
    floating = a.is_floating_point() and b.is_floating_point()
    if a.shape != b.shape or a.ndim < 2 or not floating or a.numel() == 0:
        raise ShapeError(
            "predict takes two floating batches (N, …) of one shape; got "
            f"{tuple(a.shape)} {a.dtype} and {tuple(b.shape)} {b.dtype}."
        )
    if isinstance(init, tuple):
        if len(init) != 2 or not init[0] > 0 or not init[1] >= 0:
            raise UsageError(f"init as numbers is (sigma_w > 0, sigma_b ≥ 0); got {init!r}.")
    elif init not in ("reset", "he"):
        raise UsageError(f"init must be 'reset', 'he' or (sigma_w, sigma_b); got {init!r}.")
