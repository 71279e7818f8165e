"""Singular values of a layer's Jacobian at the input: what becomes of small displacements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldline.errors import UsageError
from worldline.explain.measures.operators import Operator, pulled_back, top_singular_values
from worldline.trace import Layer, Model, find_layers, one_layer, reading

__all__ = ["Spectrum", "jacobian_spectrum"]

EXACT = 64
"""Up to this many outputs every row of the Jacobian is computed."""
TOLERANCE = 0.01


@dataclass(frozen=True)
class Spectrum:
    """Singular values of ∂(layer)/∂(input) at each sample.

    Attributes:
        layer: whose features were differentiated.
        singular_values: (N, k), largest first; NaN where the status says why.
        exponents: (N, k) ln(σ)/depth in nats a layer, the finite-time Lyapunov exponents of the
            network as a map; −∞ where σ = 0.
        depth: layers between input and this layer that the exponents are divided by.
        complete: whether these are all singular values (every row of the Jacobian was computed).
        status: ``measured``, or a sentence that says why not.
    """

    layer: Layer
    singular_values: Tensor
    exponents: Tensor
    depth: int
    complete: bool
    status: str

    @property
    def norm(self) -> Tensor:
        """(N,) Frobenius norm, √Σσ²; a lower bound where the spectrum is not complete."""
        norm: Tensor = torch.linalg.vector_norm(self.singular_values, dim=1)
        return norm


def jacobian_spectrum(
    model: Model,
    x: Float[Tensor, "N ..."],
    *,
    layer: str | nn.Module | None = None,
    top: int = 20,
    steps: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
) -> Spectrum:
    """Largest singular values of the Jacobian of the output, or of a layer, at every sample.

    J = ∂f/∂x; σ_i(J) is how much the network stretches a small displacement along its i-th
    direction, ln(σ_i)/depth its finite-time Lyapunov exponent. Up to 64 outputs the Jacobian is
    computed, a row a backward pass; beyond, J v and Jᵀ u drive Golub–Kahan–Lanczos, for all samples
    of a batch at once.

    Args:
        model: the model; its outputs for one sample must not depend on the others in the batch (as
            in eval mode).
        x: (N, …) inputs.
        layer: a layer's name; default: the model's output.
        top: how many singular values.
        steps: of Lanczos at most; default 4 top + 12. Fewer are taken when eight more change no
            value by 1 %; all approach from below.
        batch_size: inputs differentiated together.
        seed: of the starting vectors.

    Returns:
        A :class:`Spectrum`. All σ zero: the output does not move; σ₁ ≫ σ₂: one direction decides. A
        model that automatic differentiation cannot pass through gives NaN and a status that says
        so, not an error.

    Raises:
        LayerError: no such layer. UsageError: ``top`` under 1.

    Cost: a forward pass and min(outputs, 64) backward passes, or ``steps`` products with J and with
        Jᵀ, each about one backward pass.
    Memory: one backward graph (two, for J), and ``steps`` vectors of input and output a sample.
    Source: Golub and Kahan 1965.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.diag(torch.tensor([3.0, 0.5])))
    >>> wl.explain.jacobian_spectrum(model, torch.zeros(1, 2)).singular_values
    tensor([[3.0000, 0.5000]], dtype=torch.float64)
    """
    if top < 1:
        raise UsageError(f"top must be at least 1 singular value; got {top}.")
    found = find_layers(model, x)
    chosen = one_layer(model, x, layer) if layer is not None else found[-1]
    depth = (
        max(1, sum(it.default for it in found[1 : found.index(chosen) + 1]))
        if chosen in found
        else 1
    )
    complete = chosen.width <= EXACT
    width = min(chosen.width, x[0].numel())
    wanted = width if complete else min(top, width)
    parts: list[Tensor] = []
    status = "measured"
    generator = torch.Generator().manual_seed(seed)
    try:
        for batch in x.split(batch_size):
            with _jacobian(model, chosen, batch) as (apply, adjoint, out):
                if complete:
                    parts.append(_exact(adjoint, out)[:, :wanted])
                    continue
                start = torch.randn(batch.shape, generator=generator).to(batch)
                most = steps or 4 * top + 12
                parts.append(
                    top_singular_values(
                        apply,
                        adjoint,
                        start,
                        top=wanted,
                        steps=most,
                        tolerance=0.0 if steps else TOLERANCE,
                    )
                )
    except (RuntimeError, NotImplementedError) as error:
        if "out of memory" in str(error):
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        status = (
            f"No gradient from layer {chosen.name!r} back to the input: {reason}. Measures made of "
            "forward passes alone are not affected."
        )
        parts = [torch.full((len(x), wanted), torch.nan, dtype=torch.float64)]
    values = torch.cat(parts)[:, : max(top, 1)] if not complete else torch.cat(parts)
    return Spectrum(chosen, values, values.log() / depth, depth, complete, status)


@contextmanager
def _jacobian(model: Model, layer: Layer, x: Tensor) -> Iterator[tuple[Operator, Operator, Tensor]]:
    """J and Jᵀ at each sample of a batch, and the layer's features (N, K).

    Jᵀ u is a backward pass. J v is the derivative of Jᵀ u along u, which is linear in u: a backward
    pass through the backward graph ("double trick"), so each product costs about one backward pass
    and nothing of the forward pass is done again.
    """
    with reading(model, layer) as read, torch.enable_grad():
        if isinstance(model, torch.nn.Module):
            for parameter in model.parameters():
                parameter.requires_grad_(False)  # put back by the guard of `reading`
        point = x.detach().clone().requires_grad_(True)
        out, _ = read(point)
        if not out.requires_grad:
            raise RuntimeError(
                "the layer's features do not depend on the input in a differentiable way"
            )
        backward: list[tuple[Tensor, Tensor]] = []

        def adjoint(u: Tensor) -> Tensor:
            return pulled_back(out, point, u)

        def apply(v: Tensor) -> Tensor:
            if not backward:
                u = torch.zeros_like(out, requires_grad=True)
                backward.append((u, pulled_back(out, point, u, create_graph=True)))
            u, moved = backward[0]
            return pulled_back(moved, u, v)

        yield apply, adjoint, out


def _exact(adjoint: Operator, out: Tensor) -> Tensor:
    """(N, min(K, D)) singular values from all K rows."""
    rows = []
    for output in range(out.shape[1]):
        u = torch.zeros_like(out)
        u[:, output] = 1
        rows.append(adjoint(u).flatten(1))
    values: Tensor = torch.linalg.svdvals(torch.stack(rows, 1).double())
    return values
