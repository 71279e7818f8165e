"""What a layer does to the rapidity of pairs, with one sign everywhere: positive is apart."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

__all__ = ["boost", "excess_boost"]


def boost(rapidity: Float[Tensor, "P L"]) -> Float[Tensor, "P L1"]:
    """Boost of each pair at each layer after the input: φ before − φ here, in nats.

    Args:
        rapidity: (P, L) φ of P pairs at L layers, the input first.

    Returns:
        (P, L−1). Positive: the layer drives the pair apart; negative: together. The boosts of a
        pair add up to φ(input) − φ(output). NaN where both ends are the same infinity or undefined.

    >>> import torch
    >>> from worldline.explain.boosts import boost
    >>> boost(torch.tensor([[3.0, 1.0, 2.0]]))
    tensor([[ 2., -1.]])
    """
    return rapidity[:, :-1] - rapidity[:, 1:]


def excess_boost(
    adversarial: Float[Tensor, "P L"], noise: Float[Tensor, "P L"]
) -> Float[Tensor, "P L1"]:
    """Excess boost of each layer: the boost of the attacked twin beyond that of its noise twin.

    Args:
        adversarial, noise: (P, L) φ to the original of the attacked and of the noise twin.

    Returns:
        (P, L−1) nats. Positive: the layer drives the attacked twin apart more than noise of the
        same norm; 0: as much as noise; negative: less.

    >>> import torch
    >>> from worldline.explain.boosts import excess_boost
    >>> excess_boost(torch.tensor([[3.0, 0.0]]), torch.tensor([[3.0, 2.5]]))
    tensor([[2.5000]])
    """
    return boost(adversarial) - boost(noise)
