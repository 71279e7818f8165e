"""Claim: a look at each model's gradients says how attacks carry over, in the units of a rate.

60 models of Fashion-MNIST (:mod:`fashion_models`) and 96 of digits (:mod:`transfer_models`), each
in two halves of architectures. All constants were fitted on the *development* half of Fashion-MNIST
(PGD at 4/255 to 32/255 in L∞ and at 1 and 2 in L2, APGD at 8/255 and 1). One choice of form was
made after a look at the development half of digits as well: the target's slope is that of its
margin to the strongest rival, a second backward pass, which changes nothing on Fashion-MNIST. Both
report halves were measured once, afterwards. Rivals on the same samples: cosine and norm of
input gradients, the cosine of displacements, CKA of features and logits, CCA information,
agreement, accuracy, and the pattern of interference of arXiv:2510.11709. That paper names no score
of two models; ours for it is the correlation of both models' cosines between the class means of the
embedding. What no prediction from first derivatives should be expected to exceed stands beside: the
*measured* transfer of a one-step attack of the same size. Noise of the same norm is subtracted
everywhere. Models that did not learn (accuracy under 0.8) are left out by name.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import measure
import worldline as wl
from transfer_worlds import ABLE, WORLDS, Threat, World, measured, models_of
from worldline.statistics.nodes import Standardise, standard_double, standard_within

CLAIM = (
    "from each model's gradients, transfer is ranked in two worlds, better than by the cosine of "
    "input gradients and within .03 of a measured one-step attack, and in the units of a rate"
)
ROLES = {
    ("Fashion-MNIST", "development"): "the formula and its constants were fixed here",
    ("Fashion-MNIST", "report"): "other architectures, measured once, afterwards",
    ("digits", "development"): "another world; a choice of form was made after a look at it",
    ("digits", "report"): "another world, measured once, afterwards",
}
RESAMPLES = 200
BEYOND = (
    "gradient cosine",
    "gradient norm",
    "feature CKA",
    "CCA information",
    "agreement",
    "accuracy",
)
WAYS = ("white", "grey", "black")


def dark(model: nn.Module) -> wl.trace.Model:
    """The same model, that gives no gradient."""
    return lambda x: model(x).detach()


def expected(
    models: dict[str, nn.Module], x: Tensor, threat: Threat
) -> dict[str, wl.compare.Predicted]:
    """By how it is seen; ``thorough`` is white on all samples."""
    options: Any = {"epsilon": threat.epsilon, "norm": threat.norm}
    mixed = {**models, **{f"{name}, dark": dark(model) for name, model in models.items()}}
    both = wl.compare.predict(mixed, x, **options)
    first, second = slice(0, len(models)), slice(len(models), None)
    return {
        "white": wl.compare.predict(models, x, **options),
        "thorough": wl.compare.predict(models, x, samples=len(x), **options),
        "grey": part(both, first, second),
        "black": part(both, second, second),
    }


def part(found: wl.compare.Predicted, sources: slice, targets: slice) -> wl.compare.Predicted:
    tables = {
        name: getattr(found, name)[sources, targets] for name in ("rate", "interval", "similarity")
    }
    return replace(found, names=found.names[targets], **tables)


def interference(models: dict[str, nn.Module], x: Tensor, y: Tensor) -> Tensor:
    """Correlation of two models' cosines between the class means of the embedding."""
    patterns = []
    for model in models.values():
        layer = wl.trace.one_layer(model, x).name
        features = wl.trace.collect(model, x, [layer])[layer].double()
        means = torch.stack([features[y == it].mean(0) for it in y.unique()])
        unit = nn.functional.normalize(means - means.mean(0), dim=1)
        rows, columns = torch.triu_indices(len(unit), len(unit), 1)
        patterns.append((unit @ unit.T)[rows, columns])
    return torch.stack(patterns).corrcoef()


def with_features(found: wl.compare.Baselines) -> Tensor | None:
    """CKA of features; a linear model has none, and its logits stand for them."""
    if found.feature_cka is None:
        return None
    return torch.where(found.feature_cka.isnan(), found.logit_cka, found.feature_cka)


def value(kind: Standardise, one: Tensor, two: Tensor) -> float:
    ones = np.ones(len(one))
    tables = [
        np.nan_to_num(table.double().numpy() * ~np.eye(len(one), dtype=bool))
        for table in (one, two)
    ]
    return float((kind(tables[0], ones) * kind(tables[1], ones)).sum())


def both(one: Tensor, two: Tensor) -> list[float]:
    return [value(standard_within, one, two), value(standard_double, one, two)]


def ceiling(measured: wl.compare.Measured) -> list[float]:
    """Highest expected correlation of a perfect score with these rates: √(Spearman–Brown of the
    split halves).
    """
    halves = list(zip(*measured.reliability(splits=20), strict=True))
    split = np.mean([both(one, two) for one, two in halves], axis=0)
    return [float(np.sqrt(2 * it / (1 + it))) for it in split]


def plain(agreement: wl.compare.Agreement) -> dict[str, Any]:
    return {"value": agreement.value, "interval": agreement.interval, "p": agreement.p}


def verdict(it: wl.compare.Verdict) -> dict[str, Any]:
    return {"within_target": plain(it.within_target), "double_centred": plain(it.double_centred)}


def calibration(found: wl.compare.Predicted, rate: Tensor) -> dict[str, float]:
    """How far expected rates are off, and how often their interval holds."""
    off = ~torch.eye(len(rate), dtype=torch.bool)
    said, real = found.rate[off], rate[off]
    low, high = found.interval[off].unbind(-1)
    bins = said.argsort().argsort() * 10 // len(said)
    gaps = [float((said - real)[bins == it].mean().abs()) for it in range(10)]
    return {
        "measured": float(real.mean()),
        "expected": float(said.mean()),
        "mean_error": float((said - real).abs().mean()),
        "calibration_error": float(np.mean(gaps)),
        "inside_interval": float(((low <= real) & (real <= high)).double().mean()),
    }


def setting(
    truth: wl.compare.Measured,
    one_step: wl.compare.Measured,
    found: dict[str, wl.compare.Predicted],
    rivals: dict[str, Tensor],
) -> dict[str, Any]:
    beside = {
        **rivals,
        "displacement cosine": found["black"].similarity,
        "one step, measured": one_step.rate,
        **{way: found[way].rate for way in ("thorough", "grey", "black")},
    }
    options: Any = {"resamples": RESAMPLES, "permutations": 999}
    judged = wl.compare.judge(
        found["white"].rate, truth.rate, baselines=beside, beyond=BEYOND, **options
    )
    ahead = {"white": judged.ahead["gradient cosine"]}
    for way, rival in (("thorough", "gradient cosine"), ("black", "displacement cosine")):
        other = wl.compare.judge(
            found[way].rate, truth.rate, baselines={rival: beside[rival]}, beyond=(), **options
        )
        ahead[way] = other.ahead[rival]
    partial = judged.predicted.partial
    return {
        "ceiling": ceiling(truth),
        "white": verdict(judged.predicted) | {"partial": plain(partial) if partial else None},
        "others": {name: verdict(it) for name, it in judged.rivals.items()},
        "ahead": {way: [plain(it) for it in pair] for way, pair in ahead.items()},
        "behind_one_step": [plain(it) for it in judged.ahead["one step, measured"]],
        "calibration": {way: calibration(it, truth.rate) for way, it in found.items()},
        "surrogate": surrogates(truth, found, rivals["gradient cosine"]),
        "ensembles": ensembles(truth, found["white"]),
    }


def surrogates(
    truth: wl.compare.Measured, found: dict[str, wl.compare.Predicted], gradient: Tensor
) -> dict[str, float]:
    """Mean over targets of the measured rate of the stand-in that each score ranks first."""
    rate = truth.rate.clone().fill_diagonal_(-torch.inf)
    columns = torch.arange(len(rate))

    def chosen(score: Tensor) -> float:
        best = score.clone().double().fill_diagonal_(-torch.inf).argmax(0)
        return float(rate[best, columns].mean())

    off = truth.rate[~torch.eye(len(rate), dtype=torch.bool)]
    return {
        "best there is": float(rate.amax(0).mean()),
        **{way: chosen(found[way].rate) for way in WAYS},
        "gradient cosine": chosen(gradient),
        "displacement cosine": chosen(found["black"].similarity),
        "random": float(off.mean()),
    }


def ensembles(
    truth: wl.compare.Measured, predicted: wl.compare.Predicted, size: int = 4
) -> dict[str, Any]:
    """An attack on one member: mean transfer to the others, and how often the majority falls; of
    the more accurate half of the models.
    """
    places = {name: place for place, name in enumerate(truth.names)}
    order = sorted(places, key=lambda name: -float(truth.accuracy[places[name]]))
    able = order[: len(order) // 2]
    draws = random.Random(0)
    alike = replace(predicted, rate=predicted.similarity)
    picks = {
        "diverse": [wl.compare.diverse(predicted, size, among=able).models],
        "least alike": [wl.compare.diverse(alike, size, among=able).models],
        "most accurate": [tuple(order[:size])],
        "random": [tuple(draws.sample(able, size)) for _ in range(200)],
    }
    return {
        name: np.mean([fall(truth, members) for members in chosen], axis=0).tolist()
        for name, chosen in picks.items()
    }


def fall(truth: wl.compare.Measured, members: tuple[str, ...]) -> list[float]:
    rows = torch.tensor([truth.names.index(name) for name in members])
    rates = truth.rate[rows][:, rows]
    off = ~torch.eye(len(rows), dtype=torch.bool)
    fooled = truth.fooled[rows][:, rows].float().sum(1) > len(rows) / 2  # (source, N)
    return [float(rates[off].mean()), float(fooled.float().mean())]


def half_of(world: World, half: str) -> dict[str, Any]:
    x, y = world.data
    models = models_of(world, half)
    accuracy = {
        name: float((wl.attacks.predict(model, x).argmax(1) == y).float().mean())
        for name, model in models.items()
    }
    able = [name for name in models if accuracy[name] >= ABLE]
    chosen = {name: models[name] for name in able}
    others = wl.compare.baselines(chosen, x, y)
    norms = others.gradient_norm
    rivals = {
        "gradient cosine": others.gradient_cosine,
        "gradient norm": None if norms is None else -norms,
        "feature CKA": with_features(others),
        "logit CKA": others.logit_cka,
        "CCA information": others.cca_information,
        "agreement": others.agreement,
        "accuracy": others.accuracy,
        "interference": interference(chosen, x, y),
    }
    known = {name: table for name, table in rivals.items() if table is not None}
    found: dict[str, Any] = {}
    for threat in world.threats:
        truth = measured(world, half, models, threat).only(able)
        one_step = measured(world, half, models, threat.one_step).only(able)
        found[str(threat)] = setting(truth, one_step, expected(chosen, x, threat), known)
        print(world.name, half, threat, found[str(threat)]["white"], flush=True)
    return {
        "role": ROLES[world.name, half],
        "architectures": list(world.halves[half]),
        "models": len(able),
        "samples": len(x),
        "did_not_learn": [name for name in models if name not in able],
        "accuracy": [min(accuracy[name] for name in able), max(accuracy.values())],
        "settings": found,
    }


def main() -> None:
    measure.threads()
    worlds = {
        world.name: {half: half_of(world, half) for half in world.halves}
        for world in WORLDS.values()
    }
    measure.write("transfer", CLAIM, {"resamples": RESAMPLES, "worlds": worlds})


if __name__ == "__main__":
    main()
