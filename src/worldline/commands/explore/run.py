"""The run behind ``worldline explore``: open, attack in shards, check, explain, keep."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from worldline import explain
from worldline.attacks import PGD, Attack, Budget, Descent, Square, named_norm, noise_twin
from worldline.checks import Check, Curve, accuracy_curve, check_evaluation
from worldline.commands.carriers.run import Measured, asked_of
from worldline.commands.carriers.run import measure as measure_carriers
from worldline.commands.complexity.record import ModelComplexity
from worldline.commands.complexity.run import measure
from worldline.commands.explore.config import ExploreConfig
from worldline.commands.explore.record import (
    CARRIERS,
    PAIRS,
    SAMPLES,
    TWINS,
    Exploration,
    PairColumns,
    SampleColumns,
)
from worldline.errors import InputError
from worldline.explain import TwinStory
from worldline.geometry import proper_depth
from worldline.inputs import logits_of
from worldline.runs.attacking import attack_in_shards, forget_shards, gives_no_gradient
from worldline.runs.budgets import settled
from worldline.runs.codec import schema_of
from worldline.runs.opening import Opened, make_attack, open_one, versions
from worldline.runs.store import RunFolder
from worldline.settings import Progress
from worldline.trace import COMPARISONS, check_whitening, pick_layers, plan_memory, untouched

__all__ = ["Given", "prepare", "run"]

CURVE_SAMPLES, CURVE_STEPS, CURVE_QUERIES = 128, 5, 100
MEASURED = 64  # samples of the section on complexity; worldline complexity takes all
FEWEST_CARRIED, MOST_CARRIED = 16, 40  # fooled samples of the section on carriers
PASSES_A_STEP, PASSES_CARRIED = 3, 130  # forward passes of a step of the attack, of a sample there
CARRIED_SHARES, CARRIERS_SHOWN = (1 / 16, 1 / 8, 1 / 4, 1 / 2), 4
SIGMA = 0.1  # of its noise twins, as a share of the width of the bounds


@dataclass(frozen=True)
class Given:
    """What a run works with."""

    opened: Opened
    attack: Attack
    blind: bool  # no gradient comes

    @property
    def budget(self) -> Budget:
        """Of the attack."""
        assert self.opened.budget is not None
        return self.opened.budget


def prepare(config: ExploreConfig, progress: Progress) -> Given:
    """Open and check all that the configuration names, before any folder is made.

    Raises:
        UsageError, InputError: what was given cannot be used.
    """
    opened = open_one(config, progress)
    model, x = opened.model, opened.x
    chosen = pick_layers(model, x, config.layers or None, tokens=config.tokens)
    if config.frame == "whitened":
        check_whitening(chosen)
    if config.bytes_of_memory is not None:
        with untouched(model), torch.no_grad():
            classes = logits_of(model, x[:2]).shape[1]
        plan_memory(
            model,
            x,
            chosen,
            classes=classes,
            memory=config.bytes_of_memory,
            frame=config.frame,
            batch_size=config.batch_size,
            copies=2,
        )
    attack = make_attack(config, budget=opened.budget)
    who = f"{config.attack} cannot attack {config.model}"
    return Given(opened, attack, bool(gives_no_gradient(opened, attack, who)))


def run(config: ExploreConfig, given: Given, folder: RunFolder, progress: Progress) -> Exploration:
    """Attack the model, follow the twins through its layers, and keep what was found."""
    opened, budget = given.opened, given.budget
    config = settled(config, opened.data)
    settings = config.settings(progress)
    model, x, y = opened.model, opened.x, opened.y
    adversarial = attack_in_shards(config, opened, given.attack, folder, progress)
    generator = torch.Generator().manual_seed(config.seed)
    noise = noise_twin(x, adversarial, bounds=config.bounds, generator=generator, budget=budget)
    story = explain.twins(
        model,
        x,
        adversarial,
        y,
        reference=opened.reference,
        noise=noise,
        layers=config.layers or None,
        tokens=config.tokens,
        memory=config.bytes_of_memory,
        settings=settings,
    )
    curve, checks = _check(config, given, story, adversarial, progress)
    carried = _carriers(config, given, story, adversarial, progress)
    if not isinstance(carried, str):
        folder.write_tensors(CARRIERS, carried.tensors)
    measured = _measure(config, opened, adversarial, progress)
    record = _record(config, opened, story, checks, curve, carried, measured)
    folder.write_tensors(TWINS, {"clean": x, "noise": noise, "adversarial": adversarial})
    forget_shards(folder)
    folder.write_rows("layers.parquet", record.layers, schema=schema_of(Exploration))
    rows = opened.data.rows[: len(y)]
    folder.write_columns(SAMPLES, _samples(story, rows, y.cpu(), adversarial, x))
    folder.write_columns(PAIRS, _pairs(story, rows))
    return record


def _check(
    config: ExploreConfig, given: Given, story: TwinStory, adversarial: Tensor, progress: Progress
) -> tuple[Curve, tuple[Check, ...]]:
    """Accuracy by ε on the first samples, and the checks of the evaluation."""
    opened = given.opened
    cheap: Descent | Square = (
        partial(Square, queries=CURVE_QUERIES) if given.blind else partial(PGD, steps=CURVE_STEPS)
    )(**given.budget.given, seed=config.seed)
    few, settings = slice(0, CURVE_SAMPLES), config.settings()
    x, y = opened.x[few], opened.y[few]
    said = story.trace.answers
    held = said["adversarial"].choices[few] == y.cpu()
    curve = accuracy_curve(opened.model, x, y, attack=cheap, held=held, settings=settings)
    checks = check_evaluation(
        opened.model,
        opened.x,
        story.noise,
        adversarial,
        opened.y,
        attack=given.attack,
        **given.budget.given,
        answers=(said["clean"], said["noise"], said["adversarial"]),
        curve=curve,
        brief=True,
        settings=config.settings(progress),
    )
    return curve, checks


def _carriers(
    config: ExploreConfig, given: Given, story: TwinStory, adversarial: Tensor, progress: Progress
) -> Measured | str:
    """The section on what carries the attack, or why there is none."""
    opened, rows = given.opened, story.fooled.nonzero().flatten()
    if not len(rows):
        return "No sample is fooled, so nothing carries the attack."
    if given.blind:
        return (
            "What carries the attack is found by gradients, and the model gives none: worldline "
            "carriers --exact exchanges each part alone."
        )
    some = rows[: _affordable(config, len(opened.x))]
    here = some.to(opened.x.device)
    twins = opened.x[here], adversarial[here], story.noise.to(opened.x)[here]
    try:
        return measure_carriers(
            opened.model,
            twins,
            opened.y[here],
            asked=asked_of(opened.model, opened.x, (), "auto", brief=True),
            rows=opened.data.rows[some],
            features=opened.data.feature_names,
            shares=CARRIED_SHARES,
            shown=CARRIERS_SHOWN,
            of=(len(opened.x), len(rows)),
            memory=config.bytes_of_memory,
            settings=config.settings(progress),
        )
    except InputError as error:
        return f"What carries the attack was not found: {error}"


def _affordable(config: ExploreConfig, samples: int) -> int:
    """So many fooled samples as take a twentieth of the attack's passes, within limits."""
    steps = 1 if config.attack == "fgsm" else config.steps
    passes = samples * steps * PASSES_A_STEP
    return max(FEWEST_CARRIED, min(MOST_CARRIED, int(passes / 20 / PASSES_CARRIED)))


def _measure(
    config: ExploreConfig, opened: Opened, adversarial: Tensor, progress: Progress
) -> ModelComplexity | str:
    """The section on complexity, or why there is none."""
    if config.memory:
        return (
            "Complexity was left out, as it keeps no limit of memory: worldline complexity "
            "measures it."
        )
    if opened.budget is not None and not opened.budget.plain:
        return (
            "Complexity was left out, as its noise knows one size and one range for all entries: "
            "worldline complexity measures it."
        )
    try:
        found, _ = measure(
            config.model,
            opened.model,
            opened.x[:MEASURED],
            opened.y[:MEASURED],
            adversarial[:MEASURED],
            sigma=SIGMA * (config.bounds[1] - config.bounds[0]),
            layers=config.layers,
            brief=True,
            settings=config.settings(progress),
        )
    except InputError as error:
        return f"Complexity was left out: {error}"
    return found


def _record(
    config: ExploreConfig,
    opened: Opened,
    story: TwinStory,
    checks: tuple[Check, ...],
    curve: Curve,
    carried: Measured | str,
    measured: ModelComplexity | str,
) -> Exploration:
    y, data = opened.y.cpu(), opened.data
    right = {
        name: float((said == y).double().mean()) for name, said in story.trace.predictions.items()
    }
    return Exploration(
        model=config.model,
        data=data.name,
        data_split=data.split,
        bounds=data.bounds,
        epsilon=config.epsilon,
        epsilon_text=config.eps,
        norm=config.norm,
        attack=config.attack,
        steps=config.steps if config.attack == "pgd" else None,
        frame=story.frame,
        tokens=config.tokens,
        memory=config.memory or None,
        batch_size=story.plan.batch_size,
        seed=config.seed,
        samples=len(y),
        fooled=int(story.fooled.sum()),
        misclassified=int(story.misclassified.sum()),
        clean_accuracy=right["clean"],
        adversarial_accuracy=right["adversarial"],
        noise_accuracy=right["noise"],
        swap_layer=story.swap_layer,
        layers=story.layers,
        proper_depth=story.proper_depth,
        untrained_proper_depth=story.untrained_proper_depth,
        curve=curve,
        checks=checks,
        trustworthy=all(check.status != "warned" for check in checks),
        carriers=None if isinstance(carried, str) else carried.found,
        carriers_status=carried if isinstance(carried, str) else "measured",
        complexity=None if isinstance(measured, str) else measured,
        notes=(*data.notes, *story.notes, *([measured] if isinstance(measured, str) else [])),
        class_names=tuple(data.class_names) if data.class_names else None,
        versions=versions(opened.device),
    )


def _samples(
    story: TwinStory, rows: Tensor, y: Tensor, adversarial: Tensor, x: Tensor
) -> SampleColumns:
    sizes = {
        f"{twin}_{norm}": named_norm(norm).size((value - x).cpu()).double().numpy()
        for twin, value in (("adversarial", adversarial), ("noise", story.noise))
        for norm in ("linf", "l2")
    }
    said = {f"{twin}_prediction": it.numpy() for twin, it in story.trace.predictions.items()}
    return SampleColumns(
        sample=rows.numpy(),
        label=y.numpy(),
        wrong_class=story.trace.wrong.numpy(),
        fooled=story.fooled.numpy(),
        wrong_side_from=story.wrong_side_from.numpy(),
        proper_depth_adversarial_clean=proper_depth(
            story.trace.rapidity["adversarial_clean"]
        ).numpy(),
        proper_depth_noise_clean=proper_depth(story.trace.rapidity["noise_clean"]).numpy(),
        **said,
        **sizes,
    )


def _pairs(story: TwinStory, rows: Tensor) -> PairColumns:
    samples, layers = story.trace.rapidity["adversarial_clean"].shape
    null = story.untrained_trace
    none = torch.full((samples * layers,), torch.nan, dtype=torch.float64)
    seen = {name: story.trace.rapidity[name].flatten().numpy() for name in COMPARISONS}
    untrained = {
        f"untrained_{name}": (none if null is None else null.rapidity[name].flatten()).numpy()
        for name in COMPARISONS
    }
    return PairColumns(
        sample=rows.repeat_interleave(layers).numpy(),
        layer=torch.arange(layers).repeat(samples).numpy(),
        **seen,
        **untrained,
    )
