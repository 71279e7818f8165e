"""Attacks: against Foolbox, their laws and their messages."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import worldline as wl
from worldline.attacks import FGSM, PGD, Iterate, adversarial_twin, named_norm, noise_twin
from worldline.errors import BoundsError, LabelError, ModelError, ShapeError, UsageError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import foolbox


@pytest.fixture(scope="module")
def batch(digits) -> tuple[Tensor, Tensor]:
    return digits.x[:64], digits.y[:64]


def foolbox_twin(
    attack, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, start: Tensor | None
) -> Tensor:
    if start is not None:
        attack.get_random_start = lambda x0, epsilon: type(x0)(start)
    found: Tensor = attack(
        foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilons=epsilon
    )[1]
    return found.detach()


@pytest.mark.oracle
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize(
    ("dtype", "steps", "tolerance"), [(torch.float32, 5, 1e-6), (torch.float64, 10, 1e-12)]
)
def test_pgd_equals_foolbox(
    norm, random_start, targeted, name, dtype, steps, tolerance, batch
) -> None:
    """In float32 the two differ by rounding alone, which grows where a ReLU is at its kink: in one
    sample of twenty at most.
    """
    x, y = batch[0].to(dtype), batch[1]
    model = wl.zoo.load(name).to(dtype)
    epsilon, size = (0.15, 0.02) if norm == "linf" else (1.0, 0.15)
    start = None
    if random_start:
        start = x + named_norm(norm).random(x, epsilon, torch.Generator().manual_seed(7))
    labels = (y + 1) % 10 if targeted else y
    ours = PGD(
        epsilon=epsilon,
        norm=norm,
        steps=steps,
        step_size=size,
        random_start=False,
        targeted=targeted,
        keep="last",
    )(model, x, labels, start=start)
    theirs = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    attack = theirs(abs_stepsize=size, steps=steps, random_start=random_start)
    criterion = foolbox.criteria.TargetedMisclassification(labels) if targeted else labels
    expected = foolbox_twin(attack, model, x, criterion, epsilon, start)
    apart = (ours.x - expected).abs().flatten(1).amax(1)
    kinks = 0.05 if dtype == torch.float32 else 0.0
    assert float((apart > tolerance).double().mean()) <= kinks
    assert float(apart.max()) <= (1e-3 if kinks else tolerance)


@pytest.mark.oracle
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_equals_foolbox(norm, batch) -> None:
    x, y = batch
    model, epsilon = wl.zoo.load("mlp"), 0.1 if norm == "linf" else 0.8
    ours = FGSM(epsilon=epsilon, norm=norm)(model, x, y).x
    attack = {
        "linf": foolbox.attacks.LinfFastGradientAttack,
        "l2": foolbox.attacks.L2FastGradientAttack,
    }[norm]()
    torch.testing.assert_close(
        ours, foolbox_twin(attack, model, x, y, epsilon, None), rtol=0, atol=1e-6
    )


@pytest.mark.law
@pytest.mark.parametrize("norm", ["linf", "l2"])
@given(
    epsilon=st.floats(1e-4, 3.0), seed=st.integers(0, 2**31), scale=st.sampled_from([1.0, 255.0])
)
def test_projection_stays_inside_and_is_idempotent(
    norm, epsilon: float, seed: int, scale: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    center = scale * torch.rand(8, 3, 4, generator=generator)
    bounds, epsilon = (0.0, scale), scale * epsilon
    project = named_norm(norm).projector(center, epsilon, bounds)
    once = project(center + scale * torch.randn(center.shape, generator=generator))
    assert (named_norm(norm).size(once - center) <= epsilon * (1 + 1e-5) + 1e-6 * scale).all()
    assert float(once.min()) >= 0
    assert float(once.max()) <= scale
    torch.testing.assert_close(project(once.clone()), once, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.law
def test_steepest_ascent_has_unit_size_and_random_starts_fill_the_ball() -> None:
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(1000, 6, generator=generator)
    for name in ("linf", "l2"):
        norm = named_norm(name)
        torch.testing.assert_close(norm.size(norm.direction(1e-30 * gradient)), torch.ones(1000))
        assert (norm.direction(torch.zeros(2, 3)) == 0).all()
        sizes = norm.size(norm.random(gradient, 0.3, generator))
        assert float(sizes.max()) <= 0.3 * (1 + 1e-6)
        # uniform in a ball of six dimensions: P(size ≤ r) = (r/ε)^6
        inside = float((sizes <= 0.25).float().mean())
        assert abs(inside - (0.25 / 0.3) ** 6) < 4 * (0.335 * 0.665 / 1000) ** 0.5


@pytest.mark.law
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_attack_respects_ball_and_bounds_and_is_reproducible(norm, mlp: nn.Module, batch) -> None:
    x, y = batch
    attack = PGD(epsilon=0.3, norm=norm, steps=5, seed=3)
    torch.manual_seed(0)
    first = attack(mlp, x, y)
    torch.manual_seed(1)
    again = attack(mlp, x, y)
    assert torch.equal(first.x, again.x)
    assert float(named_norm(norm).size(first.x - x).max()) <= 0.3 + 1e-6
    assert 0 <= float(first.x.min()) <= float(first.x.max()) <= 1
    assert not torch.equal(first.x, PGD(epsilon=0.3, norm=norm, steps=5, seed=4)(mlp, x, y).x)


@pytest.mark.law
def test_units_are_the_inputs_own(mlp: nn.Module, batch) -> None:
    """The same attack in 0…255 and in 0…1."""
    x, y = batch
    scaled = nn.Sequential(Scale(), mlp)
    small = PGD(epsilon=0.1, steps=5, random_start=False)(mlp, x, y).x
    large = PGD(epsilon=25.5, steps=5, random_start=False, bounds=(0, 255))(scaled, 255 * x, y).x
    torch.testing.assert_close(large / 255, small, rtol=0, atol=1e-5)


class Scale(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 255


@pytest.mark.law
def test_callback_sees_every_iterate_and_best_is_the_best_of_them(mlp: nn.Module, batch) -> None:
    x, y = batch
    seen: list[Iterate] = []
    points: list[Tensor] = []

    def watch(iterate: Iterate) -> None:
        seen.append(iterate)
        points.append(iterate.x.clone())

    found = PGD(epsilon=0.05, steps=6, restarts=2, callback=watch)(mlp, x, y)
    assert [(iterate.restart, iterate.step) for iterate in seen] == [
        (r, s) for r in range(2) for s in range(7)
    ]
    losses = torch.stack([iterate.loss for iterate in seen]).double()
    wrong = torch.stack([iterate.logits.argmax(1) != y for iterate in seen])
    assert torch.equal(found.success, wrong.any(0))
    best = torch.where(wrong, losses + 1e6, losses).argmax(0)
    torch.testing.assert_close(found.x, torch.stack(points)[best, torch.arange(64)])
    steps = torch.tensor([iterate.step for iterate in seen])
    first = torch.where(wrong.any(0), steps[wrong.long().argmax(0)], -1)
    assert torch.equal(found.first_success, first)
    assert torch.equal(mlp(found.x).argmax(1) != y, found.success)
    last = PGD(epsilon=0.05, steps=6, keep="last", callback=watch)(mlp, x, y)
    assert torch.equal(last.x, points[-1])
    assert last.passes == 7


@pytest.mark.law
def test_more_effort_never_does_worse(mlp: nn.Module, digits) -> None:
    def success(**options: object) -> int:
        return int(PGD(epsilon=0.06, **options)(mlp, digits.x, digits.y).success.sum())

    assert success(steps=3) <= success(steps=3, restarts=4)
    assert success(steps=10, keep="last") <= success(steps=10)
    assert success(steps=20) >= int(FGSM(epsilon=0.06)(mlp, digits.x, digits.y).success.sum())


@pytest.mark.law
def test_targeted_attack_reaches_its_target(mlp: nn.Module, batch) -> None:
    x, y = batch
    target = (y + 3) % 10
    found = PGD(epsilon=0.4, steps=30, targeted=True)(mlp, x, target)
    assert float(found.success.float().mean()) > 0.8
    assert torch.equal(found.success, mlp(found.x).argmax(1) == target)


@pytest.mark.law
@given(st.integers(0, 2**31))
def test_noise_twin_has_the_same_norm_in_every_lp(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    clean = 0.5 + 0.1 * torch.rand(6, 2, 5, generator=generator)
    adversarial = clean + 0.1 * (torch.rand(clean.shape, generator=generator) - 0.5)
    noise = noise_twin(clean, adversarial, generator=generator)
    for p in (1.0, 2.0, 3.0, torch.inf):
        sizes = [
            torch.linalg.vector_norm((twin - clean).flatten(1), p, dim=1)
            for twin in (noise, adversarial)
        ]
        torch.testing.assert_close(sizes[0], sizes[1], rtol=1e-4, atol=1e-6)
    assert not torch.equal(noise, adversarial)
    clipped = noise_twin(clean, adversarial, bounds=(0.5, 0.52), generator=generator)
    assert 0.5 <= float(clipped.min()) <= float(clipped.max()) <= 0.52 + 1e-7


@pytest.mark.law
def test_any_callable_is_an_attack(mlp: nn.Module, batch) -> None:
    x, y = batch

    def by_foolbox(model: nn.Module, x: Tensor, y: Tensor) -> object:
        return foolbox.attacks.LinfPGD(steps=3)(
            foolbox.PyTorchModel(model, (0, 1), device="cpu"), x, y, epsilons=0.1
        )[1:]

    assert adversarial_twin(by_foolbox, mlp, x, y).shape == x.shape
    assert all(parameter.grad is None for parameter in mlp.parameters())
    assert adversarial_twin(PGD(epsilon=0.1, steps=2), mlp, x, y).shape == x.shape


@pytest.mark.message
@pytest.mark.parametrize(
    ("attack", "error", "words"),
    [
        (
            lambda m, x, y: x[:3],
            ShapeError,
            r"must return inputs of shape \(64, 1, 8, 8\).*returned \(3, 1, 8, 8\)",
        ),
        (lambda m, x, y: x * torch.nan, BoundsError, "returned NaN or infinite"),
        (lambda m, x, y: "done", ShapeError, "it returned str"),
        (lambda m, x, y: [].pop(), ModelError, "raised IndexError: pop from empty"),
        (lambda m, x, y: int("three"), ModelError, "raised ValueError: invalid literal"),
    ],
)
def test_broken_attacks_are_named(
    attack, error: type[Exception], words: str, mlp: nn.Module, batch
) -> None:
    with pytest.raises(error, match=words):
        adversarial_twin(attack, mlp, *batch)


@pytest.mark.message
def test_impossible_options() -> None:
    for options, words in (
        ({"epsilon": -1.0}, "epsilon must be a finite number ≥ 0 in pixel units; got -1.0"),
        ({"epsilon": float("nan")}, "epsilon must be"),
        ({"epsilon": 0.1, "steps": 0}, "steps and restarts must be at least 1; got 0 and 1"),
        ({"epsilon": 0.1, "step_size": 0.0}, "step_size must be positive; got 0.0"),
        ({"epsilon": 0.1, "keep": "first"}, "'best' or 'last'; got 'first'"),
        ({"epsilon": 0.1, "norm": "l1"}, "Unknown norm 'l1'; choose one of linf, l2"),
    ):
        with pytest.raises(UsageError, match=words):
            PGD(**options)
    with pytest.raises(BoundsError, match=r"low < high; got \(1.0, 0.0\)"):
        PGD(epsilon=0.1, bounds=(1.0, 0.0))


class TupleModel(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.message
def test_inputs_that_do_not_fit(mlp: nn.Module, batch) -> None:
    x, y = batch
    attack = PGD(epsilon=0.1, steps=2)
    for inputs, labels, model, error, words in (
        (
            x * 2,
            y,
            mlp,
            BoundsError,
            r"Input range \[0, 2\] is outside bounds \(0, 1\); pass the bounds",
        ),
        (
            x.index_fill(0, torch.tensor([5]), torch.nan),
            y,
            mlp,
            BoundsError,
            "1 samples hold NaN or infinity, first sample 5",
        ),
        ((16 * x).long(), y, mlp, ShapeError, r"floating tensor.*int64.*x\.float\(\)"),
        (x[0, 0, 0], y, mlp, ShapeError, r"shape \(N, …\).*got \(8,\)"),
        (x, y[:10], mlp, LabelError, "64 samples, 10 labels"),
        (x, nn.functional.one_hot(y, 10), mlp, LabelError, r"one-hot. Pass y\.argmax\(1\)"),
        (x, y + 0.5, mlp, LabelError, "whole class numbers; label 0 is"),
        (x, y + 5, mlp, LabelError, "must lie in 0…9, as the model has 10 outputs; got 5…14"),
        (
            x,
            y,
            TupleModel(),
            ModelError,
            r"must return logits.*returned tuple.*self\.model\(x\)\[0\]",
        ),
        (x, y, nn.Flatten(0), ModelError, r"for 64 inputs it returned \(4096,\)"),
    ):
        with pytest.raises(error, match=words):
            attack(model, inputs, labels)


@pytest.mark.law
def test_rounding_at_the_bounds_is_tolerated(mlp: nn.Module, batch) -> None:
    x, y = batch
    assert PGD(epsilon=0.1, steps=1)(mlp, x + 4e-6, y).x.max() <= 1
