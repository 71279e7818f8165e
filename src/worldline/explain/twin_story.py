"""Where in the network an adversarial twin leaves its clean twin and joins another class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks import noise_twin
from worldline.errors import ShapeError
from worldline.explain.boosts import excess_boost
from worldline.explain.sides import (
    SwapLayer,
    moved,
    moved_share,
    side_for_good,
    swap_layer,
    wrong_side,
)
from worldline.explain.untrained_network import untrained_or_note
from worldline.geometry import proper_depth
from worldline.inputs import check_inputs, check_settings, labels_of, logits_of, set_apart
from worldline.notebook import as_html
from worldline.settings import DEFAULT, FrameName, Progress, Settings, Tokens
from worldline.statistics import Bootstraps, Share, Summary
from worldline.trace import (
    COMPARISONS,
    Comparison,
    Layer,
    LayerChoice,
    Model,
    Plan,
    Reference,
    TwinTrace,
    Unseen,
    check_twins,
    hidden_because,
    passed_by,
    pick_layers,
    plan_memory,
    trace_reference,
    trace_twins,
    unseen_layers,
    untouched,
)

__all__ = ["FEW", "LayerStory", "ProperDepths", "Rapidities", "TwinStory", "twins"]

FEW = 20
"""Under this many fooled samples a story says that it rests on few."""


@dataclass(frozen=True)
class Rapidities:
    """Distributions of φ at one layer.

    Attributes:
        adversarial_clean, noise_clean: of a twin to the clean sample.
        adversarial_true, adversarial_wrong: to the class means of the label and of the wrong class.
        noise_true, noise_wrong: the same of the noise twin.
    """

    adversarial_clean: Summary
    noise_clean: Summary
    adversarial_true: Summary
    adversarial_wrong: Summary
    noise_true: Summary
    noise_wrong: Summary


@dataclass(frozen=True)
class ProperDepths:
    """Distributions of Σ sin θ over the layers, of each twin to the clean sample.

    Between 0 (the network never tells the two apart) and the number of layers.
    """

    adversarial_clean: Summary
    noise_clean: Summary


@dataclass(frozen=True)
class LayerStory:
    """What happens at one layer, over the fooled samples.

    Attributes:
        index, name, kind, width: which layer, from 0, the input; the class of its module; features.
        tokens: what became of values (N, T, D); None for other shapes.
        wrong_side: share of adversarial twins on the wrong side: nearer to the mean of the
            adversarial class than to that of the true class.
        clean_wrong_side: the same of their clean samples, with the same two means.
        moved_share: the difference of the two in [−1, 1], with its paired interval: what the attack
            moved.
        noise_wrong_side: the same of the noise twins (control).
        misclassified_wrong_side: the same of clean samples that the model gets wrong by itself,
            with the class that the model prefers (control).
        rapidity: φ of the twins to the clean sample and to the class means.
        untrained_rapidity: the same on the untrained network; None without it.
        excess_boost: distribution of the boost of the adversarial twin minus that of the noise
            twin, where boost = φ to the clean twin at the layer before − φ here. Positive: this
            layer drives the attacked twin apart more than noise of the same size. None at layer 0.
        projected_to: m, where the class means went through a random projection to m numbers; None
            where they are exact.
        projection_standard_error: what the projection adds to a rapidity with a class mean, at
            most 1/√m; to its correlation (1 − ρ²)/√m. It is common to all samples, and not in the
            intervals. None where the means are exact.
    """

    index: int
    name: str
    kind: str
    width: int
    tokens: Tokens | None
    wrong_side: Share
    clean_wrong_side: Share
    moved_share: Share
    noise_wrong_side: Share
    misclassified_wrong_side: Share
    rapidity: Rapidities = field(metadata={"unit": "nats"})
    untrained_rapidity: Rapidities | None = field(metadata={"unit": "nats"})
    excess_boost: Summary | None = field(metadata={"unit": "nats"})
    projected_to: int | None = None
    projection_standard_error: float | None = field(default=None, metadata={"unit": "nats"})


@dataclass(frozen=True)
class TwinStory:
    """The story of all twins.

    Attributes:
        layers: one :class:`LayerStory` a layer.
        frame: the frame that all rapidities are seen from.
        fooled: (N,) clean sample right, adversarial twin wrong; the statistics are over these.
        misclassified: (N,) clean sample wrong by itself; an output of NaN is neither.
        swap_layer: for the population; None where there is none, and then no layer may be named.
        wrong_side_from: (N,) the layer index from which this sample's twin is on the wrong side for
            good; −1: never. A sample's own, and no swap layer: the clean sample may stand there
            too.
        proper_depth: how many layers' worth of depth the network tells twins apart.
        untrained_proper_depth: the same on the untrained network; None without it.
        trace: rapidities by sample and layer.
        untrained_trace: the same on the untrained network.
        kept: parametrised modules that the untrained network could not reset.
        rows: (N,) which of the given samples these are (all, unless some became the reference).
        noise: (N, …) the noise twins.
        plan: batch size and projection, as memory allowed.
        notes: what a reader must know before believing it.
    """

    layers: tuple[LayerStory, ...]
    frame: FrameName
    fooled: Tensor
    misclassified: Tensor
    swap_layer: SwapLayer | None
    wrong_side_from: Tensor
    proper_depth: ProperDepths
    untrained_proper_depth: ProperDepths | None
    trace: TwinTrace
    untrained_trace: TwinTrace | None
    kept: tuple[str, ...]
    rows: Tensor
    noise: Tensor
    plan: Plan
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        """A short table for notebooks."""
        swap = "at no layer" if self.swap_layer is None else f"from {self.swap_layer.name} on"
        sentence = (
            f"{int(self.fooled.sum())} of {len(self.fooled)} samples are fooled; the attack has "
            f"surely moved more than half of their twins to the wrong side {swap}."
        )
        heads = ("adversarial–clean", "noise–clean", "adversarial–wrong class")
        rows = [
            (
                it.name,
                it.rapidity.adversarial_clean.median,
                it.rapidity.noise_clean.median,
                it.rapidity.adversarial_wrong.median,
                it.wrong_side.value,
                it.moved_share.value,
            )
            for it in self.layers
        ]
        titles = ("layer", *(f"median φ, {head}" for head in heads))
        return as_html(sentence, (*titles, "wrong side", "moved by the attack"), rows)


def twins(
    model: Model,
    x: Float[Tensor, "N ..."],
    adversarial: Float[Tensor, "N ..."],
    y: Int[Tensor, " N"],
    *,
    reference: tuple[Tensor, Tensor] | None = None,
    noise: Tensor | None = None,
    layers: LayerChoice | None = None,
    tokens: Tokens = "flatten",
    null: bool = True,
    memory: int | None = None,
    resamples: int = 2000,
    settings: Settings = DEFAULT,
) -> TwinStory:
    """Follow every sample, its adversarial twin and its noise twin through the layers.

    For each layer, φ = artanh ρ of adversarial–clean, noise–clean, adversarial–mean of the true
    class and adversarial–mean of the wrong class, over the fooled samples; the share on the wrong
    side, and how much of it the attack moved; the excess boost; and φ on the untrained network.

    Args:
        model: returns logits (N, K), or what holds them by the rule of
            :func:`worldline.trace.logits_in`.
        x, adversarial: (N, …) inputs and their adversarial twins, from any attack.
        y: (N,) labels.
        reference: inputs and labels that the attack did not see, for frames and class means.
            Default: every second sample of each class is set apart as the reference and the story
            is about the others; ``rows`` says which.
        noise: (N, …) the noise twins; default :func:`worldline.attacks.noise_twin`.
        layers: names, globs, modules of the model, or one of these; default: at most 20, by stage
            (:func:`worldline.trace.find_layers`).
        tokens: what becomes of values (N, T, D): ``flatten``, ``cls``, ``mean`` or ``token``; see
            :func:`worldline.trace.find_layers`.
        null: also trace the untrained network of the same shape.
        memory: bytes over the model and the given data; smaller batches, and class means of wide
            layers projected, keep within it (:func:`worldline.trace.plan_memory`). Default: no
            limit.
        resamples: of the bootstrap.
        settings: bounds, frame, batch size (at most), seed and progress. The seed is of the
            bootstrap, the noise twins and the untrained weights.

    Returns:
        A :class:`TwinStory`. Without any fooled sample its summaries are empty, and it says so;
        under 20 it says so too.

    Raises:
        ShapeError, BoundsError, LabelError, ModelError, LayerError, UsageError: what was given does
        not fit; each says what to do, before any work.

    Cost: forward passes over the reference and three times over the samples, twice with the null;
        no gradient.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> found = wl.attacks.PGD(epsilon=0.15)(model, data.x, data.y)
    >>> story = wl.explain.twins(model, data.x, found.x, data.y)
    >>> story.swap_layer.name
    'logits'
    """
    check_settings(settings)
    check_inputs(x, settings.bounds)
    y = labels_of(y, len(x))
    check_twins(x, adversarial=adversarial, **({} if noise is None else {"noise": noise}))
    with untouched(model), torch.no_grad():
        classes = logits_of(model, x[:2]).shape[1]
    rows = torch.arange(len(x))
    notes: list[str] = []
    if reference is None:
        rows, apart = set_apart(y)
        if len(apart) < 2:
            raise ShapeError(
                f"Too few samples ({len(x)}) to set some apart as the reference. Pass "
                f"reference=(x, y)."
            )
        reference = x[apart], y[apart]
        notes.append(
            f"No reference data was given: {len(apart)} of the {len(x)} samples became the "
            "reference for the class means, and the story is about the others."
        )
        x, adversarial, y = x[rows], adversarial[rows], y[rows]
        noise = None if noise is None else noise[rows]
    check_inputs(reference[0], settings.bounds)
    labels_of(y, len(x), classes=classes)
    reference = reference[0], labels_of(reference[1], len(reference[0]), classes=classes)
    if noise is None:
        generator = torch.Generator().manual_seed(settings.seed)
        noise = noise_twin(x, adversarial, bounds=settings.bounds, generator=generator)
    chosen = pick_layers(model, x, layers, tokens=tokens)
    plan = plan_memory(
        model,
        x,
        chosen,
        classes=classes,
        memory=memory,
        frame=settings.frame,
        batch_size=settings.batch_size,
        copies=2 if null else 1,
    )
    notes.extend(_notes_of(model, plan, memory, chosen))
    notes.extend(_unseen(unseen_layers(model, x)))

    def trace(network: Model, stage: str, wrong: Tensor | None) -> TwinTrace:
        within = replace(
            settings, batch_size=plan.batch_size, progress=_under(stage, settings.progress)
        )
        means = trace_reference(
            network,
            *reference,
            chosen,
            classes=classes,
            project_to=plan.project_to,
            settings=within,
        )
        if network is model:
            notes.extend(_left_out(means, chosen, len(reference[0])))
        return trace_twins(
            network,
            x,
            noise,
            adversarial,
            y,
            means,
            chosen,
            wrong=wrong,
            batch_size=within.batch_size,
            progress=within.progress,
        )

    trained = trace(model, "Tracing", None)
    fresh, kept = untrained_or_note(model, settings.seed, notes) if null else (None, ())
    null_trace = None if fresh is None else trace(fresh, "Untrained null", trained.wrong)
    branches = passed_by(model, x, chosen)
    told = _Telling(trained, null_trace, y.cpu(), Bootstraps(resamples, settings.seed), branches)
    notes.extend(told.notes(reference[1], classes))
    return TwinStory(
        layers=told.layers(),
        frame=settings.frame,
        fooled=told.fooled,
        misclassified=told.misclassified,
        swap_layer=swap_layer([it.name for it in chosen], told.change, told.bootstrap, branches),
        wrong_side_from=told.wrong_side_from,
        proper_depth=told.proper_depth(trained),
        untrained_proper_depth=None if null_trace is None else told.proper_depth(null_trace),
        trace=trained,
        untrained_trace=null_trace,
        kept=kept,
        rows=rows,
        noise=noise,
        plan=plan,
        notes=tuple(notes),
    )


def _under(stage: str, progress: Progress) -> Progress:
    return lambda part, done, total: progress(f"{stage}, {part}", done, total)


def _notes_of(model: Model, plan: Plan, memory: int | None, chosen: Sequence[Layer]) -> list[str]:
    """What memory made of the trace, and what of the model cannot be seen."""
    notes = []
    hidden = hidden_because(model)
    if hidden:
        notes.append(f"Only the input and the output are traced: {hidden}.")
    if memory is not None:
        wide = sum(
            1 for layer in chosen if plan.project_to is not None and layer.width > plan.project_to
        )
        notes.append(
            f"{memory / 1e6:,.0f} MB of memory were allowed: batches of {plan.batch_size} inputs."
        )
        if wide and plan.project_to is not None:
            error = 1 / plan.project_to**0.5
            notes.append(
                f"Class means of {wide} of {len(chosen)} layers went through a random projection "
                f"to {plan.project_to:,} numbers: rapidities with class means have a standard "
                f"error of at most {error:.3f} nats (correlations: {error:.3f}·(1 − ρ²)). "
                "Rapidities between twins are exact."
            )
    return notes


def _unseen(unseen: Sequence[Unseen]) -> list[str]:
    """Which modules are no layers, by reason; at most three of a kind by name."""
    reasons: dict[str, list[str]] = {}
    for it in unseen:
        reasons.setdefault(it.reason, []).append(it.module)
    said = []
    for reason, names in reasons.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        said.append(f"{', '.join(names[:3])}{more} ({reason})")
    were = "1 module was" if len(unseen) == 1 else f"{len(unseen)} modules were"
    return [f"{were} not seen: {'; '.join(said)}."] if said else []


def _left_out(means: Sequence[Reference], layers: Sequence[Layer], samples: int) -> list[str]:
    """That reference samples with features of NaN count nowhere."""
    most, name = max(
        ((it.left_out, layer.name) for it, layer in zip(means, layers, strict=True)),
        key=lambda pair: pair[0],
    )
    if not most:
        return []
    return [
        f"{most:,} of {samples:,} reference samples have features of NaN or infinity (at layer "
        f"{name}): they are left out of the class means there."
    ]


SHOWN: tuple[Comparison, ...] = COMPARISONS[: len(fields(Rapidities))]
TO_CLEAN: tuple[Comparison, ...] = COMPARISONS[: len(fields(ProperDepths))]


class _Telling:
    """From rapidities by sample and layer to what is told of the fooled samples."""

    def __init__(
        self,
        trained: TwinTrace,
        null: TwinTrace | None,
        y: Tensor,
        bootstraps: Bootstraps,
        branches: Sequence[bool],
    ) -> None:
        self.trained, self.null, self.y, self.bootstraps = trained, null, y, bootstraps
        clean, adversarial = trained.predictions["clean"], trained.predictions["adversarial"]
        self.right = clean == y
        self.fooled = self.right & (adversarial != y) & (adversarial >= 0)
        self.misclassified = ~self.right & (clean >= 0)
        self.undefined = int(((clean < 0) | (adversarial < 0)).sum())
        self.bootstrap = bootstraps.of(int(self.fooled.sum()))
        seen = trained.rapidity
        side = wrong_side(seen["adversarial_wrong"], seen["adversarial_true"])  # (N, L)
        self.wrong_side_from = side_for_good(side, branches)
        self.adversarial = side[self.fooled]
        self.clean = wrong_side(seen["clean_wrong"], seen["clean_true"])[self.fooled]
        self.noise = wrong_side(seen["noise_wrong"], seen["noise_true"])[self.fooled]
        self.change = moved(self.adversarial, self.clean)

    def layers(self) -> tuple[LayerStory, ...]:
        """One story a layer."""
        shares = self.bootstrap.share_columns
        own = wrong_side(self.trained.rapidity["clean_rival"], self.trained.rapidity["clean_true"])
        wrong, clean, noise = shares(self.adversarial), shares(self.clean), shares(self.noise)
        own = own[self.misclassified]
        misclassified = self.bootstraps.of(len(own)).share_columns(own)
        moved_shares = moved_share(self.change, self.bootstrap)
        rapidity = self._by_layer(self.trained)
        untrained = None if self.null is None else self._by_layer(self.null)
        twins = (self.trained.rapidity[name][self.fooled] for name in TO_CLEAN)
        excess = (None, *self.bootstrap.summaries(excess_boost(*twins)))
        return tuple(
            LayerStory(
                index=index,
                name=layer.name,
                kind=layer.kind,
                width=layer.width,
                tokens=layer.reduction,
                wrong_side=wrong[index],
                clean_wrong_side=clean[index],
                moved_share=moved_shares[index],
                noise_wrong_side=noise[index],
                misclassified_wrong_side=misclassified[index],
                rapidity=rapidity[index],
                untrained_rapidity=None if untrained is None else untrained[index],
                excess_boost=excess[index],
                projected_to=(width := self.trained.projected_to[index]),
                projection_standard_error=None if width is None else 1 / width**0.5,
            )
            for index, layer in enumerate(self.trained.layers)
        )

    def proper_depth(self, trace: TwinTrace) -> ProperDepths:
        """Of both twins to the clean one; undefined where any layer's pair is."""
        return ProperDepths(
            *(
                self.bootstrap.summary(proper_depth(trace.rapidity[name][self.fooled]))
                for name in TO_CLEAN
            )
        )

    def notes(self, reference: Tensor, classes: int) -> list[str]:
        """That there are few samples, which outputs name no class, and which classes no mean."""
        notes = []
        count = len(self.change)
        if not count:
            notes.append("No sample is fooled: there is no story to tell.")
        elif count < FEW:
            notes.append(
                f"Only {count} sample{'s are' if count > 1 else ' is'} fooled (fewer than {FEW}): "
                "read the quantiles with care."
            )
        if self.undefined:
            notes.append(
                f"{self.undefined:,} of {len(self.y):,} samples have an output of NaN, clean or "
                "attacked: they count neither as fooled nor as held."
            )
        missing = set(range(classes)) - set(reference.tolist())
        met = set(self.y[self.fooled].tolist()) | set(self.trained.wrong[self.fooled].tolist())
        if missing & met:
            names = ", ".join(map(str, sorted(missing & met)))
            lost = max((int(torch.isnan(layer).sum()) for layer in self.change.T), default=0)
            notes.append(
                f"The reference has no sample of class {names}: {lost} of {count} fooled samples "
                "have no class mean to be compared with, and are left out of the shares."
            )
        return notes

    def _by_layer(self, trace: TwinTrace) -> list[Rapidities]:
        columns = [self.bootstrap.summaries(trace.rapidity[name][self.fooled]) for name in SHOWN]
        return [Rapidities(*row) for row in zip(*columns, strict=True)]
