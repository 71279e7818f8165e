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

from worldline.encoder.carrier import carry_bits, carry_grey, recover_bits, recover_grey
from worldline.encoder.joint import encode_together
from worldline.encoder.machine import Encoder
from worldline.encoder.seeds import make_generator
from worldline.errors import ShapeError

__all__ = ["Reconciliation", "reconcile_bits", "reconcile_grey"]


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


def reconcile_grey(
    encoder: Encoder,
    sender: Float[Tensor, " D"],
    receiver: Float[Tensor, " D"],
    message: Float[Tensor, " k"],
    *,
    strength: float = 100.0,
    seed: int = 0,
) -> Reconciliation:
    """Carry a grey message between features that differ, and let an eavesdropper listen.

    Args:
        encoder: fitted to the sender's feature; its width is the length of the message.
        sender, receiver: (D,) features, near or far apart.
        message: (k,), for instance the pixels of an image in [0, 1].
        strength: α of :func:`carry_grey`.
        seed: of the layers, the eavesdropper's vector and the wrong key.

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
    keys = _codewords(encoder, sender, receiver, seed)
    carried = carry_grey(message, keys[0], strength=strength)
    read = [recover_grey(carried, key, strength=strength) for key in keys[1:]]
    errors = [float((m - message).square().mean().sqrt()) for m in read]
    return _result(carried, read, errors)


def reconcile_bits(
    encoder: Encoder,
    sender: Float[Tensor, " D"],
    receiver: Float[Tensor, " D"],
    message: Bool[Tensor, " k"],
    *,
    seed: int = 0,
) -> Reconciliation:
    """Carry a binary message by sign bits, its first bit the pilot, and let an eavesdropper listen.

    Args:
        encoder: fitted to the sender's feature; its width is the length of the message.
        sender, receiver: (D,) features.
        message: (k,) bool.
        seed: of the layers, the eavesdropper's vector and the wrong key.

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
    keys = _codewords(encoder, sender, receiver, seed)
    carried = carry_bits(message, keys[0])
    read = [recover_bits(carried, key, pilot=bool(message[0])) for key in keys[1:]]
    errors = [float((m != message).double().mean()) for m in read]
    return _result(carried, read, errors)


def _codewords(encoder: Encoder, sender: Tensor, receiver: Tensor, seed: int) -> list[Tensor]:
    """u of the sender, v of the receiver, an unrelated unit vector, and v of the eavesdropper."""
    if sender.ndim != 1 or sender.shape != receiver.shape or sender.dtype != receiver.dtype:
        raise ShapeError(
            "Sender and receiver must hold features (D,) of one width and dtype; got "
            f"{tuple(sender.shape)} {sender.dtype} and {tuple(receiver.shape)} {receiver.dtype}."
        )
    generator = make_generator(seed, sender.device)
    noise = torch.randn(
        len(sender) + encoder.width, dtype=sender.dtype, device=sender.device, generator=generator
    )
    stranger, wrong = (
        noise[: len(sender)],
        torch.nn.functional.normalize(noise[len(sender) :], dim=0),
    )
    path = encode_together(
        encoder, torch.stack((sender, receiver, stranger))[None], generator=generator
    )
    u, v, z = path.directions[-1][0]
    return [u, v, wrong, z]


def _result(carried: Tensor, read: list[Tensor], errors: list[float]) -> Reconciliation:
    return Reconciliation(
        carried=carried,
        received=read[0],
        received_error=errors[0],
        wrong_key=read[1],
        wrong_key_error=errors[1],
        overheard=read[2],
        overheard_error=errors[2],
    )
