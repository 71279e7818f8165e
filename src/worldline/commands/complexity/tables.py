"""The tables of models' complexity: each column's title and value, said once for every form."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from worldline.commands.complexity.record import ComplexityReport, ModelComplexity
from worldline.explain import Dimension, LayerComplexity, LimitUse, Measure
from worldline.report.numbers import NONE, interval, number, share, significant
from worldline.report.views import Column, Table, tabulate
from worldline.statistics import Share, Summary

__all__ = ["KINDS", "known", "layers", "limits", "null", "ranking", "spectrum", "tables"]

KINDS = {
    "noise": "noise",
    "strangers": "strangers",
    "adversarial": "attacked",
    "matched_noise": "noise of its size",
}
Model = Column[ModelComplexity]
Layer = Column[LayerComplexity]
Limit = Column[LimitUse]
Parts = Mapping[str, Summary] | None
MODEL = Model("model", lambda it: it.model, words=True)
LAYER = Layer("layer", lambda it: f"{it.index} {it.name}", words=True)
WIDTH = Layer("width", lambda it: it.width)
EXCESS = Layer("damage beyond noise, nats", lambda it: it.excess_boost, interval=True)


def tables(record: ComplexityReport) -> tuple[Table, ...]:
    """What the terminal shows: all models, and the layers of the first of the ranking."""
    first = record.ranked[0]
    columns = (
        LAYER,
        WIDTH,
        *_of_kind("noise", "null", interval=False),
        *_of_kind("strangers", "null", interval=False),
        Layer("dim.", lambda it: it.dimension.participation, form=_one_place),
    )
    known = (MODEL, *(_measured(it.name) for it in first.known))
    return (
        tabulate(_scores(record), record.ranked, title="Answers that noise changes"),
        tabulate(known, record.ranked, title="The field's measures"),
        tabulate(
            columns,
            first.layers,
            title=f"{first.model}: median rapidity φ and boost by layer, nats (null: untrained)",
        ),
    )


def ranking(record: ComplexityReport) -> Table:
    """Models by the share of answers that noise changes, beside the field's measures."""
    known = (_measured(it.name) for it in record.models[0].known)
    return tabulate((*_scores(record), *known), record.ranked)


def _scores(record: ComplexityReport) -> tuple[Model, ...]:
    attacked = any(it.adversarial_accuracy is not None for it in record.models)
    return (
        MODEL,
        Model("answers that noise changes", lambda it: it.fragility.changed, interval=True),
        Model("total boost of noise, nats", lambda it: it.total_boost.get("noise"), interval=True),
        Model("right, clean", lambda it: it.clean_accuracy),
        *([Model("right, attacked", _attacked, interval=True)] if attacked else []),
    )


def _attacked(it: ModelComplexity) -> Share | None:
    return it.adversarial_accuracy


def layers(it: ModelComplexity) -> Table:
    """φ and boost of each kind of pairs by layer, beside the untrained network's; dimensions."""
    kinds = [kind for kind in KINDS if kind in it.pairs]
    columns = [LAYER, WIDTH]
    for kind in kinds:
        columns += _of_kind(kind, "untrained", interval=True)
    if "adversarial" in it.pairs:
        columns.append(EXCESS)
    columns += [
        Layer("participation ratio", lambda at: at.dimension.participation, form=_one_place),
        Layer("95% interval", lambda at: _between(at.dimension)),
        Layer("TwoNN", lambda at: at.dimension.two_nn, form=_one_place),
        Layer(
            "participation untrained",
            lambda at: None if (it := at.untrained_dimension) is None else it.participation,
            form=_one_place,
        ),
        Layer("remark", lambda at: at.dimension.status),
    ]
    return tabulate(columns, it.layers)


def limits(it: ModelComplexity) -> Table:
    """Speed limit of each linear layer, and what pairs use of it and of their plane's."""
    columns = [
        Limit("layer", lambda at: at.name, words=True),
        Limit("kind", lambda at: at.kind, words=True),
        Limit("speed limit ln κ, nats", lambda at: at.limit),
        Limit("remark", lambda at: at.status),
    ]
    for kind in (kind for kind in KINDS if kind in it.pairs):
        columns += _uses(kind)
    return tabulate(columns, it.limits)


def null(it: ModelComplexity) -> Table:
    """φ that random weights of infinite width would give, beside those that were drawn."""
    columns = [LAYER]
    for kind in ("noise", "strangers"):
        columns += [
            Layer(f"{KINDS[kind]}: predicted φ", _part(kind, lambda at: at.predicted_rapidity)),
            Layer("drawn φ", _part(kind, lambda at: at.untrained_raw_rapidity), interval=True),
        ]
    return tabulate(columns, it.layers)


def known(it: ModelComplexity) -> Table:
    """The field's measures, each with its untrained value and what it is."""
    columns = (
        Column[Measure]("measure", lambda at: at.name, words=True),
        Column[Measure]("what it is", _definition, words=True),
        Column[Measure]("value", lambda at: _short(at.value)),
        Column[Measure]("95% interval", lambda at: interval(at.interval, significant)),
        Column[Measure]("untrained", lambda at: _short(at.untrained)),
    )
    return tabulate(columns, it.known)


def spectrum(it: ModelComplexity) -> Table:
    """Singular values of the Jacobian and their exponents, trained and untrained."""
    values, exponents = it.spectrum.singular_values, it.spectrum.exponents
    fresh = it.untrained_spectrum.singular_values if it.untrained_spectrum else ()
    columns = (
        Column[int]("number", lambda at: str(at + 1)),
        Column[int](
            "singular value, median", lambda at: values[at], interval=True, form=significant
        ),
        Column[int]("exponent, nats a layer", lambda at: exponents[at]),
        Column[int](
            "untrained", lambda at: fresh[at] if at < len(fresh) else None, form=significant
        ),
    )
    return tabulate(columns, range(len(values)))


def _of_kind(kind: str, null: str, *, interval: bool) -> tuple[Layer, ...]:
    """φ, boost, and the boost of the untrained network, in a column called ``null``."""
    return (
        Layer(f"φ {KINDS[kind]}", _part(kind, lambda at: at.rapidity)),
        Layer("boost", _part(kind, lambda at: at.boost), interval=interval),
        Layer(null, _part(kind, lambda at: at.untrained_boost)),
    )


def _uses(kind: str) -> tuple[Limit, ...]:
    def of(read: Callable[[LimitUse], Parts]) -> Callable[[LimitUse], Summary | None]:
        return lambda at: (read(at) or {}).get(kind)

    return (
        Limit(f"{KINDS[kind]}: change, nats", of(lambda at: at.change)),
        Limit("share of the limit", of(lambda at: at.share), form=share),
        Limit("untrained", of(lambda at: at.untrained_share), form=share),
        Limit("plane's own limit, nats", of(lambda at: at.plane_limit)),
        Limit("share of it", of(lambda at: at.plane_share), form=share),
        Limit("untrained", of(lambda at: at.untrained_plane_share), form=share),
    )


def _part(
    kind: str, read: Callable[[LayerComplexity], Parts]
) -> Callable[[LayerComplexity], Summary | None]:
    return lambda at: (read(at) or {}).get(kind)


def _measured(name: str) -> Model:
    return Model(name, lambda it: _short({at.name: at.value for at in it.known}.get(name)))


def _definition(it: Measure) -> str:
    return it.definition if it.status == "measured" else f"{it.definition}. {it.status}"


def _between(it: Dimension) -> str:
    return interval(it.participation_interval, _one_place)


def _one_place(value: float) -> str:
    return number(value, 1)


def _short(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if float(value).is_integer() else significant(value, 4)
