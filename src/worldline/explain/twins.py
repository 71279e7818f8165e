"""Where in the network an adversarial twin leaves its clean twin and joins another class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldline.attacks import noise_twin
from worldline.errors import ModelError, ShapeError
from worldline.explain.untrained import untrained
from worldline.geometry import FrameName, check_frame_name, proper_depth
from worldline.inputs import check_inputs, check_labels, logits_of, set_apart
from worldline.notebook import as_html
from worldline.statistics import Bootstrap, Share, Summary
from worldline.trace import (
    Layer,
    Model,
    Plan,
    Tokens,
    TwinTrace,
    hidden_because,
    pick_layers,
    plan_memory,
    trace_reference,
    trace_twins,
    untouched,
)

__all__ = ["FEW", "LayerStory", "SwapLayer", "TwinStory", "twins"]

FEW = 20
"""Under this many fooled samples a story says that it rests on few."""

SHOWN = (
    "adversarial_clean",
    "noise_clean",
    "adversarial_true",
    "adversarial_wrong",
    "noise_true",
    "noise_wrong",
)
Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LayerStory:
    """What happens at one layer, over the fooled samples.

    Attributes:
        layer, index: which layer, from 0, the input.
        rapidity: comparison → distribution of φ in nats: ``adversarial_clean``, ``noise_clean``,
            ``adversarial_true``, ``adversarial_wrong`` (class means of the label and of the wrong
            class), ``noise_true``, ``noise_wrong``.
        untrained: the same on the untrained network; None without it.
        swapped: share of adversarial twins nearer to the wrong class's mean than to their own's.
        noise_swapped: the same of the noise twins (control).
        misclassified_swapped: the same of clean samples that the model gets wrong by itself, with
            the class that the model prefers (control).
        excess_boost: distribution of Δφ(adversarial, clean) − Δφ(noise, clean) with Δφ = φ here − φ
            at the layer before, in nats; negative: this layer drives the adversarial twin away more
            than noise of the same size. None at layer 0.
        projected_to: m, where the class means went through a random projection to m numbers; None
            where they are exact.
        standard_error: that the projection gives to a rapidity with a class mean, in nats, at most:
            1/√m; to its correlation (1 − ρ²)/√m. It is common to all samples, and not in the
            intervals. None where the means are exact.
    """

    layer: Layer
    index: int
    rapidity: dict[str, Summary]
    untrained: dict[str, Summary] | None
    swapped: Share
    noise_swapped: Share
    misclassified_swapped: Share
    excess_boost: Summary | None
    projected_to: int | None = None
    standard_error: float | None = None


@dataclass(frozen=True)
class SwapLayer:
    """First layer from which more than half of the fooled samples are nearer to the wrong class for
    good.

    ``interval`` is the 95 % bootstrap interval of the index; its end is None where resamples never
    swap.
    """

    name: str
    index: int
    interval: tuple[int, int | None]


@dataclass(frozen=True)
class TwinStory:
    """The story of all twins.

    Attributes:
        layers: one :class:`LayerStory` a layer.
        frame: the frame that all rapidities are seen from.
        fooled: (N,) clean sample right, adversarial twin wrong; the statistics are over these.
        misclassified: (N,) clean sample wrong by itself.
        swap_layer: for the population; None where it never swaps for good.
        sample_swap: (N,) the layer index from which this sample's twin is nearer to the wrong class
            for good; −1: never.
        proper_depth: ``adversarial_clean``, ``noise_clean`` → distribution of Σ sin θ over the
            layers; between 0 (the network never tells the twins apart) and the number of layers.
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
    sample_swap: Tensor
    proper_depth: dict[str, Summary]
    untrained_proper_depth: dict[str, Summary] | None
    trace: TwinTrace
    untrained_trace: TwinTrace | None
    kept: tuple[str, ...]
    rows: Tensor
    noise: Tensor
    plan: Plan
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        """A short table for notebooks."""
        swap = "never for good" if self.swap_layer is None else f"at {self.swap_layer.name}"
        sentence = (
            f"{int(self.fooled.sum())} of {len(self.fooled)} samples are fooled; most "
            f"twins change sides {swap}."
        )
        pairs = ("adversarial_clean", "noise_clean", "adversarial_wrong")
        rows = [
            (it.layer.name, *(it.rapidity[name].median for name in pairs), it.swapped.value)
            for it in self.layers
        ]
        return as_html(
            sentence,
            ("layer", *(f"median φ, {name.replace('_', '–')}" for name in pairs), "changed sides"),
            rows,
        )


def twins(
    model: Model,
    x: Float[Tensor, "N ..."],
    adversarial: Float[Tensor, "N ..."],
    y: Int[Tensor, " N"],
    *,
    reference: tuple[Tensor, Tensor] | None = None,
    noise: Tensor | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    frame: FrameName = "centered",
    layers: Sequence[str] | None = None,
    tokens: Tokens = "flatten",
    null: bool = True,
    batch_size: int = 256,
    memory: int | None = None,
    resamples: int = 2000,
    seed: int = 0,
    tick: Tick = lambda _stage, _done, _total: None,
) -> TwinStory:
    """Follow every sample, its adversarial twin and its noise twin through the layers.

    For each layer, φ = artanh ρ of adversarial–clean, noise–clean, adversarial–mean of the true
    class and adversarial–mean of the wrong class, over the fooled samples; the share that has
    swapped sides; the excess boost; and the same on the untrained network.

    Args:
        model: returns logits (N, K), or what holds them by the rule of
            :func:`worldline.trace.logits_in`.
        x, adversarial: (N, …) inputs and their adversarial twins, from any attack.
        y: (N,) labels.
        reference: inputs and labels that the attack did not see, for frames and class means.
            Default: every second sample of each class is set apart as the reference and the story
                is about the others; ``rows`` says which.
        noise: (N, …) the noise twins; default :func:`worldline.attacks.noise_twin`.
        bounds: lowest and highest legal value of the inputs.
        frame: ``raw``, ``centered`` or ``whitened``.
        layers: globs; default: the layers whose value the next stage reads.
        tokens: what becomes of values (N, T, D): ``flatten``, ``cls``, ``mean`` or ``token``; see
            :func:`worldline.trace.find_layers`.
        null: also trace the untrained network of the same shape.
        batch_size: inputs in one pass, at most.
        memory: bytes over the model and the given data; smaller batches, and class means of wide
            layers projected, keep within it (:func:`worldline.trace.plan_memory`). Default: no
            limit.
        resamples, seed: of the bootstrap; the seed also draws the noise twins and the untrained
            weights.
        tick: called with stage, done, total.

    Returns:
        A :class:`TwinStory`. Without any fooled sample its summaries are empty, and it says so;
        under 20 it says so too.

    Raises:
        ShapeError, BoundsError, LabelError, ModelError, LayerError: what was given does not fit;
            each says what to do.

    Cost: forward passes over the reference and three times over the samples, twice with the null;
        no gradient.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> found = wl.attacks.PGD(epsilon=0.15)(model, data.x, data.y)
    >>> story = wl.explain.twins(model, data.x, found.x, data.y)
    >>> story.swap_layer.name
    'logits'
    """
    check_frame_name(frame)
    check_inputs(x, bounds)
    check_labels(y, len(x))
    if adversarial.shape != x.shape:
        raise ShapeError(
            f"Each sample needs one twin: {tuple(x.shape)} inputs, {tuple(adversarial.shape)} "
            f"twins."
        )
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
            f"reference for the class means, "
            "and the story is about the others."
        )
        x, adversarial, y = x[rows], adversarial[rows], y[rows]
        noise = None if noise is None else noise[rows]
    check_inputs(reference[0], bounds)
    for labels, samples in ((y, x), (reference[1], reference[0])):
        check_labels(labels, len(samples), classes=classes)
    if noise is None:
        noise = noise_twin(
            x, adversarial, bounds=bounds, generator=torch.Generator().manual_seed(seed)
        )
    chosen = pick_layers(model, x, layers, tokens=tokens)
    plan = plan_memory(
        model,
        x,
        chosen,
        classes=classes,
        memory=memory,
        frame=frame,
        batch_size=batch_size,
        copies=2 if null else 1,
    )
    notes.extend(_notes_of(model, plan, memory, chosen))

    def trace(network: Model, stage: str, wrong: Tensor | None) -> TwinTrace:
        means = trace_reference(
            network,
            *reference,
            chosen,
            classes=classes,
            frame=frame,
            project_to=plan.project_to,
            batch_size=plan.batch_size,
            seed=seed,
            tick=lambda done: tick(f"{stage}, reference", done, len(reference[0])),
        )
        return trace_twins(
            network,
            x,
            noise,
            adversarial,
            y,
            means,
            chosen,
            wrong=wrong,
            batch_size=plan.batch_size,
            tick=lambda done: tick(f"{stage}, twins", done, len(x)),
        )

    trained = trace(model, "Tracing", None)
    fresh, kept = _untrained(model, seed, notes) if null else (None, ())
    null_trace = None if fresh is None else trace(fresh, "Untrained null", trained.wrong)
    return _tell(
        trained,
        null_trace,
        y.cpu(),
        frame,
        _Bootstraps(resamples, seed),
        kept,
        rows,
        noise,
        plan,
        notes,
    )


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
                f"to {plan.project_to:,} numbers: "
                f"rapidities with class means have a standard error of at most {error:.3f} nats "
                f"(correlations: {error:.3f}·(1 − ρ²)). "
                "Rapidities between twins are exact."
            )
    return notes


def _untrained(
    model: Model, seed: int, notes: list[str]
) -> tuple[nn.Module | None, tuple[str, ...]]:
    """The untrained network, if the model can have one, and a note if not."""
    if not isinstance(model, nn.Module):
        notes.append("There is no untrained null: the model is a plain callable, not an nn.Module.")
        return None, ()
    try:
        fresh, kept = untrained(model, seed=seed)
    except ModelError as error:
        notes.append(f"There is no untrained null. {error}")
        return None, ()
    if kept:
        notes.append(
            f"The untrained null keeps the trained values of {', '.join(kept)}: they cannot be "
            f"reset."
        )
    return fresh, kept


class _Bootstraps:
    """One :class:`Bootstrap` for each number of samples."""

    def __init__(self, resamples: int, seed: int) -> None:
        self.resamples, self.seed = resamples, seed
        self.made: dict[int, Bootstrap] = {}

    def of(self, samples: int) -> Bootstrap:
        """The resamples for this many samples."""
        if samples not in self.made:
            self.made[samples] = Bootstrap(samples, resamples=self.resamples, seed=self.seed)
        return self.made[samples]

    def share(self, flags: Tensor) -> Share:
        """Share of true flags (S,), with its interval."""
        if len(flags) == 0:
            return Share(None, None, 0)
        resampled = self.of(len(flags)).shares(flags[:, None])[:, 0]
        low, high = np.quantile(resampled, (0.025, 0.975))
        return Share(float(flags.double().mean()), (float(low), float(high)), len(flags))


def _tell(
    trained: TwinTrace,
    null: TwinTrace | None,
    y: Tensor,
    frame: FrameName,
    bootstraps: _Bootstraps,
    kept: tuple[str, ...],
    rows: Tensor,
    noise: Tensor,
    plan: Plan,
    notes: list[str],
) -> TwinStory:
    right = trained.predictions["clean"] == y
    fooled = right & (trained.predictions["adversarial"] != y)
    count = int(fooled.sum())
    if count < FEW:
        notes.append(
            f"Only {count} samples are fooled (fewer than {FEW}): read the quantiles with care."
        )
    swapped = trained.rapidity["adversarial_wrong"] > trained.rapidity["adversarial_true"]  # (N, L)
    noise_swapped = trained.rapidity["noise_wrong"] > trained.rapidity["noise_true"]
    rival_nearer = trained.rapidity["clean_rival"] > trained.rapidity["clean_true"]
    bootstrap = bootstraps.of(count)
    layers = tuple(
        LayerStory(
            layer=layer,
            index=index,
            rapidity=_summaries(trained, fooled, index, bootstrap),
            untrained=_summaries(null, fooled, index, bootstrap) if null else None,
            swapped=bootstraps.share(swapped[fooled, index]),
            noise_swapped=bootstraps.share(noise_swapped[fooled, index]),
            misclassified_swapped=bootstraps.share(rival_nearer[~right, index]),
            excess_boost=_excess_boost(trained, fooled, index, bootstrap) if index else None,
            projected_to=trained.projected_to[index],
            standard_error=None
            if (width := trained.projected_to[index]) is None
            else 1 / width**0.5,
        )
        for index, layer in enumerate(trained.layers)
    )
    return TwinStory(
        layers=layers,
        frame=frame,
        fooled=fooled,
        misclassified=~right,
        swap_layer=_swap_layer(trained.layers, swapped[fooled], bootstrap),
        sample_swap=_first_for_good(swapped),
        proper_depth=_proper_depth(trained, fooled, bootstrap),
        untrained_proper_depth=_proper_depth(null, fooled, bootstrap) if null else None,
        trace=trained,
        untrained_trace=null,
        kept=kept,
        rows=rows,
        noise=noise,
        plan=plan,
        notes=tuple(notes),
    )


def _summaries(
    trace: TwinTrace, fooled: Tensor, index: int, bootstrap: Bootstrap
) -> dict[str, Summary]:
    return {name: bootstrap.summary(trace.rapidity[name][fooled, index]) for name in SHOWN}


def _excess_boost(trace: TwinTrace, fooled: Tensor, index: int, bootstrap: Bootstrap) -> Summary:
    step = {
        name: trace.rapidity[name][fooled, index] - trace.rapidity[name][fooled, index - 1]
        for name in ("adversarial_clean", "noise_clean")
    }
    return bootstrap.summary(step["adversarial_clean"] - step["noise_clean"])


def _proper_depth(trace: TwinTrace, fooled: Tensor, bootstrap: Bootstrap) -> dict[str, Summary]:
    """Σ 1/γ = Σ 1/cosh φ over the layers."""
    return {
        name: bootstrap.summary(proper_depth(trace.rapidity[name][fooled]))
        for name in ("adversarial_clean", "noise_clean")
    }


def _first_for_good(swapped: Tensor) -> Tensor:
    """(S, L) flags → (S,) first index from which all are true; −1 where the last is not."""
    for_good = swapped.flip(1).long().cumprod(1).sum(1)  # number of true flags at the end
    return torch.where(for_good > 0, swapped.shape[1] - for_good, -1)


def _swap_layer(
    layers: tuple[Layer, ...], swapped: Tensor, bootstrap: Bootstrap
) -> SwapLayer | None:
    if len(swapped) == 0:
        return None
    index = int(_first_for_good((swapped.double().mean(0) > 0.5)[None])[0])
    if index < 0:
        return None
    drawn = _first_for_good(torch.from_numpy(bootstrap.shares(swapped) > 0.5)).numpy()
    drawn = np.where(drawn < 0, len(layers), drawn)
    low, high = np.quantile(drawn, (0.025, 0.975), method="inverted_cdf")
    return SwapLayer(
        layers[index].name, index, (int(low), int(high) if high < len(layers) else None)
    )
