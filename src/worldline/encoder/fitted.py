"""A fitted encoder: the weights drawn for one feature, and what they do to any other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from worldline.encoder.checking import came, check_finite
from worldline.encoder.layer import apply_rows, draw_noise, set_readings
from worldline.encoder.path import Composed, Path, from_fitted, log_length, unit
from worldline.encoder.selection import Selection
from worldline.errors import LayerError, ShapeError

__all__ = ["FittedEncoder"]


class FittedEncoder:
    """An encoder fitted to one feature, or to P: its weights, its path, and what it does to others.

    Shapes below are for one feature; with P features every tensor has P as its first axis after the
    layer.

    Attributes:
        selection: of every layer, to be given to the laws.
        depth: L.
        path: :class:`Path` of the fitted feature itself, layers 0 … L.
        readings: per layer, (k,) float64, what the kept neurons read of the unit feature before
            them.
    """

    def __init__(
        self,
        selection: Selection,
        *,
        path: Path,
        readings: Tensor,  # (L, P, k)
        generator: torch.Generator,
        weights: list[Tensor] | None,
        memory: int,
        single: bool,
    ) -> None:
        self.selection, self.depth = selection, len(readings)
        self._memory = memory
        self._single = single
        self._batched = path
        self._state = generator.get_state()  # from which the weights across x are drawn
        self._kept = weights
        self.path = Path(
            path.layers,
            tuple(map(self._out, path.directions)),
            self._out(path.log_norms, 1),
            path.normalise,
        )
        self.readings = tuple(map(self._out, readings))
        self._readings = readings

    def weights(self) -> Iterator[Float[Tensor, "*P k Din"]]:
        """W_1 … W_L in order, x_l = W_l x_{l−1}; D_in is D for the first and k for the others.

        Every call gives the same weights. They are held if all fit in the memory allowed, else
        drawn again.
        """
        return map(self._out, self._weights())

    def compose(self) -> Composed:
        """The product H = W_L … W_1, its scale carried as a logarithm: L products (k, k)(k, D)."""
        product: Tensor | None = None
        start = self._batched.directions[0]
        log_scale = start.new_zeros(len(start), dtype=torch.float64)
        for weight in self._weights():
            product = weight if product is None else weight @ product
            norm = torch.linalg.matrix_norm(product)
            product, log_scale = product / norm[:, None, None], log_scale + norm.double().log()
        assert product is not None  # depth ≥ 1
        return Composed(self._out(product), self._out(log_scale))

    def transform(
        self, features: Float[Tensor, "... N D"], *, layers: Sequence[int] | None = None
    ) -> Path:
        """Features after every layer, or after the layers asked for.

        Args:
            features: (N, D); for P encoders (P, N, D), or (N, D) to give all of them the same. The
                dtype of the fitted feature. A zero feature stays zero, with log norm −∞.
            layers: layer numbers 0 … L to hold; all by default.

        Returns:
            :class:`Path` with directions (N, D_l) and log norms (layers, N).

        Raises:
            ShapeError: wrong width, dtype, device or number of encoders. BoundsError: NaN or an
                infinity.
            LayerError: a layer that the encoder does not have.

        Cost: one product (N, D)(D, k) per layer, and the drawing of weights that are not held.
        """
        held = self._check_layers(layers)
        direction, *factors = unit(self._check_features(features))
        directions, lengths = [direction], [factors]
        rows = self._rows()
        for at, (x, y) in zip(range(1, max(held) + 1), self._known(), strict=False):
            # no name for the rows: they are let go while others are drawn
            direction, *factors = unit(apply_rows(next(rows), x, y, direction))
            lengths.append(factors)
            directions.append(direction if at in held else direction[:0])
        scale, length = (torch.stack(factors) for factors in zip(*lengths, strict=True))
        log_norms = log_length(scale, length).cumsum(0)
        kept = tuple(self._out(directions[layer]) for layer in held)
        return Path(held, kept, self._out(log_norms[list(held)], 1), self.path.normalise)

    def rapidities(self, features: Float[Tensor, "... N D"]) -> Float[Tensor, "L1 ... N"]:
        """Rapidity of each feature from the fitted one, in nats, layer by layer.

        Args:
            features: as in :meth:`transform`.

        Returns:
            (L + 1, N). Grows by :func:`rapidity_rate` per layer, until rounding: about 16 nats in
            float32, 36 in float64.

        Cost: one :meth:`transform`.
        """
        both = zip(self.path.directions, self.transform(features).directions, strict=True)
        return torch.stack([from_fitted(torch.cat((x[..., None, :], it), -2)) for x, it in both])

    def _weights(self) -> Iterator[Tensor]:
        """W_1 … W_L with the axis P."""
        rows = self._rows()
        for x, y in self._known():
            yield set_readings(next(rows) if self._kept is None else next(rows).clone(), x, y)

    def _known(self) -> Iterator[tuple[Tensor, Tensor]]:
        """For each layer its x̂ (P, D) and its readings y (P, k)."""
        return zip(self._batched.directions[:-1], self._readings, strict=True)

    def _rows(self) -> Iterator[Tensor]:
        """For each layer rows (P, k, D) that are right across x̂."""
        if self._kept is not None:
            return iter(self._kept)
        start, width = self._batched.directions[0], self.selection.width
        numbers = len(start) * width * (start.shape[-1] + (self.depth - 1) * width)
        if numbers * start.element_size() > self._memory:
            return self._draw()
        self._kept = list(self._draw())
        return iter(self._kept)

    def _draw(self) -> Iterator[Tensor]:
        generator = torch.Generator(self._batched.directions[0].device)
        generator.set_state(self._state)
        for direction in self._batched.directions[:-1]:
            yield draw_noise(direction, self.selection.width, generator=generator)

    def _out(self, value: Tensor, axis: int = 0) -> Tensor:
        return value.select(axis, 0) if self._single else value

    def _check_layers(self, layers: Sequence[int] | None) -> tuple[int, ...]:
        depth = self.depth
        held = tuple(range(depth + 1)) if layers is None else tuple(sorted(set(layers)))
        if not held or held[0] < 0 or held[-1] > depth:
            raise LayerError(
                f"layers must be numbers from 0 (the input) to {depth}, at least one; got "
                f"{list(held)}."
            )
        return held

    def _check_features(self, features: Tensor) -> Tensor:
        """(P, N, D), or say what came."""
        own = self._batched.directions[0]
        encoders, width = own.shape
        fits = (
            isinstance(features, Tensor)
            and features.ndim in ((2,) if self._single else (2, 3))
            and features.shape[-1] == width
            and features.shape[:-2] in ((), (encoders,))
            and (features.dtype, features.device) == (own.dtype, own.device)
        )
        if not fits:
            rows = f"(N, {width})"
            expected = rows if self._single else f"({encoders}, N, {width}) or {rows}"
            raise ShapeError(
                f"Features must be {expected} {own.dtype} on {own.device}, as the fitted feature; "
                f"got {came(features)}."
            )
        check_finite("features", features)
        return features if features.ndim == 3 else features.expand(encoders, -1, -1)
