"""The smallest change that fools: against Foolbox, the exact answer, its laws, its messages."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from worldline.attacks import FMN, choices, norms, predict, smallest_change
from worldline.attacks.norms import BALLS, named_ball
from worldline.errors import BoundsError, GradientWarning, LabelError, ShapeError, UsageError
from worldline.settings import Settings

NORMS = list(BALLS)
RIVALS = {"linf": "LInfFMNAttack", "l2": "L2FMNAttack", "l1": "L1FMNAttack", "l0": "L0FMNAttack"}


@pytest.fixture(scope="module")
def batch(digits) -> tuple[Tensor, Tensor]:
    return digits.x[:32], digits.y[:32]


def _foolbox():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        import foolbox
        import foolbox.attacks.fast_minimum_norm
    return foolbox


@pytest.mark.oracle
@pytest.mark.parametrize("norm", NORMS)
def test_the_median_is_at_most_that_of_foolbox(norm, cnn: nn.Module, batch) -> None:
    """Ours clips before it projects, so it is smaller but for L∞, where the two are one: 1 %."""
    foolbox = _foolbox()
    x, y = batch
    ours = FMN(norm=norm, steps=40)(cnn, x, y)
    theirs, *_ = getattr(foolbox.attacks, RIVALS[norm])(steps=40)(
        foolbox.PyTorchModel(cnn, bounds=(0, 1)), x, y, epsilons=None
    )
    sizes = named_ball(norm).size(theirs - x)
    sizes[predict(cnn, theirs).argmax(1) == y] = torch.inf
    assert ours.success.all()
    assert float(ours.size.median()) <= 1.01 * float(sizes.median())


@pytest.mark.oracle
@pytest.mark.parametrize("norm", NORMS)
def test_a_linear_model_is_fooled_at_its_distance(norm) -> None:
    """The distance is m/‖w‖ in the dual norm; γ ends at 0.001, and the annealing leaves some."""
    torch.manual_seed(0)
    weight = torch.randn(12, dtype=torch.float64)
    model = nn.Linear(12, 2, bias=False).double()
    model.weight.data = torch.stack([weight, -weight])
    x = 0.5 + 0.1 * torch.rand(20, 12, dtype=torch.float64)
    y = choices(model(x))
    margin = 2 * (x @ weight).abs()
    slope = 2 * weight.abs()
    found = FMN(norm=norm, steps=300, bounds=(-10.0, 11.0))(model, x, y)
    expected = {
        "linf": margin / slope.sum(),
        "l2": margin / slope.norm(),
        "l1": margin / slope.max(),
        "l0": torch.ones_like(margin),
    }[norm]
    assert (found.size >= expected * (1 - 1e-9)).all()
    assert (found.size <= expected * 1.02).all()


@pytest.mark.law
@pytest.mark.parametrize("norm", NORMS)
def test_twins_fool_inside_the_bounds_and_are_as_large_as_said(norm, cnn, batch) -> None:
    x, y = batch
    found = FMN(norm=norm, steps=20)(cnn, x, (y + (torch.arange(32) < 4).long()) % 10)
    assert found.x.min() >= 0
    assert found.x.max() <= 1
    assert (found.size[:4] == 0).all()
    assert torch.equal(found.x[:4], x[:4])  # wrong by themselves
    finite = found.size < torch.inf
    assert torch.equal(finite, found.success)
    assert finite.all()
    assert torch.equal(named_ball(norm).size(found.x - x), found.size)
    alone = predict(cnn, found.x, batch_size=1).argmax(1)
    assert (alone[4:] != y[4:]).all()  # also in another batch, where sums round otherwise
    assert torch.equal(alone, found.prediction)
    assert torch.equal(FMN(norm=norm, steps=20)(cnn, x[4:], y[4:]).x, found.x[4:])  # nothing drawn


@pytest.mark.law
@pytest.mark.parametrize("norm", NORMS)
def test_only_entries_of_the_mask_change(norm, cnn, batch) -> None:
    x, y = batch
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:6, 1:7] = True
    found = FMN(norm=norm, steps=20)(cnn, x, y, mask=mask)
    assert torch.equal(found.x[..., ~mask], x[..., ~mask])
    assert found.success.float().mean() > 0.8
    nothing = FMN(norm=norm, steps=3)
    with pytest.warns(GradientWarning):
        held = nothing(nn.Sequential(nn.Flatten(), _Deaf()), x, torch.zeros(32, dtype=torch.long))
    assert not held.success.any()
    assert (held.size == torch.inf).all()
    assert torch.equal(held.x, x)


class _Deaf(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.new_ones(len(x)), x.new_zeros(len(x))], 1)


@pytest.mark.law
@pytest.mark.parametrize("norm", NORMS)
def test_more_steps_from_what_was_found_are_never_worse(norm, cnn, batch) -> None:
    """Nor is a later iterate of one run, as the smallest is kept."""
    x, y = batch
    first = FMN(norm=norm, steps=10)(cnn, x, y)
    more = FMN(norm=norm, steps=30)(cnn, x, y, start=first.x)
    assert (more.size <= first.size).all()
    assert more.size.median() <= first.size.median()
    best = torch.full((32,), torch.inf)

    def watch(it) -> None:
        here = torch.where(it.loss < 0, named_ball(norm).size(it.x - x[it.rows]), torch.inf)
        best[it.rows] = torch.minimum(best[it.rows], here)

    found = FMN(norm=norm, steps=10, callback=watch)(cnn, x, y)
    assert (found.size >= best).all()
    assert (found.size[found.size > 0] < torch.inf).all()


@pytest.mark.law
@pytest.mark.parametrize("norm", NORMS)
def test_targets_are_reached(norm, cnn, batch) -> None:
    x, y = batch
    found = FMN(norm=norm, steps=60, targeted=True)(cnn, x, (y + 1) % 10)
    assert found.success.float().mean() > 0.9
    assert (found.prediction == (y + 1) % 10)[found.success].all()


@pytest.mark.law
def test_bounds_in_other_units_change_only_the_units(cnn, batch) -> None:
    """255·x is not exact in float32, which a few steps magnify: 1 %."""
    x, y = batch
    ours = FMN(norm="l2", steps=30)(cnn, x, y).size
    bytes_ = FMN(norm="l2", steps=30, bounds=(0.0, 255.0))(lambda x: cnn(x / 255), x * 255, y).size
    torch.testing.assert_close(bytes_ / 255, ours, rtol=0.01, atol=1e-4)


@pytest.mark.law
@pytest.mark.parametrize("norm", NORMS)
def test_balls_hold_what_is_put_onto_them(norm) -> None:
    ball = named_ball(norm)
    generator = torch.Generator().manual_seed(0)
    delta = torch.randn(40, 5, 7, generator=generator, dtype=torch.float64)
    radius = torch.rand(40, generator=generator, dtype=torch.float64) * 2 * ball.size(delta)
    moved = ball.onto(delta.clone(), radius)
    assert (ball.size(moved) <= radius * (1 + 1e-12)).all()
    assert (moved.abs() <= delta.abs()).all()
    assert (moved * delta >= 0).all()
    inside = ball.size(delta) <= radius
    torch.testing.assert_close(moved[inside], delta[inside], rtol=0, atol=0)
    if norm == "l1":  # Duchi et al. 2008, sorted
        foolbox = _foolbox()
        delta, radius = map(foolbox.attacks.fast_minimum_norm.ep.astensor, (delta, radius))
        expected = foolbox.attacks.fast_minimum_norm.project_onto_l1_ball(delta, radius).raw
        torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)
        wide = norms._raised(delta.raw.flatten(1).abs(), radius.raw)  # how long rows are done
        torch.testing.assert_close(wide, expected.flatten(1).abs(), rtol=0, atol=1e-12)


@pytest.mark.law
def test_the_answer_over_samples(cnn, batch) -> None:
    x, y = batch
    told = []
    settings = Settings(batch_size=10, progress=lambda *it: told.append(it))
    found = smallest_change(cnn, x, y, norm="l1", steps=15, settings=settings)
    assert told[-1] == ("smallest change", 32, 32)
    assert found.median.median == pytest.approx(float(found.size.double().quantile(0.5)))
    low, high = found.median.interval
    assert low <= found.median.median <= high
    epsilons, left = found.curve()
    assert epsilons[0] == 0
    assert (epsilons.diff() > 0).all()
    assert (left.diff() < 0).all()
    shares = found.accuracy(epsilons.tolist())
    torch.testing.assert_close(torch.tensor([it.value for it in shares]).double(), left)
    assert left[0] == (predict(cnn, x).argmax(1) == y).double().mean()
    assert left[-1] == pytest.approx(1 - found.fooled.value)
    assert "upper bound" in str(found)
    assert "L1" in str(found)
    masks = torch.ones_like(x, dtype=torch.bool)
    again = smallest_change(cnn, x, y, norm="l1", steps=15, mask=masks, settings=settings)
    assert torch.equal(again.size, found.size)


@pytest.mark.law
def test_where_most_hold_the_median_is_infinite(batch) -> None:
    x, _ = batch
    with pytest.warns(GradientWarning):
        found = smallest_change(
            nn.Sequential(nn.Flatten(), _Deaf()), x, torch.zeros(32, dtype=torch.long), steps=2
        )
    assert found.median.median == torch.inf
    assert found.median.status == "infinite"
    assert found.fooled.value == 0
    assert found.accuracy([9.0])[0].value == 1


@pytest.mark.message
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"norm": "l3"}, UsageError, "Unknown norm 'l3'; choose one of linf, l2, l1, l0."),
        ({"steps": 0}, UsageError, "steps must be at least 1; got 0."),
        ({"gamma": 1.5}, UsageError, "gamma a share in (0, 1); got 1.0 and 1.5."),
        ({"step_size": 0.0}, UsageError, "step_size must be positive"),
        ({"bounds": (1.0, 0.0)}, BoundsError, "bounds must be finite, with low < high"),
    ],
)
def test_impossible_options_are_refused(options, error, words) -> None:
    with pytest.raises(error) as told:
        FMN(**options)
    assert words in str(told.value)


@pytest.mark.message
@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"mask": torch.ones(3)}, ShapeError, "broadcasts to x, (32, 1, 8, 8); got (3,)."),
        ({"mask": "all"}, ShapeError, "got str."),
        ({"mask": torch.full((8, 8), 0.5)}, UsageError, "true (1) where an entry may change"),
        ({"start": torch.ones(2, 8)}, ShapeError, "start must be like x"),
        ({"y": torch.full((32,), 11)}, LabelError, "0…9"),
    ],
)
def test_what_does_not_fit_is_refused(given, error, words, cnn, batch) -> None:
    x, y = batch
    given = {"y": y, **given}
    with pytest.raises(error) as told:
        FMN(steps=2)(cnn, x, given.pop("y"), **given)
    assert words in str(told.value)
