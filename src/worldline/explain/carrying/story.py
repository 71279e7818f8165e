"""What in the network, and in the picture, carries an attack: units by effect, and their proof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks import noise_twin, predict
from worldline.errors import ModelError, UsageError
from worldline.explain.carrying.attributing import margin, path_effects
from worldline.explain.carrying.exact import exact_effects
from worldline.explain.carrying.places import Place, find_places
from worldline.explain.carrying.repairing import SHARES, counts_of, first_units, put_back
from worldline.explain.carrying.result import Carriers, Direction, Order
from worldline.explain.carrying.telling import Seen, layer_carriers
from worldline.explain.carrying.units import UnitKind
from worldline.inputs import check_inputs, check_settings, labels_of
from worldline.settings import DEFAULT, Settings
from worldline.statistics import Bootstrap
from worldline.trace import LayerChoice, Model, check_twins, choices, hidden_because, untouched
from worldline.trace.resuming import Resumer, resuming

__all__ = ["carriers"]

FEW = 20


def carriers(
    model: Model,
    x: Float[Tensor, "N ..."],
    adversarial: Float[Tensor, "N ..."],
    y: Int[Tensor, " N"],
    *,
    layers: LayerChoice | None = None,
    by: UnitKind = "channel",
    exact: bool = False,
    direction: Direction = "denoise",
    points: int = 10,
    shares: Sequence[float] = SHARES,
    noise: Tensor | None = None,
    resamples: int = 2000,
    settings: Settings = DEFAULT,
) -> Carriers:
    """Which units of each layer carry the attack from input to answer, and what shows it.

    The effect of a unit u is how much of the margin m = z_true − z_wrong comes back when a'_u ← a_u
    is put into the adversarial run; by default the part of it along the path,
    Σ_k ∂m/∂a_u(k) · (a_u(k+1) − a_u(k−1)) / 2, where the input goes from x' to x in ``points``
    steps. The proof is the repair curve: the first units of each sample are put back, and the
    share of samples that are right again is counted.

    Args:
        model: returns logits (N, K), or what holds them by the rule of
            :func:`worldline.trace.logits_in`.
        x, adversarial: (N, …) inputs and their adversarial twins, from any attack.
        y: (N,) labels.
        layers: names, globs, modules of the model, or one of these; default: at most 20, by stage
            (:func:`worldline.trace.find_layers`); for heads every attention.
        by: kind of unit: ``channel``, ``position``, ``token``, ``head``, ``neuron``, or ``auto``,
            by each layer's shape. At the input a unit is a pixel, all its channels together.
        exact: put back every unit by itself instead, which needs no gradient.
        direction: ``noise`` puts adversarial units into the clean run instead.
        points: steps of the path.
        shares: of the units, which are put back for the curves; none: no curves.
        noise: (N, …) the noise twins, a control; default
            :func:`worldline.attacks.noise_twin`.
        resamples: of the bootstrap.
        settings: bounds, batch size (at most), seed and progress. The seed is of the random order,
            the bootstrap and the noise twins.

    Returns:
        :class:`Carriers`, of the fooled samples: clean right, adversarial wrong. An effect of 0 is
        none; the effects of a layer that cuts the network add up to m_clean − m_adversarial.

    Raises:
        ModelError: nothing is fooled; the model gives no gradients (and exact effects are offered).
        ShapeError, BoundsError, LabelError, LayerError, UsageError: what was given does not fit.

    Cost: ``points`` + 1 forward and backward passes over the fooled samples; for the curves one
    forward pass from the layer on for each share and order; exact: one from the layer on for each
    unit. Source: activation patching; the path's effects are the layer conductance of Dhamdhere et
    al. (arXiv:1805.12233) between twins.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("mlp"), wl.zoo.digits()
    >>> x, y = data.x[:60], data.y[:60]
    >>> found = wl.explain.carriers(model, x, wl.attacks.PGD(epsilon=0.15)(model, x, y).x, y)
    >>> layer = found["relu2"]
    >>> layer.trust, bool(layer.completeness.median < 0.01)
    ('ok', True)
    """
    check_settings(settings)
    check_inputs(x, settings.bounds)
    y = labels_of(y, len(x)).to(x.device)
    check_twins(x, adversarial=adversarial, **({} if noise is None else {"noise": noise}))
    _check(direction, points)
    places = find_places(model, x, layers, by)
    counts = [counts_of(shares, it.units.count) for it in places]
    rows, true, wrong, notes = _fooled(model, x, adversarial, y, settings)
    clean, attacked = x[rows], adversarial[rows]
    if noise is None:
        generator = torch.Generator().manual_seed(settings.seed)
        noise = noise_twin(clean, attacked, bounds=settings.bounds, generator=generator)
    else:
        noise = noise[rows]
    run = _Run(model, places, counts, true, wrong, direction, settings)
    with untouched(model):
        if not exact:
            run.attribute(clean, attacked, points)
        elif not _without_gradients(run, clean, attacked, points):
            notes.append(
                "The model gives no gradients: effects are exact, and none of the path stands "
                "beside them."
            )
        with torch.no_grad():
            run.intervene(clean, attacked, noise, exact)
    bootstrap = Bootstrap(len(rows), resamples=resamples, seed=settings.seed)
    found = [
        layer_carriers(index, place, seen, run.change, bootstrap)
        for index, (place, seen) in enumerate(zip(places, run.seen, strict=True))
    ]
    return Carriers(
        layers=tuple(found),
        by=by,
        direction=direction,
        exact=exact,
        points=points if run.seen[0].path is not None else None,
        given=len(x),
        rows=rows.cpu(),
        true=true.cpu(),
        wrong=wrong.cpu(),
        margin_clean=run.margin_clean,
        margin_adversarial=run.margin_adversarial,
        noise=noise,
        batch_size=settings.batch_size,
        notes=tuple(notes),
    )


def _check(direction: str, points: int) -> None:
    if direction not in get_args(Direction):
        names = ", ".join(get_args(Direction))
        raise UsageError(f"Unknown direction {direction!r}; choose one of {names}.")
    if points < 1:
        raise UsageError(f"A path has at least one step; got points={points}.")


def _fooled(
    model: Model, x: Tensor, adversarial: Tensor, y: Tensor, settings: Settings
) -> tuple[Tensor, Tensor, Tensor, list[str]]:
    """Rows that are fooled, their labels and wrong classes, and notes."""
    logits = [predict(model, it, batch_size=settings.batch_size) for it in (x, adversarial)]
    labels_of(y, len(x), classes=logits[0].shape[1])
    before, after = (choices(it).to(x.device) for it in logits)
    fooled = (before == y) & (after != y) & (after >= 0)
    rows = fooled.nonzero().flatten()
    if not len(rows):
        right = int((before == y).sum())
        raise ModelError(
            f"No sample is fooled: of {len(x)} the model gets {right} right, and all of these "
            "under the attack too, so nothing carries one. Attack with a larger budget, or give "
            "more samples."
        )
    notes = []
    hidden = hidden_because(model)
    if hidden:
        notes.append(f"Only the input and the output are looked at: {hidden}.")
    if len(rows) < FEW:
        notes.append(
            f"Only {len(rows)} sample{'s are' if len(rows) > 1 else ' is'} fooled (fewer than "
            f"{FEW}): read the shares with care."
        )
    undefined = int(((before < 0) | (after < 0)).sum())
    if undefined:
        notes.append(
            f"{undefined:,} of {len(x):,} samples have an output of NaN, clean or attacked: they "
            "do not count as fooled."
        )
    return rows, y[rows], after[rows], notes


class _Run:
    """All passes over the fooled samples."""

    def __init__(
        self,
        model: Model,
        places: Sequence[Place],
        counts: Sequence[tuple[int, ...]],
        true: Tensor,
        wrong: Tensor,
        direction: Direction,
        settings: Settings,
    ) -> None:
        self.model, self.places, self.direction, self.settings = model, places, direction, settings
        self.true, self.wrong = true, wrong
        samples = len(true)
        self.margin_clean = torch.zeros(samples, dtype=torch.float64)
        self.margin_adversarial = torch.zeros(samples, dtype=torch.float64)
        self.seen = [
            Seen(
                count,
                torch.zeros(samples, place.units.count, dtype=torch.float64),
                torch.zeros(samples, place.units.count, dtype=torch.float64),
            )
            for place, count in zip(places, counts, strict=True)
        ]
        generator = torch.Generator().manual_seed(settings.seed)
        self.random = [
            torch.rand(samples, it.units.count, generator=generator).argsort(1) for it in places
        ]

    @property
    def change(self) -> Tensor:
        """(N,) m_clean − m_adversarial."""
        return self.margin_clean - self.margin_adversarial

    def attribute(self, clean: Tensor, adversarial: Tensor, points: int) -> None:
        """Effects along the path."""
        step = max(1, self.settings.batch_size // (points + 1))
        parts = []
        for start in range(0, len(clean), step):
            here = slice(start, start + step)
            batch = clean[here], adversarial[here], self.true[here], self.wrong[here]
            parts.append(path_effects(self.model, *batch, self.places, points))
            self.settings.progress("Effects", min(start + step, len(clean)), len(clean))
        for seen, found in zip(self.seen, zip(*parts, strict=True), strict=True):
            seen.path = torch.cat(found)

    def intervene(self, clean: Tensor, adversarial: Tensor, noise: Tensor, exact: bool) -> None:
        """Exact effects if wanted, sizes and curves."""
        step = self.settings.batch_size
        layers = [it.layer for it in self.places]
        with resuming(self.model, adversarial, layers) as resumer:
            for start in range(0, len(clean), step):
                here = slice(start, min(start + step, len(clean)))
                _Batch(self, resumer, here, clean[here], adversarial[here], noise[here])(exact)
                self.settings.progress("Putting back", here.stop, len(clean))
            for place, seen in zip(self.places, self.seen, strict=True):
                seen.around = resumer.beside(place.layer)


class _Batch:
    """One batch of samples: its runs in memory, and everything put back into them."""

    def __init__(
        self,
        run: _Run,
        resumer: Resumer,
        here: slice,
        clean: Tensor,
        adversarial: Tensor,
        noise: Tensor,
    ) -> None:
        self.run, self.resumer, self.here = run, resumer, here
        self.true, self.wrong = run.true[here], run.wrong[here]
        denoise = run.direction == "denoise"
        base, donor = (adversarial, clean) if denoise else (clean, adversarial)
        other = margin(resumer.record(donor), self.true, self.wrong)
        self.before = margin(resumer.record(base), self.true, self.wrong)
        self.way = other - self.before
        pair = (other, self.before) if denoise else (self.before, other)
        run.margin_clean[here], run.margin_adversarial[here] = (it.double().cpu() for it in pair)
        self.base, self.donor, self.noise = (resumer.values(it) for it in (base, donor, noise))

    def __call__(self, exact: bool) -> None:
        for position, place in enumerate(self.run.places):
            seen, layer = self.run.seen[position], place.layer
            base, donor = self.base[layer], self.donor[layer]
            squares = (base.double() - donor.double()) ** 2
            seen.size[self.here] = place.units.sums(squares).sqrt().cpu()
            if exact:
                sign = 1.0 if self.run.direction == "denoise" else -1.0
                seen.effect[self.here] = sign * exact_effects(
                    self.resumer,
                    place,
                    base,
                    donor,
                    self.true,
                    self.wrong,
                    before=self.before,
                    batch_size=self.run.settings.batch_size,
                )
            elif seen.path is not None:
                seen.effect[self.here] = seen.path[self.here]
            if seen.counts:
                self._curves(place, position, exact and seen.path is not None)

    def _curves(self, place: Place, position: int, compare: bool) -> None:
        seen, here = self.run.seen[position], self.here
        base, donor = self.base[place.layer], self.donor[place.layer]
        by_effect = _descending(seen.effect[here])
        orders: dict[Order, tuple[Tensor, Tensor]] = {
            "carriers": (by_effect, donor),
            "random": (self.run.random[position][here], donor),
            "change": (_descending(seen.size[here]), donor),
            "noise": (by_effect, self.noise[place.layer]),
        }
        if compare and seen.path is not None:
            orders["path"] = _descending(seen.path[here]), donor
        everything = torch.ones(1, place.units.count, dtype=torch.bool)
        logits = put_back(self.resumer, place, base, donor, everything)
        whole = self._repaired(logits)
        part = (margin(logits, self.true, self.wrong) - self.before) / self.way
        seen.all_back = _set(seen.all_back, self.run, here, part)
        seen.all_repaired = _set(seen.all_repaired, self.run, here, whole)
        for name, (order, source) in orders.items():
            for column, count in enumerate(seen.counts):
                if count == place.units.count and source is donor:
                    flags = whole
                else:
                    mask = first_units(order, count)
                    flags = self._repaired(put_back(self.resumer, place, base, source, mask))
                table = seen.flags.setdefault(
                    name, torch.zeros(len(self.run.true), len(seen.counts), dtype=torch.float64)
                )
                table[here, column] = flags.double().cpu()

    def _repaired(self, logits: Tensor) -> Tensor:
        right = choices(logits) == self.true
        return right if self.run.direction == "denoise" else ~right


def _descending(values: Tensor) -> Tensor:
    return values.argsort(dim=1, descending=True, stable=True)


def _set(table: Tensor | None, run: _Run, here: slice, values: Tensor) -> Tensor:
    table = torch.zeros(len(run.true), dtype=torch.float64) if table is None else table
    table[here] = values.double().cpu()
    return table


def _without_gradients(run: _Run, clean: Tensor, adversarial: Tensor, points: int) -> bool:
    try:
        run.attribute(clean, adversarial, points)
    except (ModelError, RuntimeError):
        return False
    return True
