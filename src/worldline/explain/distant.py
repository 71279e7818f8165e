"""Distant pairs: inputs far apart, of different classes, whose features a model has merged or made
opposites.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.errors import LabelError, ShapeError, UsageError
from worldline.explain.evidence import MOST_CLASSES, Evidence, class_map
from worldline.explain.network import Network, Reader
from worldline.explain.pool import Pool
from worldline.explain.sampling import groups_of
from worldline.explain.search import TopPairs, count_pairs, top_pairs
from worldline.explain.strangers import Counts, DistantPairs, DistantStory, UntrainedNull
from worldline.geometry import FrameName, check_frame_name
from worldline.inputs import check_inputs, check_labels, logits_of
from worldline.trace import Model, choose_layers, find_layers, one_layer, untouched

__all__ = ["distant"]

FRAME_SAMPLES = 10_000
"""Without reference data, frames are fitted on at most so many of the samples themselves."""
Tick = Callable[[str, int, int], None]


def distant(
    model: Model,
    x: Float[Tensor, "N ..."],
    y: Int[Tensor, " N"],
    *,
    layer: str | None = None,
    k: int = 20,
    frame: FrameName = "centered",
    input_quantile: float = 0.5,
    different_labels: bool = True,
    reference: Tensor | None = None,
    inputs: Tensor | None = None,
    layers: Sequence[str] | None = None,
    nulls: int = 3,
    pool: int = 20_000,
    cell_pairs: int = 50,
    store: Tensor | None = None,
    batch_size: int = 256,
    block: int = 1024,
    seed: int = 0,
    tick: Tick = lambda _stage, _done, _total: None,
) -> DistantStory:
    """Which inputs that lie far apart a model treats as one (φ → +∞) or as opposites (φ → −∞), and
    whether that is its doing.

    Exact search of φ = artanh ρ at one layer over all pairs that differ in label and are at least
    as far apart at the input as the given quantile of such pairs. Each found pair is followed
    through all layers and set against random pairs of the same input distance, and against the same
    search in untrained networks.

    Args:
        model: returns logits (N, K).
        x, y: (N, …) inputs, of any range, and (N,) labels.
        layer: where to search; default: the last default layer before the output.
        k: pairs of each sign.
        frame: ``raw``, ``centered`` or ``whitened``.
        input_quantile: in [0, 1): only pairs at least as far apart at the input as this quantile of
            eligible random pairs.
        different_labels: only pairs of different labels.
        reference: (M, …) inputs that the frames are fitted on; default: up to 10,000 of x.
        inputs: (N, …) what the input distance (Euclidean) is measured on; default: x.
        layers: globs, the layers of the worldlines; default: the default layers. The searched layer
            is always among them.
        nulls: untrained networks to search as well; 0: none.
        pool: random eligible pairs for quantiles and p-values.
        cell_pairs: random pairs behind each cell of the class map.
        store: (N, D) tensor to keep the features in, such as a memory-mapped one
            (``wl.runs.feature_store``); it is working space and ends with the features of the last
            network. Default: memory.
        batch_size: inputs in one pass.
        block: of the search; it changes its speed and nothing else.
        seed: of random pairs and untrained weights.
        tick: called with stage, done, total.

    Returns:
        A :class:`DistantStory`.

    Raises:
        ShapeError, BoundsError, LabelError, LayerError, ModelError, UsageError: what was given does
        not fit; each says what to do.

    Cost: 1 + ``nulls`` forward passes over x and searches (see :func:`top_pairs`), and a few
        thousand forward passes for random
    pairs; memory beyond the features is constant in N but for a few numbers a sample.

    >>> import worldline as wl
    >>> model, data = wl.zoo.load("linear"), wl.zoo.digits()
    >>> story = wl.explain.distant(model, data.x, data.y, layer="logits", k=3)
    >>> len(story.merged), len(story.opposed), story.counts.samples
    (3, 3, 600)
    """
    _check(model, x, y, reference, inputs, k, input_quantile, nulls, different_labels)
    check_frame_name(frame)
    generator = torch.Generator().manual_seed(seed)
    searched, found = one_layer(model, x, layer), find_layers(model, x)
    names = {it.name for it in choose_layers(found, layers)} | {searched.name}
    chosen = tuple(it for it in found if it.name in names)
    if reference is None:
        reference = (
            x
            if len(x) <= FRAME_SAMPLES
            else x[torch.randperm(len(x), generator=generator)[:FRAME_SAMPLES]]
        )
    measured = (x if inputs is None else inputs).detach().cpu()
    groups, labels = groups_of(x), y.cpu() if different_labels else None
    random = Pool.draw(labels, measured, groups, pool, generator)
    if len(random.first) == 0:
        raise ShapeError(
            "Every eligible pair is a pair of identical inputs: there is nothing to find. Give "
            "other samples."
        )
    random = random.beyond(input_quantile)
    reader = Reader.of(x, reference, chosen, chosen.index(searched), frame, store, batch_size, tick)

    def search(network: Network) -> TopPairs:
        return top_pairs(
            network.features,
            k,
            frame=network.frame,
            labels=labels,
            inputs=measured.flatten(1),
            least_distance=random.least,
            groups=groups,
            block=block,
            tick=tick,
        )

    own = reader.read(model, "Model")
    top = search(own)
    evidence = Evidence.gather(own, top, random, reader, search, nulls, seed)
    classes, same = class_map(reader, own, y.cpu(), cell_pairs, generator)
    counts = Counts(
        samples=len(x),
        pairs=top.pairs,
        pool=len(random.first),
        copies=_copies(groups),
        copies_disagree=_copies(groups)
        - _copies(groups * (1 + int(y.max()) - int(y.min())) + y.cpu() - int(y.min())),
        undirected=int(top.undirected.sum()),
        dead=own.dead,
        constant=own.constant,
    )
    merged, opposed = evidence.pairs(1), evidence.pairs(-1)
    return DistantStory(
        layer=searched,
        layers=chosen,
        index=reader.index,
        frame=frame,
        merged=merged,
        opposed=opposed,
        far=evidence.far,
        same_class=same,
        null=evidence.null,
        classes=classes,
        labels=y.cpu(),
        predictions=own.predictions,
        least_distance=random.least,
        input_quantile=input_quantile,
        narrow=searched.width < x[0].numel(),
        counts=counts,
        notes=_notes(
            k,
            merged,
            opposed,
            counts,
            evidence.null,
            searched.width,
            x[0].numel(),
            classes is None,
            evidence.why,
        ),
    )


def _copies(groups: Tensor) -> int:
    counts = groups.unique(return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _notes(
    k: int,
    merged: DistantPairs,
    opposed: DistantPairs,
    counts: Counts,
    null: UntrainedNull | None,
    width: int,
    entries: int,
    many_classes: bool,
    why: str,
) -> tuple[str, ...]:
    notes = [why] if why else []
    notes += [
        f"Only {len(side)} {word} pairs meet the conditions; k = {k} were asked for."
        for side, word in ((merged, "merged"), (opposed, "opposed"))
        if len(side) < k
    ]
    if null is not None and null.kept:
        notes.append(
            f"The untrained null keeps the trained values of {', '.join(null.kept)}: they have no "
            f"reset_parameters."
        )
    if counts.copies:
        notes.append(
            f"{counts.copies} pairs of identical inputs were left out ({counts.copies_disagree} "
            f"of them with different labels)."
        )
    if counts.undirected:
        notes.append(
            f"{counts.undirected} samples have no direction at this layer and are in no pair."
        )
    if counts.dead + counts.constant:
        notes.append(
            f"{counts.dead} of the layer's {width} features are zero for all samples, "
            f"{counts.constant} another constant."
        )
    if width < entries:
        notes.append(
            f"The layer has {width} features for {entries} input entries: some inputs must "
            f"collide there, in any network. Collisions of "
            "samples of the data are no less real, those that are made are cheap."
        )
    if many_classes:
        notes.append(f"There is no class map: it is drawn up to {MOST_CLASSES} classes.")
    return tuple(notes)


def _check(
    model: Model,
    x: Tensor,
    y: Tensor,
    reference: Tensor | None,
    inputs: Tensor | None,
    k: int,
    quantile: float,
    nulls: int,
    different: bool,
) -> None:
    everything = (-torch.inf, torch.inf)
    check_inputs(x, everything)
    with untouched(model), torch.no_grad():
        classes = logits_of(model, x[:2]).shape[1]
    check_labels(y, len(x), classes=classes)
    if reference is not None:
        check_inputs(reference, everything)
    if inputs is not None:
        check_inputs(inputs, everything)
        if len(inputs) != len(x):
            raise ShapeError(
                f"The input distance needs one row for each sample: {len(x)} samples, "
                f"{len(inputs)} rows of inputs."
            )
    if not 0 <= quantile < 1:
        raise UsageError(
            f"input_quantile must be in [0, 1), the share of pairs that are too near; got "
            f"{quantile!r}."
        )
    if nulls < 0:
        raise UsageError(f"nulls must be 0 or more untrained networks; got {nulls}.")
    if different and bool((y == y[0]).all()):
        raise LabelError(
            f"All {len(y)} samples have the label {int(y[0])}, so no pair has different labels. "
            f"Give samples of more classes, or "
            "pass different_labels=False."
        )
    pairs = count_pairs(len(x), y if different else None)
    if not 1 <= k <= pairs:
        raise UsageError(
            f"k must be between 1 and the {pairs} pairs that {len(x)} samples have under the "
            f"label condition; got {k}."
        )
