"""Distant pairs: inputs far apart, of different classes, brought together or made opposites."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldline.errors import LabelError, ShapeError, UsageError
from worldline.explain.approximate import approximate_pairs, load_faiss
from worldline.explain.evidence import (
    MOST_CLASSES,
    Evidence,
    Nulls,
    class_map,
    far_quantiles,
    numbers,
    search_untrained,
)
from worldline.explain.network import Network, Reader
from worldline.explain.pool import Pool
from worldline.explain.sampling import groups_of
from worldline.explain.search import TopPairs, count_pairs, top_pairs
from worldline.explain.strangers import Counts, DistantStory, SearchKind, SeenLayer
from worldline.explain.untrained_network import NO_MODULE, kept_note
from worldline.inputs import check_inputs, check_settings, labels_of, logits_of
from worldline.settings import DEFAULT, Settings
from worldline.trace import LayerChoice, Model, find_layers, one_layer, pick_layers, untouched

__all__ = ["distant"]

FRAME_SAMPLES = 10_000
"""Without reference data, frames are fitted on at most so many of the samples themselves."""
ANYTHING = (-torch.inf, torch.inf)


def distant(
    model: Model,
    x: Float[Tensor, "N ..."],
    y: Int[Tensor, " N"],
    *,
    layer: str | nn.Module | None = None,
    k: int = 20,
    input_quantile: float = 0.5,
    different_labels: bool = True,
    reference: Tensor | None = None,
    inputs: Tensor | None = None,
    rows: Tensor | None = None,
    layers: LayerChoice | None = None,
    search: SearchKind = "exact",
    nulls: int = 3,
    pool: int = 20_000,
    cell_pairs: int = 50,
    store: Tensor | None = None,
    block: int = 1024,
    settings: Settings = DEFAULT,
) -> DistantStory:
    """Which inputs that lie far apart a model treats as one (φ → +∞) or as opposites (φ → −∞).

    Search of φ = artanh ρ at one layer over all pairs that differ in label and are at least as far
    apart at the input as the given quantile of such pairs. Each found pair is followed through all
    layers and set against random pairs of the same input distance, and against the same search in
    untrained networks: is it the training's doing?

    Args:
        model: returns logits (N, K).
        x, y: (N, …) inputs, of any range, and (N,) labels.
        layer: where to search; default: the embedding, which the classifier reads.
        k: pairs of each sign.
        input_quantile: in [0, 1): only pairs at least as far apart at the input as this quantile of
            eligible random pairs.
        different_labels: only pairs of different labels.
        reference: (M, …) inputs that the frames are fitted on; default: up to 10,000 of x.
        inputs: (N, …) what the input distance (Euclidean) is measured on; default: x.
        rows: (N,) whole numbers that name the samples in the result and in messages, such as
            ``Data.rows``; default: 0…N−1.
        layers: names, globs or modules, the layers of the worldlines; default: the default layers.
            The searched layer is always among them.
        search: ``exact``, or ``approximate`` by FAISS for very many samples: it may miss pairs.
        nulls: untrained networks to search as well; 0: none.
        pool: random eligible pairs for quantiles and p-values.
        cell_pairs: random pairs behind each cell of the class map.
        store: (N, D) tensor to keep the features in, such as a memory-mapped one
            (``worldline.runs.features.feature_store``); it is working space and ends with the
            features of the last network. Default: memory.
        block: of the exact search; it changes its speed and nothing else.
        settings: frame, batch size, progress, and the seed of random pairs and untrained weights;
            bounds are not used.

    Returns:
        A :class:`DistantStory`.

    Raises:
        ShapeError, BoundsError, LabelError, LayerError, ModelError, UsageError: what was given does
        not fit; each says what to do.

    Cost: 1 + ``nulls`` forward passes over x and searches (see :func:`top_pairs`), and a few
    thousand forward passes for random pairs; memory beyond the features is constant in N but for a
    few numbers a sample.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> story = wl.explain.distant(model, data.x, data.y, layer="logits", k=3)
    >>> len(story.merged), len(story.opposed), story.counts.samples
    (3, 3, 600)
    """
    check_settings(settings)
    y = _check_tensors(model, x, y, {"reference": reference, "inputs": inputs, "rows": rows})
    _check_options(y, k, input_quantile, nulls, different_labels, search)
    generator = torch.Generator().manual_seed(settings.seed)
    searched, found = one_layer(model, x, layer), find_layers(model, x)
    names = {it.name for it in pick_layers(model, x, layers)} | {searched.name}
    chosen = tuple(it for it in found if it.name in names)
    if reference is None:
        some = torch.randperm(len(x), generator=generator)[:FRAME_SAMPLES]
        reference = x if len(x) <= FRAME_SAMPLES else x[some]
    measured = (x if inputs is None else inputs).detach().cpu()
    groups, labels = groups_of(x), y.cpu() if different_labels else None
    random = Pool.draw(labels, measured, groups, pool, generator)
    if len(random.first) == 0:
        raise ShapeError(
            "Every eligible pair is a pair of identical inputs: there is nothing to find. Give "
            "other samples."
        )
    random = random.beyond(input_quantile)
    store = torch.empty(len(x), searched.width) if store is None else store
    numbered = torch.arange(len(x)) if rows is None else rows.cpu()
    reader = Reader(x, numbered, reference, chosen, chosen.index(searched), store, settings)

    find = partial(top_pairs, block=block, progress=settings.progress)
    if search == "approximate":
        find = partial(approximate_pairs, seed=settings.seed)

    def seek(network: Network) -> TopPairs:
        return find(
            network.features,
            k,
            frame=network.frame,
            labels=labels,
            inputs=measured.flatten(1),
            least_distance=random.least,
            groups=groups,
        )

    own = reader.read(model, "Model")
    top = seek(own)
    value, both = random.rapidity(own.features, own.frame), {1: top.merged, -1: top.opposed}
    lines = {s: reader.lines(own, it.first, it.second, "Worldlines") for s, it in both.items()}
    far = far_quantiles(reader, own, random)
    untrained = Nulls(None, {}, None, "")
    if nulls and not isinstance(model, nn.Module):
        untrained = replace(untrained, why=NO_MODULE)
    elif isinstance(model, nn.Module):
        untrained = search_untrained(model, both, random, reader, seek, nulls)
    evidence = Evidence(reader, own, y.cpu(), random, value, far, untrained)
    classes, same = class_map(reader, own, y.cpu(), cell_pairs, generator)
    low, middle, high = (numbers(row) for row in far)
    told = DistantStory(
        layer=searched.name,
        layer_index=reader.index,
        layer_width=searched.width,
        narrow=searched.width < x[0].numel(),
        layers=tuple(SeenLayer(at, it.name, it.width) for at, it in enumerate(chosen)),
        frame=settings.frame,
        search=search,
        recall=top.recall,
        input_quantile=input_quantile,
        least_distance=random.least,
        counts=_counts(y.cpu(), groups, top, random, own),
        merged=evidence.pairs(top.merged, lines[1], 1),
        opposed=evidence.pairs(top.opposed, lines[-1], -1),
        merged_beyond_untrained=evidence.beyond(top.merged, 1),
        opposed_beyond_untrained=evidence.beyond(top.opposed, -1),
        untrained=untrained.summary,
        far=(low, middle, high),
        same_class=same,
        classes=classes,
        notes=(),
    )
    return replace(told, notes=_notes(told, k, x[0].numel(), untrained.why))


def _counts(y: Tensor, groups: Tensor, top: TopPairs, random: Pool, own: Network) -> Counts:
    every = _copies(groups)
    return Counts(
        samples=len(y),
        pairs=top.pairs,
        pool=len(random.first),
        copies=every,
        copies_disagree=every - _copies(groups * (1 + int(y.max() - y.min())) + y - y.min()),
        undirected=int(top.undirected.sum()),
        unpredicted=int((own.predictions < 0).sum()),
        dead=own.dead,
        constant=own.constant,
    )


def _copies(groups: Tensor) -> int:
    counts = groups.unique(return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _notes(told: DistantStory, k: int, entries: int, why: str) -> tuple[str, ...]:
    counts, null = told.counts, told.untrained
    notes = [why] if why else []
    notes += [
        f"Only {len(side)} {word} pairs meet the conditions; k = {k} were asked for."
        for side, word in ((told.merged, "entangled"), (told.opposed, "opposed"))
        if len(side) < k
    ]
    if told.recall is not None:
        notes.append(
            f"The search was approximate: FAISS returned {told.recall:.1%} of the nearest "
            f"neighbours, so a stronger pair may have been missed."
        )
    if null is not None:
        notes += kept_note(null.kept)
    if counts.copies:
        notes.append(
            f"{counts.copies} pairs of identical inputs were left out ({counts.copies_disagree} "
            f"of them with different labels)."
        )
    if counts.undirected:
        notes.append(
            f"{counts.undirected} samples have no direction at this layer and are in no pair."
        )
    if counts.unpredicted:
        notes.append(f"{counts.unpredicted} samples have an output with NaN, and no prediction.")
    if counts.dead + counts.constant:
        kinds = ((counts.dead, "zero"), (counts.constant, "another constant"))
        parts = " and ".join(f"{many} are {what}" for many, what in kinds if many)
        notes.append(f"Of the layer's {told.layer_width} features {parts} for all samples.")
    if told.narrow:
        notes.append(
            f"The layer has {told.layer_width} features for {entries} input entries: some inputs "
            f"must collide there, in any network. Collisions of samples of the data are no less "
            f"real, those that are made are cheap."
        )
    if told.classes is None:
        notes.append(f"There is no class map: it is drawn up to {MOST_CLASSES} classes.")
    return tuple(notes)


def _check_tensors(model: Model, x: Tensor, y: Tensor, others: dict[str, Tensor | None]) -> Tensor:
    """The labels, once all fits together."""
    check_inputs(x, ANYTHING)
    with untouched(model), torch.no_grad():
        classes = logits_of(model, x[:2]).shape[1]
    y = labels_of(y, len(x), classes=classes)
    for name, given in others.items():
        if given is None:
            continue
        if name != "rows":
            check_inputs(given, ANYTHING)
        if name != "reference" and len(given) != len(x):
            raise ShapeError(
                f"There must be one row of {name} for each sample: {len(x)} samples, {len(given)} "
                f"rows."
            )
    return y


def _check_options(
    y: Tensor, k: int, quantile: float, nulls: int, different: bool, search: str
) -> None:
    if not 0 <= quantile < 1:
        raise UsageError(
            f"input_quantile must be in [0, 1), the share of pairs that are too near; got "
            f"{quantile!r}."
        )
    if nulls < 0:
        raise UsageError(f"nulls must be 0 or more untrained networks; got {nulls}.")
    if search not in ("exact", "approximate"):
        raise UsageError(f"Unknown search {search!r}; choose exact or approximate.")
    if search == "approximate":
        load_faiss()
    if different and bool((y == y[0]).all()):
        raise LabelError(
            f"All {len(y)} samples have the label {int(y[0])}, so no pair has different labels. "
            f"Give samples of more classes, or pass different_labels=False."
        )
    pairs = count_pairs(len(y), y if different else None)
    if not 1 <= k <= pairs:
        raise UsageError(
            f"k must be between 1 and the {pairs} pairs that {len(y)} samples have under the "
            f"label condition; got {k}."
        )
