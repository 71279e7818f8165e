"""Information reconciliation: a message put on one encoded feature and taken off with another.

The sender holds u, the encoded fitted feature; the receiver holds v, another feature encoded by the
same public weights, which has become ±u. Grey: y = α u + m, recovered as y − α v. Binary: bits XOR
sign bits of u, recovered by those of v.

**This is not secure.** Whoever holds the public weights encodes *any* vector and holds ±u as well:
the encoder has rank one. It is transmission that tolerates noise in the feature, and no secret;
every result here carries the eavesdropper's reading beside the receiver's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from worldline.encoder.joint import encode_together
from worldline.encoder.machine import Encoder
from worldline.encoder.seeds import make_generator
from worldline.errors import ShapeError, UsageError

__all__ = [
    "Reconciliation",
    "carry_bits",
    "carry_grey",
    "reconcile_bits",
    "reconcile_grey",
    "recover_bits",
    "recover_grey",
]


@dataclass(frozen=True)
class Reconciliation:
    """A message that was carried, and what each side read. All messages (k,).

    Attributes:
        carried: what was sent in the open.
        received, received_error: by the holder of the other feature. The error is the root mean
            square of the difference for grey, the share of wrong bits for bits.
        wrong_key, wrong_key_error: by somebody without the weights, who tries a random unit vector.
        overheard, overheard_error: by an eavesdropper with the public weights and an unrelated
            vector. **As good as the receiver's: not secure.**
    """

    carried: Tensor
    received: Tensor
    received_error: float
    wrong_key: Tensor
    wrong_key_error: float
    overheard: Tensor
    overheard_error: float


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
    >>> from worldline.encoder.reconcile import carry_grey, recover_grey
    >>> u = torch.tensor([0.6, 0.8])
    >>> recover_grey(carry_grey(torch.tensor([0.25, 0.5]), u, strength=100.0), -u, strength=100.0)
    tensor([0.2500, 0.5000])
    """
    _check_message(message, codeword, strength)
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
    >>> from worldline.encoder.reconcile import recover_grey
    >>> recover_grey(torch.tensor([10.5, 0.25]), torch.tensor([1.0, 0.0]), strength=10.0)
    tensor([0.5000, 0.2500])
    """
    _check_message(carried, codeword, strength)
    minus, plus = carried - strength * codeword, carried + strength * codeword
    return minus if float(minus.norm()) <= float(plus.norm()) else plus


def reconcile_grey(
    encoder: Encoder,
    sender: Float[Tensor, " D"],
    receiver: Float[Tensor, " D"],
    message: Float[Tensor, " k"],
    *,
    strength: float = 100.0,
    eavesdropper: Float[Tensor, " D"] | None = None,
    seed: int = 0,
) -> Reconciliation:
    """Carry a grey message between features that differ, and let an eavesdropper listen.

    Args:
        encoder: fitted to the sender's feature; its width is the length of the message.
        sender, receiver: (D,) features, near or far apart.
        message: (k,), for instance the pixels of an image in [0, 1].
        strength: α of :func:`carry_grey`.
        eavesdropper: (D,) the vector of somebody who holds the public weights; None for noise.
        seed: of the layers, the eavesdropper's noise and the wrong key.

    Returns:
        :class:`Reconciliation`; errors are root mean squares. The received error falls as e^{−rL}
        with depth.

    Raises:
        ShapeError: features of different width, or a message that is not (k,). BoundsError: NaN or
            a zero feature.
        UsageError: strength not positive.

    Cost: one :func:`encode_together` of three features. Not secure: see the module.

    >>> import torch
    >>> from worldline.encoder import Encoder, reconcile_grey
    >>> encoder = Encoder(candidates=600, width=64, depth=30)
    >>> message = torch.linspace(0, 1, 64, dtype=torch.float64)
    >>> a, b = torch.randn(2, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> told = reconcile_grey(encoder, a, b, message)
    >>> told.received_error < 1e-6, told.overheard_error < 1e-6, told.wrong_key_error > 1
    (True, True, True)
    """
    keys = _codewords(encoder, sender, receiver, eavesdropper, seed)
    carried = carry_grey(message, keys[0], strength=strength)
    read = [recover_grey(carried, key, strength=strength) for key in keys[1:]]
    return _result(carried, [(it, float((it - message).square().mean().sqrt())) for it in read])


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
    >>> from worldline.encoder.reconcile import carry_bits, recover_bits
    >>> u, bits = torch.tensor([0.5, -0.7, 0.1]), torch.tensor([True, True, False])
    >>> recover_bits(carry_bits(bits, u), -u, pilot=True)
    tensor([ True,  True, False])
    """
    if message.dtype != torch.bool:
        raise ShapeError(
            f"A binary message must be boolean; got {message.dtype}. Threshold it: message > 0.5."
        )
    _check_message(message, codeword)
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
    >>> from worldline.encoder.reconcile import recover_bits
    >>> recover_bits(torch.tensor([True, False]), torch.tensor([0.5, 0.5]))
    tensor([False,  True])
    """
    message = carry_bits(carried, codeword)
    return ~message if pilot is not None and bool(message[0]) != pilot else message


def reconcile_bits(
    encoder: Encoder,
    sender: Float[Tensor, " D"],
    receiver: Float[Tensor, " D"],
    message: Bool[Tensor, " k"],
    *,
    eavesdropper: Float[Tensor, " D"] | None = None,
    seed: int = 0,
) -> Reconciliation:
    """Carry a binary message by sign bits, its first bit the pilot, and let an eavesdropper listen.

    Args:
        encoder: fitted to the sender's feature; its width is the length of the message.
        sender, receiver: (D,) features.
        message: (k,) bool.
        eavesdropper: (D,) the vector of somebody who holds the public weights; None for noise.
        seed: of the layers, the eavesdropper's noise and the wrong key.

    Returns:
        :class:`Reconciliation`; errors are shares of wrong bits, (1 − E(θ))/2 on average, θ the
        angle between the features before the last layer and E
        :func:`worldline.geometry.bell.sign_correlation` at the share k/n: fewer than θ/π, since the
        last layer keeps readings far from zero. A wrong key has half of the bits wrong.

    Raises:
        ShapeError, BoundsError: as :func:`reconcile_grey`.

    Cost: one :func:`encode_together` of three features. Not secure: see the module.

    >>> import torch
    >>> from worldline.encoder import Encoder, reconcile_bits
    >>> a, b = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    >>> encoder = Encoder(candidates=600, width=64, depth=20)
    >>> told = reconcile_bits(encoder, a, b, torch.arange(64) % 3 == 0)
    >>> told.received_error, told.overheard_error
    (0.0, 0.0)
    """
    keys = _codewords(encoder, sender, receiver, eavesdropper, seed)
    carried = carry_bits(message, keys[0])
    read = [recover_bits(carried, key, pilot=bool(message[0])) for key in keys[1:]]
    return _result(carried, [(it, float((it != message).double().mean())) for it in read])


def _codewords(
    encoder: Encoder, sender: Tensor, receiver: Tensor, eavesdropper: Tensor | None, seed: int
) -> list[Tensor]:
    """u of the sender, v of the receiver, an unrelated unit vector, and v of the eavesdropper."""
    if sender.ndim != 1 or sender.shape != receiver.shape or sender.dtype != receiver.dtype:
        raise ShapeError(
            "Sender and receiver must hold features (D,) of one width and dtype; got "
            f"{tuple(sender.shape)} {sender.dtype} and {tuple(receiver.shape)} {receiver.dtype}."
        )
    generator = make_generator(seed, sender.device)
    numbers = len(sender) + encoder.width
    noise = torch.randn(numbers, dtype=sender.dtype, device=sender.device, generator=generator)
    stranger, wrong = noise.split((len(sender), encoder.width))
    if eavesdropper is not None:
        stranger = _fitting(eavesdropper, sender)
    features = torch.stack((sender, receiver, stranger))[None]
    path = encode_together(encoder, features, generator=generator)
    u, v, z = path.directions[-1][0]
    return [u, v, torch.nn.functional.normalize(wrong, dim=0), z]


def _fitting(eavesdropper: Tensor, sender: Tensor) -> Tensor:
    if eavesdropper.shape != sender.shape or eavesdropper.dtype != sender.dtype:
        raise ShapeError(
            f"The eavesdropper's vector must be {tuple(sender.shape)} {sender.dtype}, as the "
            f"sender's; got {tuple(eavesdropper.shape)} {eavesdropper.dtype}."
        )
    return eavesdropper


def _result(carried: Tensor, read: list[tuple[Tensor, float]]) -> Reconciliation:
    received, wrong_key, overheard = read
    return Reconciliation(carried, *received, *wrong_key, *overheard)


def _check_message(message: Tensor, codeword: Tensor, strength: float = 1.0) -> None:
    if message.ndim != 1 or message.shape != codeword.shape:
        raise ShapeError(
            "Message and codeword must have one shape (k,), k the encoder's width; got "
            f"{tuple(message.shape)} and {tuple(codeword.shape)}. Flatten an image; choose width "
            "to fit it."
        )
    if not strength > 0:
        raise UsageError(f"strength must be positive; got {strength}.")
