"""What others use to guess transfer, on the same models and samples: to be beaten, or believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldline.attacks.losses import cross_entropy
from worldline.compare.checks import check_given, check_left
from worldline.compare.models import Answers, Failure, Models, dropping_out, opened
from worldline.geometry.population import CKA, gaussian_information, independent_information, whiten
from worldline.inputs import in_dtype_of, labels_of
from worldline.settings import DEFAULT, Settings
from worldline.trace import Model, collect, one_layer

__all__ = ["Baselines", "baselines"]

BATCH = 100
"""Samples in one minibatch of CKA."""


@dataclass(frozen=True)
class Baselines:
    """Rival scores of model pairs; NaN where a model does not give what one needs.

    Attributes:
        names: the models that answered.
        gradient_cosine: (M, M) mean cosine of the input gradients of the loss; None where no two
            models have gradients.
        gradient_norm: (M,) mean norm of the input gradient; None likewise.
        feature_cka: (M, M) unbiased linear CKA of the penultimate features; None where no two
            models can be traced.
        logit_cka: (M, M) the same of the logits.
        cca_information: (M, M) nats that the logits share beyond independent ones; ∞ on the
            diagonal.
        agreement: (M, M) share of samples that both put into the same class.
        accuracy: (M,); None without labels.
        layers: for each model, the layer behind ``feature_cka``; None for a black box.
        failures: models that dropped out, and why.
    """

    names: tuple[str, ...]
    gradient_cosine: Tensor | None
    gradient_norm: Tensor | None
    feature_cka: Tensor | None
    logit_cka: Tensor
    cca_information: Tensor
    agreement: Tensor
    accuracy: Tensor | None
    layers: tuple[str | None, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class _Seen:
    """What one model showed.

    Attributes:
        classes: (N,).
        whitened: (N, K − 1) logits; centred, so the last class follows from the others.
        logit_grams, feature_grams: of each batch.
        layer: that the features are from.
        gradients: (N, D) by the inputs.
    """

    classes: Tensor
    whitened: Tensor
    logit_grams: list[Tensor]
    feature_grams: list[Tensor] | None
    layer: str | None
    gradients: Tensor | None


def baselines(
    models: Models,
    x: Float[Tensor, "N ..."],
    y: Int[Tensor, " N"] | None = None,
    *,
    classes: int | None = None,
    settings: Settings = DEFAULT,
) -> Baselines:
    """What others use to guess transfer: gradient cosine, CKA, CCA information and agreement.

    Args:
        models: as for :func:`predict`; each is loaded once.
        x: (N, …) inputs inside the bounds, at least 30.
        y: (N,) labels for gradients and accuracy; without them, gradients are of the class that
            the model itself gives.
        classes, settings: as for :func:`predict`.

    Returns:
        :class:`Baselines`.

    Raises:
        UsageError, ShapeError, BoundsError, LabelError: input that cannot be used.
        ModelError: different numbers of classes, or fewer than two models left.

    Cost: for each model three forward passes and a backward one; memory for each N·D gradients and
    N·100 Gram entries.

    Sources: Demontis et al., arXiv:1809.02861 (gradients); Kornblith et al., arXiv:1905.00414, and
    Nguyen et al., arXiv:2010.15327 (CKA); Wiedeman and Wang, arXiv:2108.12492 (linear correlation
    of features).

    >>> import torch, worldline as wl
    >>> _ = torch.manual_seed(0)
    >>> models = {"a": torch.nn.Linear(8, 3), "b": torch.nn.Linear(8, 3)}
    >>> models["box"] = lambda x: x[:, :3].detach()
    >>> found = wl.compare.baselines(models, torch.rand(40, 8))
    >>> found.agreement.shape, bool(found.gradient_cosine[0, 2].isnan())
    (torch.Size([3, 3]), True)
    """
    check_given(models, x, settings)
    if y is not None:
        y = labels_of(y, len(x))
    seen: dict[str, _Seen] = {}
    failures: dict[str, Failure] = {}
    for number, (name, entry) in enumerate(models.items()):
        with dropping_out(name, failures), opened(name, entry) as model:
            answers = Answers(name, model, classes)
            seen[name] = _look(model, answers, x, y, settings.batch_size)
            classes = answers.classes
        settings.progress("Measuring what others use", number + 1, len(models))
    check_left(len(seen), failures)
    every = list(seen.values())
    chosen = torch.stack([it.classes for it in every])
    gradients = _gradients([it.gradients for it in every])
    features = [it.feature_grams for it in every]
    return Baselines(
        names=tuple(seen),
        gradient_cosine=None if gradients is None else gradients[0],
        gradient_norm=None if gradients is None else gradients[1],
        feature_cka=_cka(features) if len(every) - features.count(None) > 1 else None,
        logit_cka=_cka([it.logit_grams for it in every]),
        cca_information=_information([it.whitened for it in every]),
        agreement=(chosen[:, None] == chosen[None]).double().mean(-1),
        accuracy=None if y is None else (chosen == y.cpu()).double().mean(1),
        layers=tuple(it.layer for it in every),
        failures=tuple(failures.values()),
    )


def _look(model: Model, answers: Answers, x: Tensor, y: Tensor | None, batch_size: int) -> _Seen:
    x = in_dtype_of(model, x)
    logits = answers(x, batch_size)
    layer = _penultimate(model, x)
    features = None
    if layer is not None:
        features = collect(model, x, [layer], batch_size=batch_size)[layer]
    labels = logits.argmax(1) if y is None else y
    found = answers.with_gradients(x, labels, [cross_entropy], batch_size)
    return _Seen(
        classes=logits.argmax(1),
        whitened=whiten(logits[:, :-1], shrink=False),
        logit_grams=_grams(logits),
        feature_grams=None if features is None else _grams(features),
        layer=layer,
        gradients=None if found is None else found[1],
    )


def _grams(features: Tensor) -> list[Tensor]:
    sums = CKA()
    whole = len(features) - len(features) % BATCH or len(features)
    return [sums.gram(batch.float()) for batch in features[:whole].split(BATCH)]


def _penultimate(model: Model, x: Tensor) -> str | None:
    """The embedding, which the classifier reads; None for a black box or where it is the input."""
    if not isinstance(model, nn.Module):
        return None
    name = one_layer(model, x).name
    return None if name == "input" else name


def _gradients(every: list[Tensor | None]) -> tuple[Tensor, Tensor] | None:
    known = [it for it in every if it is not None]
    if len(known) < 2:
        return None
    none = torch.full_like(known[0], torch.nan)
    rows = torch.stack([none if it is None else it for it in every])
    size = rows.norm(dim=-1)
    flat = (rows / size.clamp(min=1e-30)[..., None]).flatten(1)
    return (flat @ flat.T / rows.shape[1]).double(), size.double().mean(1)


def _cka(grams: Sequence[list[Tensor] | None]) -> Tensor:
    sums = CKA()
    for batch in zip(*(rows for rows in grams if rows is not None), strict=True):
        sums.add(torch.stack(batch))
    out = torch.full((len(grams), len(grams)), torch.nan, dtype=torch.float64)
    place = torch.tensor([place for place, rows in enumerate(grams) if rows is not None])
    out[place[:, None], place[None, :]] = sums.matrix()
    return out


def _information(whitened: list[Tensor]) -> Tensor:
    """Nats beyond the exact null of independent logits."""
    samples, rank = whitened[0].shape
    null = independent_information(samples, rank, rank) if samples > 2 * rank else 0.0
    out = torch.full((len(whitened), len(whitened)), torch.inf, dtype=torch.float64)
    for row, one in enumerate(whitened):
        for column in range(row):
            rho = torch.linalg.svdvals(one.T @ whitened[column]).clamp(max=1.0)
            out[row, column] = out[column, row] = gaussian_information(rho) - null
    return out
