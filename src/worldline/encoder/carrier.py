"""Putting a message on a codeword, and taking it off with another: by addition, or by sign bits.

Neither is secure: :mod:`worldline.encoder.reconcile` says who else can read it.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from worldline.errors import ShapeError, UsageError

__all__ = ["carry_bits", "carry_grey", "recover_bits", "recover_grey"]


def carry_grey(
    message: Float[Tensor, " k"], codeword: Float[Tensor, " k"], *, strength: float
) -> Float[Tensor, " k"]:
    """Add a grey message to a codeword.

    y = α u + m.

    Args:
        message: (k,) m.
        codeword: (k,) u, a unit vector.
        strength: α > 0; the receiver's error is α |u ∓ v|/√k.

    Raises:
        ShapeError: message and codeword are not one (k,). UsageError: strength not positive.

    Not secure: see the module.

    >>> import torch
    >>> from worldline.encoder.carrier import carry_grey, recover_grey
    >>> u = torch.tensor([0.6, 0.8])
    >>> recover_grey(carry_grey(torch.tensor([0.25, 0.5]), u, strength=100.0), -u, strength=100.0)
    tensor([0.2500, 0.5000])
    """
    _check(message, codeword, strength)
    return strength * codeword + message


def recover_grey(
    carried: Float[Tensor, " k"], codeword: Float[Tensor, " k"], *, strength: float
) -> Float[Tensor, " k"]:
    """Take a grey message off with the other codeword, whichever sign it has.

    m̂ = y ∓ α v, the sign that leaves the shorter remainder; right if |m| < α (cos(θ/2) −
    sin(θ/2)), θ the angle between u and ±v: if α exceeds |m| where the codewords agree.

    Args:
        carried: (k,) y.
        codeword: (k,) v, a unit vector near ±u.
        strength: the sender's α.

    Raises:
        ShapeError, UsageError: as :func:`carry_grey`.

    >>> import torch
    >>> from worldline.encoder.carrier import recover_grey
    >>> recover_grey(torch.tensor([10.5, 0.25]), torch.tensor([1.0, 0.0]), strength=10.0)
    tensor([0.5000, 0.2500])
    """
    _check(carried, codeword, strength)
    minus, plus = carried - strength * codeword, carried + strength * codeword
    return minus if float(minus.norm()) <= float(plus.norm()) else plus


def carry_bits(message: Bool[Tensor, " k"], codeword: Float[Tensor, " k"]) -> Bool[Tensor, " k"]:
    """XOR a binary message with the sign bits of a codeword.

    Args:
        message: (k,) bool. Its first bit is the pilot: known to both sides, it tells the receiver
            whether v is u or −u.
        codeword: (k,) u.

    Raises:
        ShapeError: message and codeword are not one (k,).

    Not secure: see the module.

    >>> import torch
    >>> from worldline.encoder.carrier import carry_bits, recover_bits
    >>> u, bits = torch.tensor([0.5, -0.7, 0.1]), torch.tensor([True, True, False])
    >>> recover_bits(carry_bits(bits, u), -u, pilot=True)
    tensor([ True,  True, False])
    """
    if message.dtype != torch.bool:
        raise ShapeError(
            f"A binary message must be boolean; got {message.dtype}. Threshold it: message > 0.5."
        )
    _check(message, codeword)
    return message ^ (codeword > 0)


def recover_bits(
    carried: Bool[Tensor, " k"], codeword: Float[Tensor, " k"], *, pilot: bool | None = None
) -> Bool[Tensor, " k"]:
    """XOR the sign bits of the other codeword away.

    Args:
        carried: (k,) bool.
        codeword: (k,) v, near ±u: a bit is wrong where a coordinate of u and ±v differs in sign.
        pilot: the known first bit of the message, by which v ≈ −u is noticed; None: no correction,
            and for v ≈ −u every bit comes out inverted.

    Raises:
        ShapeError: not one (k,), or not boolean.

    >>> import torch
    >>> from worldline.encoder.carrier import recover_bits
    >>> recover_bits(torch.tensor([True, False]), torch.tensor([0.5, 0.5]))
    tensor([False,  True])
    """
    message = carry_bits(carried, codeword)
    return ~message if pilot is not None and bool(message[0]) != pilot else message


def _check(message: Tensor, codeword: Tensor, strength: float = 1.0) -> None:
    if message.ndim != 1 or message.shape != codeword.shape:
        raise ShapeError(
            "Message and codeword must have one shape (k,), k the encoder's width; got "
            f"{tuple(message.shape)} and {tuple(codeword.shape)}. Flatten an image; choose width "
            "to fit it."
        )
    if not strength > 0:
        raise UsageError(f"strength must be positive; got {strength}.")
