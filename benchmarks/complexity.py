"""Claim: two forward passes a sample rank models and samples by how robust they are.

Without label, gradient or attack.

The 96 models of :mod:`transfer_models`, in their two halves of six architectures. Truth, from
:mod:`complexity_attacks`: accuracy under PGD-20 and APGD-50 at three ε in L∞ and in L2; for samples
the smallest ε that fools. Every measure was given its direction (which end should be robust)
before; size of noise, quantile, kernel and step of our probes were chosen on the *development*
half, and the variants that were tried stand in the table; the *report* half was measured once,
afterwards. Intervals resample models. Partial: beyond clean accuracy and accuracy under noise, both
of which need labels.

Also: whether one layer hardened alone helps more where the excess boost is largest than elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import complexity_attacks as truth
import measure
import transfer_models as zoo
import worldline as wl
from worldline.statistics.nodes import Array, ranks

CLAIM = (
    "two forward passes a sample, without labels, gradients or an attack, rank models by their "
    "accuracy under attack with Spearman ≥ .92, "
    "and the samples of a model by the smallest ε that fools them with ≥ .93"
)
ROLES = {
    "development": "variants and constants were chosen here",
    "report": "measured once, after they were fixed",
}
RESAMPLES = 500
MEASURED = 100
MODEL_SCORE, SAMPLE_SCORE = (
    "fragility, noise probe: share unchanged",
    "fragility, aimed probe: radius",
)


def placed(values: Array, draws: Array) -> Array:
    """(R, M) ranks of M models in each of R draws, weighted by how often a model was drawn.

    Centred, times √weight.
    """
    weights = draws.T
    place = ranks(np.repeat(values[:, None], len(draws), 1), weights)
    place -= (place * weights).sum(0) / weights.sum(0)
    scaled: Array = (place * np.sqrt(weights)).T
    return scaled


def correlation(one: Array, two: Array, beyond: Array | None = None) -> Array:
    """(R,) Spearman's correlation in each draw from :func:`placed` ranks.

    Partial on others' ranks (R, M, B) where any are given.
    """
    if beyond is not None:
        both = np.stack((one, two), 2)
        both = both - beyond @ (np.linalg.pinv(beyond) @ both)
        one, two = both[:, :, 0], both[:, :, 1]
    size = np.sqrt((one**2).sum(1) * (two**2).sum(1))
    known = size > 1e-9
    return np.where(known, (one * two).sum(1) / np.where(known, size, 1.0), 0.0)


def margin(logits: Tensor, label: Tensor) -> Tensor:
    return logits.gather(1, label[:, None])[:, 0] - logits.scatter(
        1, label[:, None], -torch.inf
    ).amax(1)


def linearised(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Margin over the L1 and the L2 norm of its gradient."""
    with wl.trace.untouched(model), torch.enable_grad():
        point = x.clone().requires_grad_(True)
        logits = model(point)
        distance = margin(logits, logits.argmax(1))
        slope = torch.autograd.grad(distance.sum(), point)[0].flatten(1)
    return distance.detach() / slope.abs().sum(1), distance.detach() / slope.norm(dim=1)


class Scores:
    """All scores of one model, larger should be more robust: of the model, and (N,) of samples."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        noise, aimed = (wl.explain.fragility(model, x, probe=probe) for probe in ("noise", "aimed"))
        clean = wl.attacks.predict(model, x)
        label = clean.argmax(1)
        self.fragility = noise
        self.models: dict[str, float] = {
            MODEL_SCORE: 1 - noise.changed.value,
            "fragility, noise probe: lower tenth of φ": noise.tail,
            "fragility, aimed probe: share unchanged": 1 - aimed.changed.value,
            "fragility, aimed probe: median radius": float(aimed.radius["l2"].median()),
        }
        self.variants(model, x, y, clean)
        l1, l2 = linearised(model, x)
        self.models |= {
            "clean accuracy (labels)": float((label == y).float().mean()),
            "median logit margin": float(margin(clean, label).median()),
            "median linearised margin, L∞ (gradients)": float(l1.median()),
            "median linearised margin, L2 (gradients)": float(l2.median()),
        }
        self.measures(
            wl.explain.complexity(model, x[:MEASURED], y=y[:MEASURED], null=False, resamples=2)
        )
        delta = 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        moved = wl.attacks.predict(model, x + delta) - clean
        self.samples: dict[str, dict[str, Tensor]] = {
            SAMPLE_SCORE: aimed.radius,
            "fragility, noise probe: radius": noise.radius,
            "logit margin": both(margin(clean, label)),
            "largest softmax": both(clean.double().softmax(1).amax(1)),
            "margin over its own noise displacement, σ = .1": both(
                margin(clean, label) / (moved - moved.mean(1, keepdim=True)).norm(dim=1)
            ),
            "rapidity of the noise twin's logits, σ = .1": both(
                centred_rapidity(clean, clean + moved)
            ),
            "linearised margin (gradients)": {"linf": l1, "l2": l2},
        }
        self.right = label == y

    def variants(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor) -> None:
        """What was tried on the development half."""
        delta = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        for sigma in (0.05, 0.1, 0.2, 0.25, 0.3, 0.4):
            plus, minus = (wl.attacks.predict(model, x + sign * sigma * delta) for sign in (1, -1))
            name = f"σ = {sigma:g}".replace("0.", ".")
            one_sided = centred_rapidity(clean, plus, origin=clean.mean(0))
            self.models[f"noise accuracy, {name} (labels)"] = float(
                (plus.argmax(1) == y).float().mean()
            )
            self.models[f"±noise agrees, {name}"] = float(
                (plus.argmax(1) == minus.argmax(1)).float().mean()
            )
            self.models[f"±noise, lower tenth of φ, {name}"] = float(
                centred_rapidity(plus, minus).quantile(0.1)
            )
            self.models[f"noise and clean agree, {name}"] = float(
                (plus.argmax(1) == clean.argmax(1)).float().mean()
            )
            self.models[f"noise twin, lower tenth of φ, {name}"] = float(one_sided.quantile(0.1))
            self.models[f"noise twin, median φ, {name}"] = float(one_sided.median())
        clipped = [
            wl.attacks.predict(model, (x + sign * 0.25 * delta).clamp(0, 1)) for sign in (1, -1)
        ]
        self.models["±noise agrees, σ = .25, clipped"] = float(
            (clipped[0].argmax(1) == clipped[1].argmax(1)).float().mean()
        )

    def measures(self, found: wl.explain.Complexity) -> None:
        """What :func:`wl.explain.complexity` says, signed so that larger should be more robust."""
        known = {it.name: it.value for it in found.known}
        shares = [it.plane_share["noise"].median for it in found.limits]
        use = [share for share in shares if share is not None]
        exponent = found.spectrum.exponents[0].median
        self.models |= {
            "−total boost of noise twins": -found.total_boost["noise"].median,
            "−total boost of strangers": -found.total_boost["strangers"].median,
            "−proper depth of noise twins": -found.proper_depth["noise"].median,
            "−mean share of the plane’s own boost by noise twins": -float(np.mean(use)),
            "−largest Lyapunov exponent": -exponent,
            "−participation ratio before the logits": -found.layers[-2].dimension.participation,
            "−TwoNN before the logits": -found.layers[-2].dimension.two_nn,
        }
        self.models |= {
            f"−{name}": -np.inf if value is None else -value for name, value in known.items()
        }


def centred_rapidity(one: Tensor, two: Tensor, origin: Tensor | None = None) -> Tensor:
    here = (one + two).mean(0) / 2 if origin is None else origin
    return wl.rapidity((one - here).double(), (two - here).double())


def both(score: Tensor) -> dict[str, Tensor]:
    return {"linf": score, "l2": score}


def judged(
    values: Array, accuracy: Array, beyond: list[Array], shapes: list[str], draws: Array
) -> dict[str, Any]:
    """Mean Spearman over attacks with its interval, partial, each, and without an architecture."""
    if not np.isfinite(values).all():
        fits = int(np.isfinite(values).sum())
        return {"value": None, "status": f"defined for {fits} of {len(values)} models"}

    def by_attack(weights: Array, others: list[Array] | None = None) -> Array:
        """(attacks, R)."""
        mine = placed(values, weights)
        rest = np.stack([placed(it, weights) for it in others], 2) if others else None
        return np.stack([correlation(mine, placed(row, weights), rest) for row in accuracy])

    every = np.ones((1, len(values)))
    without = np.stack(
        [np.array([shape != name for shape in shapes], dtype=float) for name in sorted(set(shapes))]
    )
    left = by_attack(without).mean(0)
    found = {
        "value": float(by_attack(every).mean()),
        "interval": np.quantile(by_attack(draws).mean(0), (0.025, 0.975)).tolist(),
        "attacks": by_attack(every)[:, 0].tolist(),
        "without_an_architecture": [float(left.min()), float(left.max())],
    }
    if not any(np.array_equal(values, other) for other in beyond):
        found["partial"] = float(by_attack(every, beyond).mean())
        found["partial_interval"] = np.quantile(
            by_attack(draws, beyond).mean(0), (0.025, 0.975)
        ).tolist()
    return found


def rank_models(scores: dict[str, Scores], attacked: dict[str, truth.Attacked]) -> dict[str, Any]:
    names, settings = list(scores), truth.names()
    accuracy = np.array(
        [[attacked[name].accuracy[setting] for name in names] for setting in settings]
    )
    table = {
        key: np.array([scores[name].models[key] for name in names], dtype=float)
        for key in scores[names[0]].models
    }
    shapes = [name.split("/")[0] for name in names]
    generator = np.random.default_rng(0)
    drawn = (generator.integers(0, len(names), len(names)) for _ in range(RESAMPLES))
    draws = np.stack([np.bincount(rows, minlength=len(names)) for rows in drawn]).astype(float)
    beyond = [table["clean accuracy (labels)"], table["noise accuracy, σ = .25 (labels)"]]
    found = {key: judged(values, accuracy, beyond, shapes, draws) for key, values in table.items()}
    return {
        "attacks": settings,
        "accuracy": {
            name: [float(row.min()), float(np.median(row)), float(row.max())]
            for name, row in zip(settings, accuracy, strict=True)
        },
        "models": dict(
            sorted(
                found.items(),
                key=lambda it: -(it[1]["value"] if it[1]["value"] is not None else -2),
            )
        ),
    }


def rank_samples(scores: dict[str, Scores], attacked: dict[str, truth.Attacked]) -> dict[str, Any]:
    """Mean over models of Spearman within a model, over the samples that it gets right."""
    found: dict[str, Any] = {}
    for key in next(iter(scores.values())).samples:
        for norm in truth.EPSILONS:
            values = []
            for name, it in scores.items():
                rows = it.right
                pair = [
                    part[rows].double().numpy()
                    for part in (it.samples[key][norm], attacked[name].smallest[norm])
                ]
                every = np.ones((1, int(rows.sum())))
                values.append(float(correlation(*(placed(part, every) for part in pair))[0]))
            draws = np.random.default_rng(0).choice(values, (RESAMPLES, len(values))).mean(1)
            low, high = np.quantile(draws, (0.025, 0.975))
            found.setdefault(key, {})[norm] = {
                "value": float(np.mean(values)),
                "interval": [float(low), float(high)],
                "worst_model": float(min(values)),
            }
    return found


def predicted_accuracy(
    scores: dict[str, Scores], attacked: dict[str, truth.Attacked]
) -> dict[str, Any]:
    """How far accuracy predicted from other architectures is off; how often its interval holds."""
    found = {}
    for setting in truth.names():
        _, norm, epsilon = setting.split()
        errors, inside, plain = [], [], []
        for shape in sorted({name.split("/")[0] for name in scores}):
            others = [name for name in scores if name.split("/")[0] != shape]
            measured = [attacked[name].accuracy[setting] for name in others]
            learnt = wl.explain.calibrate(
                [scores[name].fragility for name in others], measured, float(epsilon), norm
            )
            for name, it in scores.items():
                if name.split("/")[0] == shape:
                    said, real = learnt.predict(it.fragility), attacked[name].accuracy[setting]
                    errors.append(abs(said.value - real))
                    inside.append(said.interval[0] <= real <= said.interval[1])
                    plain.append(abs(np.mean(measured) - real))
        found[setting] = {
            "mean_error": float(np.mean(errors)),
            "largest_error": float(max(errors)),
            "inside_interval": float(np.mean(inside)),
            "mean_error_of_the_mean": float(np.mean(plain)),
        }
    return found


def half(name: str) -> dict[str, Any]:
    data = wl.zoo.digits()
    scores, attacked = {}, {}
    for key in zoo.names(name):
        scores[zoo.label(*key)] = Scores(zoo.load(name, *key), data.x, data.y)
        attacked[zoo.label(*key)] = truth.attacked(name, *key)
        print(name, zoo.label(*key), flush=True)
    able = [key for key, it in scores.items() if float(it.right.float().mean()) >= 0.8]
    kept, truths = {key: scores[key] for key in able}, {key: attacked[key] for key in able}
    everyone = rank_models(scores, attacked)["models"][MODEL_SCORE]
    return {
        "role": ROLES[name],
        "architectures": list(zoo.HALVES[name]),
        "count": len(able),
        "did_not_learn": [key for key in scores if key not in able],
        "with_all_models": {key: everyone[key] for key in ("value", "interval")},
        **rank_models(kept, truths),
        "samples": rank_samples(kept, truths),
        "predicted_accuracy": predicted_accuracy(kept, truths),
    }


HARDENED = {
    "mlp": lambda: nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    ),
    "cnn": lambda: nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    ),
}
SEEDS = range(8)


def train(
    model: nn.Module, parameters: list[nn.Parameter], *, seed: int, epochs: int, epsilon: float
) -> None:
    """Adam; on PGD twins (L∞, five steps) where ε > 0."""
    data = wl.zoo.digits()
    x, y = data.reference_x, data.reference_y
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        for number, rows in enumerate(torch.randperm(len(x), generator=generator).split(64)):
            inputs = x[rows]
            if epsilon:
                attack = wl.attacks.PGD(
                    epsilon=epsilon,
                    steps=5,
                    step_size=epsilon / 3,
                    keep="last",
                    seed=epoch * 100 + number,
                )
                inputs = attack(model, inputs, y[rows]).x
            loss = nn.functional.cross_entropy(model(inputs), y[rows])
            gradients = torch.autograd.grad(loss, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()


def robust(model: nn.Module) -> float:
    data = wl.zoo.digits()
    return 1 - float(wl.attacks.PGD(epsilon=0.1)(model, data.x, data.y).success.float().mean())


def hardening(make: Callable[[], nn.Module]) -> dict[str, Any]:
    """Fine-tuning one linear layer on attacked twins: that of largest excess boost, or another."""
    data = wl.zoo.digits()
    rows = []
    for seed in SEEDS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = make()
        train(model, list(model.parameters()), seed=seed, epochs=15, epsilon=0.0)
        found = wl.explain.complexity(
            model,
            data.reference_x[:300],
            y=data.reference_y[:300],
            attack=wl.attacks.PGD(epsilon=0.1),
            null=False,
            resamples=2,
        )
        boosts = [it.excess_boost.median for it in found.layers[1:]]
        places = [place for place, it in enumerate(model) if isinstance(it, (nn.Linear, nn.Conv2d))]
        gains = []
        state = {name: value.clone() for name, value in model.state_dict().items()}
        before = robust(model)
        for place in places:
            model.load_state_dict(state)
            train(model, list(model[place].parameters()), seed=seed, epochs=8, epsilon=0.1)
            gains.append(robust(model) - before)
        rows.append((int(np.argmax(boosts)), gains, before))
    chosen = np.array([gains[place] for place, gains, _ in rows])
    others = np.array(
        [
            np.mean([gain for at, gain in enumerate(gains) if at != place])
            for place, gains, _ in rows
        ]
    )
    draws = np.random.default_rng(0).integers(0, len(rows), (RESAMPLES, len(rows)))
    low, high = np.quantile((chosen - others)[draws].mean(1), (0.025, 0.975))
    return {
        "accuracy_before": float(np.mean([before for *_, before in rows])),
        "gain_at_largest_excess_boost": float(chosen.mean()),
        "gain_at_another": float(others.mean()),
        "difference": float((chosen - others).mean()),
        "interval": [float(low), float(high)],
        "chosen_layer": [place for place, *_ in rows],
        "gain_by_layer": np.mean([gains for _, gains, _ in rows], axis=0).tolist(),
        "is_the_best": float(np.mean([place == int(np.argmax(gains)) for place, gains, _ in rows])),
        "best_at_random": 1 / len(rows[0][1]),
        "seeds": len(rows),
    }


def main() -> None:
    measure.threads()
    halves = {name: half(name) for name in ROLES}
    document = {
        "resamples": RESAMPLES,
        "samples": truth.SAMPLES,
        "chosen": {"model": MODEL_SCORE, "sample": SAMPLE_SCORE},
        "halves_of_complexity": halves,
        "hardening": {name: hardening(make) for name, make in HARDENED.items()},
    }
    measure.write("complexity", CLAIM, document)


if __name__ == "__main__":
    main()
