"""ONNX' recurrent layers in torch, step by step, with gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from worldline.loading.black_box import Attributes, UnsupportedError

__all__ = ["gru", "lstm", "rnn"]

Cell = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""What came of the input at one step, and the state, to the state after it; h first."""
ACTIVATIONS = {"lstm": "Sigmoid Tanh Tanh", "gru": "Sigmoid Tanh", "rnn": "Tanh"}


def lstm(
    at: Attributes,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    c: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Long short-term memory; gates in ONNX' order i, o, f, c.

    c′ = σ(f) c + σ(i) tanh(g),  h′ = σ(o) tanh(c′), each gate W x + R h + b.

    Args:
        at: direction, input_forget; what has no part here is refused.
        x: (T, N, I).
        w: (directions, 4 H, I).
        r: (directions, 4 H, H).
        b: (directions, 8 H), of W and of R.
        lengths, peepholes: refused.
        h, c: (directions, N, H) the state at the start; zeros.

    Returns:
        (T, directions, N, H) every h, then the last h and c.
    """
    _check(at, "lstm", lengths, peepholes)

    def cell(step: int) -> Cell:
        def apply(wx: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            h, c = state
            i, o, f, g = (wx + h @ r[step].mT + _bias(b, step, 1, like=wx)).chunk(4, -1)
            f = 1 - i.sigmoid() if at.get("input_forget") else f.sigmoid()
            c = f * c + i.sigmoid() * g.tanh()
            return o.sigmoid() * c.tanh(), c

        return apply

    return _run(at, x, w, b, cell, (h, c))


def gru(
    at: Attributes,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Gated recurrent unit; gates in ONNX' order z, r, h, shapes as for :func:`lstm`.

    h′ = (1 − z) n + z h, n = tanh(W x + r (R h + b)), or R (r h) + b before the reset.
    """
    _check(at, "gru", lengths)

    def cell(step: int) -> Cell:
        def apply(wx: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            (h,) = state
            xz, xr, xn = wx.chunk(3, -1)
            rz, rr, rn = r[step].chunk(3)
            bz, br, bn = _bias(b, step, 1, like=wx).chunk(3, -1)
            z, reset = (xz + h @ rz.mT + bz).sigmoid(), (xr + h @ rr.mT + br).sigmoid()
            after = at.get("linear_before_reset")
            part = reset * (h @ rn.mT + bn) if after else (reset * h) @ rn.mT + bn
            return ((1 - z) * (xn + part).tanh() + z * h,)

        return apply

    return _run(at, x, w, b, cell, (h,))


def rnn(
    at: Attributes,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Elman's network, h′ = f(W x + R h + b) with f tanh or ReLU; shapes as for :func:`lstm`."""
    relu = set(_activations(at)) == {"Relu"}
    _check({**at, "activations": []} if relu else at, "rnn", lengths)

    def cell(step: int) -> Cell:
        def apply(wx: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            h = wx + state[0] @ r[step].mT + _bias(b, step, 1, like=wx)
            return (h.relu() if relu else h.tanh(),)

        return apply

    return _run(at, x, w, b, cell, (h,))


def _check(at: Attributes, kind: str, *never: Tensor | None) -> None:
    given = _activations(at)
    usual = ACTIVATIONS[kind].split()
    if (
        any(it is not None for it in never)
        or at.get("clip")
        or at.get("layout")
        or given not in ([], usual, 2 * usual)
    ):
        raise UnsupportedError(
            f"{kind.upper()} with lengths, peepholes, clip, layout or other activations is not "
            "done here in torch."
        )


def _activations(at: Attributes) -> list[str]:
    return [it.decode("utf-8", "replace") for it in at.get("activations", [])]


def _bias(b: Tensor | None, step: int, half: int, *, like: Tensor) -> Tensor:
    return like.new_zeros(like.shape[-1]) if b is None else b[step].chunk(2)[half]


def _run(
    at: Attributes,
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    cell: Callable[[int], Cell],
    start: tuple[Tensor | None, ...],
) -> tuple[Tensor, ...]:
    """Every direction over all steps: (T, directions, N, H), and the last states."""
    size: int = at["hidden_size"]
    outputs, ends = [], []
    for step in range(len(w)):
        backward = at.get("direction", "forward") == "reverse" or step == 1
        state = tuple(x.new_zeros(x.shape[1], size) if it is None else it[step] for it in start)
        given = x @ w[step].mT  # (T, N, gates · H)
        given = given + _bias(b, step, 0, like=given)
        apply, seen = cell(step), []
        for wx in reversed(given.unbind()) if backward else given.unbind():
            state = apply(wx, state)
            seen.append(state[0])
        outputs.append(torch.stack(seen[::-1] if backward else seen))
        ends.append(state)
    return torch.stack(outputs, 1), *(torch.stack(it) for it in zip(*ends, strict=True))
