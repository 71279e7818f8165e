"""All passes over the fooled samples: effects along the path, exact ones, and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worldline.explain.carrying.attributing import margin, path_effects, unit_sizes
from worldline.explain.carrying.exact import exact_effects
from worldline.explain.carrying.places import Place
from worldline.explain.carrying.repairing import first_units, put_back
from worldline.explain.carrying.result import Direction, Order
from worldline.settings import Progress
from worldline.trace import Layer, Model, choices
from worldline.trace.resuming import Resumer, resuming

__all__ = ["Passes", "Seen", "Twins"]


@dataclass(frozen=True)
class Twins:
    """The fooled samples.

    Attributes:
        clean, adversarial, noise: (N, …) inputs.
        true, wrong: (N,) the classes of the margin.
    """

    clean: Tensor
    adversarial: Tensor
    noise: Tensor
    true: Tensor
    wrong: Tensor

    def __len__(self) -> int:
        return len(self.true)

    def part(self, start: int, size: int) -> Twins:
        """Some of them."""
        return Twins(*(it[start : start + size] for it in vars(self).values()))


@dataclass
class Seen:
    """What was seen of one layer.

    Attributes:
        counts: how many units are put back for the curves.
        effect, size: (N, U).
        path: (N, U) effects along the path; None without it.
        blind: whether no gradient reaches the layer.
        flags: by order, who is repaired (N, Q).
        whole, whole_repaired: (N,) how much of the margin comes back with all units, and who is
            repaired.
        around: modules whose values go around the layer.
        passed: whether the network can pass the layer by, as far as its graph tells.
    """

    counts: tuple[int, ...]
    effect: Tensor
    size: Tensor
    path: Tensor | None = None
    blind: bool = False
    flags: dict[Order, Tensor] = field(default_factory=dict)
    whole: Tensor | None = None
    whole_repaired: Tensor | None = None
    around: tuple[str, ...] = ()
    passed: bool = False


class Passes:
    """Runs them; :attr:`seen` holds what each layer gave.

    Args:
        model, places: where.
        counts: of each place, how many units are put back.
        twins: the N fooled samples.
        direction: which run is changed.
        seed: of the random orders.
        progress: is told.
    """

    def __init__(
        self,
        model: Model,
        places: Sequence[Place],
        counts: Sequence[tuple[int, ...]],
        twins: Twins,
        *,
        direction: Direction,
        seed: int,
        progress: Progress,
    ) -> None:
        self.model, self.places, self.twins = model, places, twins
        self.denoise, self.progress = direction == "denoise", progress
        self.clean = torch.zeros(len(twins), dtype=torch.float64)
        self.adversarial = torch.zeros(len(twins), dtype=torch.float64)
        self.seen = [
            Seen(some, _table(twins, place.units.count), _table(twins, place.units.count))
            for place, some in zip(places, counts, strict=True)
        ]
        generator = torch.Generator().manual_seed(seed)
        self.random = [
            torch.rand(len(twins), it.units.count, generator=generator).argsort(1) for it in places
        ]

    @property
    def change(self) -> Tensor:
        """(N,) m_clean − m_adversarial."""
        return self.clean - self.adversarial

    def attribute(self, points: int, size: int) -> None:
        """Effects along the path, of so many samples at a time."""
        for start in range(0, len(self.twins), size):
            here = slice(start, start + size)
            batch = self.twins.part(start, size)
            found = path_effects(
                self.model,
                batch.clean,
                batch.adversarial,
                batch.true,
                batch.wrong,
                self.places,
                points,
            )
            self.clean[here], self.adversarial[here] = found.clean, found.adversarial
            for position, seen in enumerate(self.seen):
                seen.effect[here] = found.effects[position]
                seen.size[here] = found.sizes[position]
                seen.blind |= found.blind[position]
            self.progress("Effects", min(start + size, len(self.twins)), len(self.twins))
        for seen in self.seen:
            seen.path = seen.effect.clone()

    def intervene(self, size: int, *, exact: bool) -> None:
        """Exact effects if wanted, and curves, of so many samples or rows at a time."""
        layers = [it.layer for it in self.places]
        with torch.no_grad(), resuming(self.model, self.twins.adversarial, layers) as resumer:
            for start in range(0, len(self.twins), size):
                self.put_back(resumer, start, size, exact=exact)
                self.progress("Putting back", min(start + size, len(self.twins)), len(self.twins))
            for place, seen in zip(self.places, self.seen, strict=True):
                seen.around = resumer.beside(place.layer)

    def put_back(self, resumer: Resumer, start: int, size: int, *, exact: bool) -> None:
        """What :meth:`intervene` does with one batch."""
        _Batch(self, resumer, start, size).run(exact=exact)


class _Batch:
    """Some samples: their runs in memory, and everything that is put back into them."""

    def __init__(self, passes: Passes, resumer: Resumer, start: int, size: int) -> None:
        self.passes, self.resumer, self.size = passes, resumer, size
        self.here = slice(start, start + size)
        self.twins = twins = passes.twins.part(start, size)
        pair = (twins.clean, twins.adversarial)
        donor, base = pair if passes.denoise else pair[::-1]
        given, self.donor = resumer.read(donor)
        self.noise = resumer.read(twins.noise)[1]
        logits, self.base = resumer.record(base)
        self.before, self.after = self._margin(logits), self._margin(given)
        ends = (self.after, self.before) if passes.denoise else (self.before, self.after)
        passes.clean[self.here], passes.adversarial[self.here] = (it.double().cpu() for it in ends)

    def run(self, *, exact: bool) -> None:
        """Of every layer."""
        for position, place in enumerate(self.passes.places):
            seen = self.passes.seen[position]
            if exact:
                base, donor = self.base[place.layer], self.donor[place.layer]
                seen.size[self.here] = unit_sizes(place.units, base, donor)
                seen.effect[self.here] = self._exact(place, base, donor)
            if seen.counts:
                self._all(place, seen)
                for name, (order, source) in self._orders(place.layer, position, exact).items():
                    self._curve(place, seen, name, order, source)

    def _exact(self, place: Place, base: Tensor, donor: Tensor) -> Tensor:
        effect = exact_effects(
            self.resumer,
            place,
            base,
            donor,
            self.twins.true,
            self.twins.wrong,
            before=self.before,
            batch_size=self.size,
        )
        return effect if self.passes.denoise else -effect

    def _orders(
        self, layer: Layer, position: int, exact: bool
    ) -> dict[Order, tuple[Tensor, Tensor]]:
        """The orders of the units (N, U), and whose values are put in."""
        seen, donor = self.passes.seen[position], self.donor[layer]
        by_effect = _descending(seen.effect[self.here])
        orders: dict[Order, tuple[Tensor, Tensor]] = {
            "carriers": (by_effect, donor),
            "random": (self.passes.random[position][self.here], donor),
            "change": (_descending(seen.size[self.here]), donor),
            "noise": (by_effect, self.noise[layer]),
        }
        if exact and seen.path is not None:
            orders["path"] = _descending(seen.path[self.here]), donor
        return orders

    def _all(self, place: Place, seen: Seen) -> None:
        """All units at once: what the layer holds."""
        everything = torch.ones(1, place.units.count, dtype=torch.bool)
        base, donor = self.base[place.layer], self.donor[place.layer]
        logits = put_back(self.resumer, place, base, donor, everything)
        if seen.whole is None or seen.whole_repaired is None:
            seen.whole, seen.whole_repaired = (torch.zeros_like(self.passes.clean) for _ in "ab")
        part = (self._margin(logits) - self.before) / (self.after - self.before)
        seen.whole[self.here] = part.double().cpu()
        seen.whole_repaired[self.here] = self._repaired(logits)

    def _curve(self, place: Place, seen: Seen, name: Order, order: Tensor, source: Tensor) -> None:
        """Who is repaired by the first units of an order."""
        table = seen.flags.setdefault(name, _table(self.passes.twins, len(seen.counts)))
        for column, count in enumerate(seen.counts):
            if count == place.units.count and name != "noise" and seen.whole_repaired is not None:
                table[self.here, column] = seen.whole_repaired[self.here]
                continue
            mask = first_units(order, count)
            logits = put_back(self.resumer, place, self.base[place.layer], source, mask)
            table[self.here, column] = self._repaired(logits)

    def _margin(self, logits: Tensor) -> Tensor:
        return margin(logits, self.twins.true, self.twins.wrong)

    def _repaired(self, logits: Tensor) -> Tensor:
        """Who is right again; in the direction ``noise``, who is wrong now."""
        return ((choices(logits) == self.twins.true) == self.passes.denoise).double().cpu()


def _table(twins: Twins, columns: int) -> Tensor:
    return torch.zeros(len(twins), columns, dtype=torch.float64)


def _descending(values: Tensor) -> Tensor:
    return values.argsort(dim=1, descending=True, stable=True)
