"""APGD, Square Attack and the adapters: against the paper, its authors' code, their laws and their
messages.
"""

from __future__ import annotations

import logging
import random
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from worldline.attacks import (
    APGD,
    PGD,
    AutoAttack,
    Iterate,
    Square,
    WorstCase,
    named_norm,
    strong_attack,
)
from worldline.attacks.apgd import checkpoints
from worldline.attacks.losses import dlr, targeted_dlr
from worldline.errors import BoundsError, GradientWarning, ModelError, ShapeError, UsageError

EPSILON = {"linf": 0.1, "l2": 0.6}


@pytest.fixture(scope="module")
def batch(digits) -> tuple[Tensor, Tensor]:
    return digits.x[:48], digits.y[:48]


def slow_apgd(
    model, x: Tensor, y: int, start: Tensor, *, epsilon: float, norm: str, loss: str, steps: int
) -> list[Tensor]:
    """Algorithm 1 of Croce and Hein (2020) for one sample, line by line; returns every iterate that
    is evaluated.
    """

    def f(point: Tensor) -> tuple[float, Tensor]:
        point = point.detach().requires_grad_(True)
        z = model(point[None])[0]
        if loss == "ce":
            value = torch.logsumexp(z, 0) - z[y]
        else:
            ranked = sorted(range(len(z)), key=lambda i: -float(z[i].detach()))
            other = next(i for i in ranked if i != y)
            value = -(z[y] - z[other]) / (z[ranked[0]] - z[ranked[2]] + 1e-12)
        (gradient,) = torch.autograd.grad(value, point)
        return float(value.detach()), gradient

    def project(point: Tensor) -> Tensor:
        if norm == "linf":
            return torch.minimum(torch.maximum(point, x - epsilon), x + epsilon).clamp(0, 1)
        delta = point - x
        size = float(delta.norm())
        return (x + (delta * (epsilon / size) if size > epsilon else delta)).clamp(0, 1)

    def ascend(point: Tensor, gradient: Tensor, eta: float) -> Tensor:
        return point + eta * (gradient.sign() if norm == "linf" else gradient / gradient.norm())

    marks, p0, p1 = [0], 0.0, 0.22
    while p1 <= 1 + 1e-9:
        marks.append(int(np.ceil(round(p1 * steps, 9))))
        p0, p1 = p1, p1 + max(p1 - p0 - 0.03, 0.06)
    points = [project(start)]
    values, gradients = zip(f(points[0]), strict=True)
    values, gradients = list(values), list(gradients)
    eta, best, f_max, best_gradient = 2 * epsilon, points[0], values[0], gradients[0]
    here, slope, last = points[0], gradients[0], points[0]
    eta_then, f_then, rises, evaluated = None, f_max, 0, [points[0]]
    for k in range(steps):
        z = project(ascend(here, slope, eta))
        new = z if k == 0 else project(here + 0.75 * (z - here) + 0.25 * (here - last))
        last = here
        value, gradient = f(new)
        rises += value > values[-1]
        values.append(value)
        evaluated.append(new)
        if value > f_max:
            best, f_max, best_gradient = new, value, gradient
        here, slope = new, gradient
        if k + 1 in marks[1:]:
            length = k + 1 - marks[marks.index(k + 1) - 1]
            few = rises <= 0.75 * length
            stuck = eta_then == eta and f_then == f_max
            eta_then, f_then, rises = eta, f_max, 0
            if few or stuck:
                eta_then = None  # it changes now, so it cannot be the same at the next checkpoint
                eta, here, slope = eta / 2, best, best_gradient
    return evaluated


@pytest.mark.oracle
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_every_step_is_that_of_the_paper(norm, loss, batch) -> None:
    """In float64 the two agree to rounding; 1e-9 leaves room for thirty steps of a smooth
    network.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 10)).double()
    x = batch[0][:6].double()
    y = model(x).argmax(1)
    start = x + named_norm(norm).random(x, EPSILON[norm], torch.Generator().manual_seed(3))
    seen: list[Tensor] = []
    APGD(
        epsilon=EPSILON[norm],
        norm=norm,
        loss=loss,
        steps=30,
        callback=lambda it: seen.append(it.x.clone()),
    )(model, x, y, start=start)
    for row in range(6):
        expected = slow_apgd(
            model,
            x[row],
            int(y[row]),
            start[row],
            epsilon=EPSILON[norm],
            norm=norm,
            loss=loss,
            steps=30,
        )
        ours = torch.stack([point[row] for point in seen])
        torch.testing.assert_close(ours, torch.stack(expected), rtol=0, atol=1e-9)


@pytest.mark.oracle
def test_checkpoints_are_those_of_the_paper() -> None:
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(1000)[:3] == (220, 410, 570)
    assert all(checkpoints(steps)[-1] <= steps for steps in range(1, 60))


@pytest.mark.oracle
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_from_the_same_start_the_authors_code_finds_the_same(
    norm, loss, mlp: nn.Module, digits
) -> None:
    """Iterates differ by rounding, which ReLU kinks and ties at a checkpoint magnify: one sample
    may end otherwise.
    """
    from pyautoattack.autopgd_base import APGDAttack

    x, y = digits.x[:200], digits.y[:200]
    keep = mlp(x).argmax(1) == y
    x, y = x[keep], y[keep]
    theirs = APGDAttack(
        mlp,
        n_iter=100,
        norm={"linf": "Linf", "l2": "L2"}[norm],
        eps=EPSILON[norm],
        loss=loss,
        seed=5,
        device="cpu",
    )
    with torch.random.fork_rng():
        expected = theirs.perturb(x, y)
        torch.manual_seed(5)
        noise = 2 * torch.rand(x.shape) - 1 if norm == "linf" else torch.randn(x.shape)
    start = x + EPSILON[norm] * noise / (named_norm(norm).size(noise).reshape(-1, 1, 1, 1) + 1e-12)
    ours = APGD(epsilon=EPSILON[norm], norm=norm, loss=loss)(mlp, x, y, start=start)
    fooled = mlp(expected).argmax(1) != y
    assert int((ours.success != fooled).sum()) <= 1
    assert 10 < int(fooled.sum()) < len(x) - 10


@pytest.mark.oracle
def test_losses_equal_their_formulas() -> None:
    z, y, t = (
        torch.randn(50, 7, dtype=torch.float64),
        torch.randint(7, (50,)),
        torch.randint(7, (50,)),
    )
    for row in range(50):
        ranked = z[row].sort(descending=True).values
        rest = torch.cat([z[row, : y[row]], z[row, y[row] + 1 :]])
        plain = -(z[row, y[row]] - rest.max()) / (ranked[0] - ranked[2])
        aimed = -(z[row, y[row]] - z[row, t[row]]) / (ranked[0] - (ranked[2] + ranked[3]) / 2)
        torch.testing.assert_close(dlr(z, y)[row], plain, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(targeted_dlr(z, y, t)[row], aimed, rtol=1e-9, atol=1e-9)


@pytest.mark.law
@given(scale=st.floats(1e-2, 1e3), shift=st.floats(-50, 50), seed=st.integers(0, 2**31))
@settings(max_examples=25)
def test_the_dlr_loss_sees_no_scale_and_no_shift(scale: float, shift: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(20, 5, dtype=torch.float64, generator=generator)
    y = torch.randint(5, (20,), generator=generator)
    torch.testing.assert_close(dlr(scale * z + shift, y), dlr(z, y), rtol=1e-6, atol=1e-6)
    assert torch.equal(dlr(z, y) > 0, z.argmax(1) != y)


@pytest.mark.law
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["apgd", "targets", "square"])
def test_results_stay_in_the_ball_are_reproducible_and_draw_nothing_global(
    norm, kind, mlp: nn.Module, batch
) -> None:
    x, y = batch
    attack = {
        "apgd": APGD(epsilon=EPSILON[norm], norm=norm, steps=12, restarts=2, seed=3),
        "targets": APGD(epsilon=EPSILON[norm], norm=norm, steps=8, loss="dlr", targets=9),
        "square": Square(epsilon=EPSILON[norm], norm=norm, queries=40, seed=2),
    }[kind]
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    found = attack(mlp, x, y)
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()
    assert states[2] == random.getstate()
    torch.manual_seed(1)
    assert torch.equal(found.x, attack(mlp, x, y).x)
    assert float(named_norm(norm).size(found.x - x).max()) <= EPSILON[norm] * (1 + 1e-5)
    assert 0 <= float(found.x.min()) <= float(found.x.max()) <= 1
    assert torch.equal(found.success, mlp(found.x).argmax(1) != y)
    assert int(found.success.sum()) > 5


@pytest.mark.law
def test_later_runs_take_only_what_still_holds(mlp: nn.Module, batch) -> None:
    x, y = batch
    seen: list[Iterate] = []
    attack = APGD(epsilon=0.06, steps=4, restarts=3, loss="dlr", targets=2, callback=seen.append)
    found = attack(mlp, x, y)
    rows = [it.rows for it in seen if it.step == 0]
    assert len(rows[0]) == 48
    for before, after in pairwise(rows):
        assert set(after.tolist()) <= set(before.tolist())
    assert len(rows[-1]) < 48
    assert not found.success[rows[-1]].all()
    assert found.passes == len(seen)
    fooled = torch.zeros(48, dtype=torch.bool)
    for it in seen:
        fooled[it.rows] |= it.logits.argmax(1) != y[it.rows]
    assert torch.equal(found.success, fooled)
    one = APGD(epsilon=0.06, steps=4, loss="dlr", targets=2)(mlp, x, y)
    assert int(one.success.sum()) <= int(found.success.sum())


@pytest.mark.law
def test_apgd_in_other_units_is_the_same_attack(mlp: nn.Module, batch) -> None:
    x, y = batch

    class Bytes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return mlp(x / 255)

    small = APGD(epsilon=0.1, steps=5, random_start=False)(mlp, x, y).x
    large = APGD(epsilon=25.5, steps=5, random_start=False, bounds=(0, 255))(Bytes(), 255 * x, y).x
    torch.testing.assert_close(large / 255, small, rtol=0, atol=1e-5)


@pytest.mark.law
def test_targeted_apgd_reaches_its_target(mlp: nn.Module, batch) -> None:
    x, y = batch
    found = APGD(epsilon=0.4, steps=20, targeted=True)(mlp, x, (y + 3) % 10)
    assert float(found.success.float().mean()) > 0.8
    assert torch.equal(found.success, mlp(found.x).argmax(1) == (y + 3) % 10)


@pytest.mark.law
def test_the_worst_case_is_the_union_of_the_attacks(mlp: nn.Module, batch) -> None:
    x, y = batch
    attacks = [
        PGD(epsilon=0.05, steps=3),
        Square(epsilon=0.07, queries=60),
        PGD(epsilon=0.09, steps=10),
    ]
    found = WorstCase(attacks, batch_size=20)(mlp, x, y)
    wrong = mlp(x).argmax(1) != y
    assert torch.equal(found.found_by == -2, wrong)
    assert torch.equal(found.success, mlp(found.x).argmax(1) != y)
    assert found.remaining[-1] == pytest.approx(float((~found.success).double().mean()))
    assert list(found.remaining) == sorted(found.remaining, reverse=True)
    assert {0, 1, 2} <= set(found.found_by.tolist())
    alone = WorstCase(attacks[:1], batch_size=20)(mlp, x, y)
    assert torch.equal((alone.found_by == 0), found.found_by == 0)


@pytest.mark.law
def test_square_attack_needs_no_gradients_and_fools_where_they_are_rounded_away(
    mlp: nn.Module, batch
) -> None:
    x, y = batch
    with torch.no_grad():
        calls = []

        def rounded(x: Tensor) -> Tensor:
            calls.append(x.requires_grad)
            return mlp(torch.round(x * 4) / 4)

        found = Square(epsilon=0.15, queries=150)(rounded, x, y)
    assert not any(calls)
    with pytest.warns(
        GradientWarning, match=r"PGD .* the gradient is exactly 0 for all of .* Square"
    ):
        without = PGD(epsilon=0.15, steps=20)(rounded, x, y)
    assert int(found.success.sum()) > int(without.success.sum()) + 10
    assert int((found.first_success >= 0).sum()) == int(found.success.sum())
    flat = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), mlp)
    assert int(Square(epsilon=0.15, queries=150)(flat, x.flatten(1), y).success.sum()) > 20


@pytest.mark.oracle
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 3.0)])
def test_autoattack_is_a_quiet_guest(bounds, mlp: nn.Module, batch, capfd, caplog) -> None:
    x, y = batch[0][:8], batch[1][:8]
    low, high = bounds

    class Moved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp

        def forward(self, x: Tensor) -> Tensor:
            return self.inner((x - low) / (high - low))

    model = Moved().train()
    epsilon = 0.1 * (high - low)
    state, traced, level = (
        torch.random.get_rng_state(),
        sys.gettrace(),
        logging.getLogger("auto-attack").level,
    )
    found = AutoAttack(epsilon=epsilon, bounds=bounds)(model, low + (high - low) * x, y)
    assert torch.equal(state, torch.random.get_rng_state())
    assert (sys.gettrace(), logging.getLogger("auto-attack").level) == (traced, level)
    assert not logging.getLogger("auto-attack").disabled
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert model.training
    assert float((found - low - (high - low) * x).abs().max()) <= epsilon * (1 + 1e-5)
    held = model.eval()(found).argmax(1) == y
    ours = strong_attack(epsilon=0.1, classes=10)(mlp, x, y)
    assert abs(int(held.sum()) - int((~ours.success).sum())) <= 1
    model.train(False)
    mlp.eval()


@pytest.mark.message
def test_what_cannot_be_is_said(mlp: nn.Module, batch, monkeypatch) -> None:
    x, y = batch
    three = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    for build, words in (
        (lambda: APGD(epsilon=0.1, loss="hinge"), "Unknown loss 'hinge'; choose one of ce, dlr"),
        (lambda: APGD(epsilon=0.1, rho=1.0), r"rho is a share of steps in \(0, 1\); got 1.0"),
        (lambda: APGD(epsilon=0.1, targets=-1), "how many classes to aim at, 0 for none; got -1"),
        (
            lambda: APGD(epsilon=0.1, targeted=True, loss="dlr"),
            "give the labels as y, and how many classes",
        ),
        (lambda: Square(epsilon=0.1, queries=0), "queries must be at least 1; got 0"),
        (lambda: Square(epsilon=0.1, share=0.0), r"share of the pixels in \(0, 1\]; got 0.0"),
        (lambda: Square(epsilon=-1), "epsilon must be a finite number ≥ 0"),
        (lambda: WorstCase([]), "needs at least one attack; got none"),
        (lambda: AutoAttack(epsilon=0.1, version="fast"), "standard, plus or rand; got 'fast'"),
        (lambda: AutoAttack(epsilon=0), "epsilon must be positive; got 0"),
    ):
        with pytest.raises(UsageError, match=words):
            build()
    with pytest.raises(BoundsError, match="low < high"):
        Square(epsilon=0.1, bounds=(1, 0))
    with pytest.raises(
        ModelError,
        match=r"targeted DLR loss needs at least 4 classes; the model has 3\. Use loss='ce'",
    ):
        APGD(epsilon=0.1, loss="dlr", targets=9, steps=2)(three, x, y % 3)
    with pytest.raises(ModelError, match="The DLR loss needs at least 3 classes; the model has 2"):
        APGD(epsilon=0.1, loss="dlr", steps=2)(
            nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), x, y % 2
        )
    assert [attack.loss for attack in strong_attack(epsilon=0.1, classes=3).attacks] == ["ce", "ce"]
    with pytest.raises(ShapeError, match=r"takes pictures \(N, C, H, W\); got \(48, 64\)"):
        AutoAttack(epsilon=0.1)(mlp, x.flatten(1), y)
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(
        ModelError,
        match=r"pyautoattack, which is not installed: pip install 'worldline\[autoattack\]'",
    ):
        AutoAttack(epsilon=0.1)(mlp, x, y)


@pytest.mark.law
def test_square_goes_on_where_two_classes_tie_and_the_right_one_is_still_named() -> None:
    """Both logits are 0 between the classes, where argmax names the first: not fooled yet."""

    def model(x: Tensor) -> Tensor:
        total = x.sum(1)
        return torch.stack([(total - 1.3).relu(), (0.9 - total).relu()], 1)

    x, y = torch.full((16, 2), 0.6), torch.zeros(16, dtype=torch.long)
    found = Square(epsilon=0.2, queries=60)(model, x, y)
    assert found.success.all()
    assert torch.equal(found.success, model(found.x).argmax(1) != y)
    assert torch.equal(found.first_success >= 0, found.success)


@pytest.mark.law
@pytest.mark.parametrize("attack", [PGD, APGD, Square])
@pytest.mark.parametrize("label", [0, 1])
def test_an_output_of_nan_is_no_success(attack, label: int) -> None:
    def model(x: Tensor) -> Tensor:
        return x * torch.nan

    x, y = torch.full((3, 2), 0.5), torch.full((3,), label)
    found = attack(epsilon=0.1)(model, x, y)
    assert (found.success.any(), found.prediction.tolist()) == (False, [-1] * 3)
    assert (found.first_success == -1).all()
    assert (WorstCase([attack(epsilon=0.1)])(model, x, y).found_by == -2).all()
