"""What in the network, and in the picture, carries an attack: units by effect, and their proof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks import noise_twin, predict
from worldline.errors import ModelError, UsageError
from worldline.explain.carrying.attributing import NO_GRADIENT
from worldline.explain.carrying.passes import Passes, Twins
from worldline.explain.carrying.places import find_places
from worldline.explain.carrying.planning import plan_answers, plan_sizes
from worldline.explain.carrying.repairing import SHARES, counts_of
from worldline.explain.carrying.result import Carriers, Direction, LayerCarriers
from worldline.explain.carrying.telling import layer_carriers
from worldline.explain.carrying.units import UnitKind
from worldline.inputs import check_inputs, check_settings, labels_of, logits_of
from worldline.settings import DEFAULT, Settings
from worldline.statistics import Bootstrap
from worldline.trace import (
    LayerChoice,
    Model,
    check_twins,
    choices,
    hidden_because,
    modules_behind,
    passed_by,
    untouched,
)

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
    path: bool | None = None,
    direction: Direction = "denoise",
    points: int = 10,
    shares: Sequence[float] = SHARES,
    noise: Tensor | None = None,
    memory: int | None = None,
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
        path: whether effects of the path are taken; default: where they are not exact. Both put
            the path's beside the exact ones, as ``path_effect``, ``agreement`` and a curve.
        direction: ``noise`` puts adversarial units into the clean run instead.
        points: steps of the path.
        shares: of the units, which are put back for the curves; none: no curves.
        noise: (N, …) the noise twins, a control; default
            :func:`worldline.attacks.noise_twin`.
        memory: bytes over the model and the given data, kept by smaller batches; default: no limit.
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
    path = not exact if path is None else path
    if not (path or exact):
        raise UsageError("Nothing is asked for: pass path=True, exact=True, or neither.")
    places = find_places(model, x, layers, by)
    counts = [counts_of(shares, it.units.count) for it in places]
    at_once = plan_answers(model, x, memory=memory, batch_size=settings.batch_size)
    rows, true, wrong, notes = _fooled(model, x, adversarial, y, at_once)
    clean, attacked = x[rows], adversarial[rows]
    if noise is None:
        generator = torch.Generator().manual_seed(settings.seed)
        noise = noise_twin(clean, attacked, bounds=settings.bounds, generator=generator)
    else:
        noise = noise[rows]
    twins = Twins(clean, attacked, noise, true, wrong)
    with _frozen(model):
        if path and not _has_gradients(model, clean[:1]):
            raise ModelError(NO_GRADIENT)
        along, back = plan_sizes(
            model,
            places,
            twins,
            points=points,
            path=path,
            memory=memory,
            batch_size=settings.batch_size,
        )
        run = Passes(
            model,
            places,
            counts,
            twins,
            direction=direction,
            seed=settings.seed,
            progress=settings.progress,
        )
        if path:
            run.attribute(points, along)
        if exact or any(counts):
            run.intervene(back, exact=exact)
    if path and not any(counts):
        for seen, passed in zip(
            run.seen, passed_by(model, clean, [it.layer for it in places]), strict=True
        ):
            seen.passed = passed
    if memory is not None:
        notes.append(
            f"{memory / 1e6:,.0f} MB of memory were allowed: the paths of {along} samples at a "
            f"time, and batches of {back}."
        )
    bootstrap = Bootstrap(len(rows), resamples=resamples, seed=settings.seed)
    found = [
        layer_carriers(index, place, seen, run.change, bootstrap)
        for index, (place, seen) in enumerate(zip(places, run.seen, strict=True))
    ]
    notes.extend(_incomplete(found, points))
    return Carriers(
        layers=tuple(found),
        by=by,
        direction=direction,
        exact=exact,
        points=points if path else None,
        given=len(x),
        rows=rows.cpu(),
        true=true.cpu(),
        wrong=wrong.cpu(),
        margin_clean=run.clean,
        margin_adversarial=run.adversarial,
        noise=noise,
        batch_size=back,
        notes=tuple(notes),
    )


def _incomplete(found: Sequence[LayerCarriers], points: int) -> list[str]:
    """That effects do not add up, and what helps."""
    names = [it.name for it in found if it.trust == "incomplete"]
    if not names:
        return []
    return [
        f"The effects of the path do not add up to within 1 % at {', '.join(names)}: the twins lie "
        f"far apart for {points} steps. Pass points={4 * points}, or exact=True."
    ]


def _check(direction: str, points: int) -> None:
    if direction not in get_args(Direction):
        names = ", ".join(get_args(Direction))
        raise UsageError(f"Unknown direction {direction!r}; choose one of {names}.")
    if points < 1:
        raise UsageError(f"A path has at least one step; got points={points}.")


@contextmanager
def _frozen(model: Model) -> Iterator[None]:
    """The model as it was afterwards; no gradient of its parameters is wanted meanwhile."""
    with untouched(model):
        for module in modules_behind(model):
            for parameter in module.parameters():  # of a scripted module it is done one by one
                parameter.requires_grad_(False)
        yield


def _has_gradients(model: Model, x: Tensor) -> bool:
    """Whether the logits depend on the input in a way that gradients see."""
    with torch.enable_grad():
        return logits_of(model, x.clone().requires_grad_()).requires_grad


def _fooled(
    model: Model, x: Tensor, adversarial: Tensor, y: Tensor, batch_size: int
) -> tuple[Tensor, Tensor, Tensor, list[str]]:
    """Rows that are fooled, their labels and wrong classes, and notes."""
    logits = [predict(model, it, batch_size=batch_size) for it in (x, adversarial)]
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
