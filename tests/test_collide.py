"""Collisions made to order: closed cases, laws of the loop, scale and plausibility, messages."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.attacks import entangle, invariance, named_norm, separate
from worldline.attacks.invariant import _Run
from worldline.attacks.scale import measure_scale, nearest
from worldline.attacks.walking import Walk
from worldline.errors import BoundsError, LabelError, LayerError, ShapeError, UsageError


@pytest.fixture(scope="module")
def reference(digits) -> tuple[Tensor, Tensor]:
    return digits.reference_x[:400], digits.reference_y[:400]


@pytest.fixture(scope="module")
def pairs(digits) -> tuple[Tensor, Tensor]:
    """Inputs and strangers of another class."""
    x, y = digits.x[:48], digits.y[:48]
    other = torch.tensor(
        [int((digits.y[100:] != label).nonzero()[i]) + 100 for i, label in enumerate(y)]
    )
    return x, digits.x[other]


class Blind(nn.Module):
    """Reads the first three of six coordinates: the others are free."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Linear(6, 7, bias=False)
        self.logits = nn.Linear(7, 3)
        with torch.no_grad():
            self.look.weight[:, 3:] = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.look(x))


@pytest.fixture(scope="module")
def blind() -> tuple[nn.Module, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    return Blind(), torch.rand(40, 6, generator=generator), torch.arange(40) % 3


@pytest.mark.law
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_blind_model_is_fooled_completely(norm, blind) -> None:
    """Features that ignore half the input can be matched exactly; free coordinates stay."""
    model, x, y = blind
    made = entangle(model, x[:8], x[8:16], "look", reference=(x, y), norm=norm, steps=400)
    assert bool(made.success.all())
    assert float((made.distance / made.distance_before).max()) < 0.02
    assert torch.equal(made.x[:, 3:], x[:8, 3:])
    torch.testing.assert_close(made.x[:, :3], x[8:16, :3], atol=0.02, rtol=0)
    assert float(made.rapidity.min()) > 3
    assert not made.narrow
    torch.testing.assert_close(
        made.input_distance, torch.linalg.vector_norm(made.x - x[8:16], dim=1).double()
    )


@pytest.mark.law
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_invariance_uses_the_free_coordinates_alone(norm, blind) -> None:
    model, x, y = blind
    found = invariance(model, x[:8], "look", reference=(x, y), norm=norm, tolerance=0.05, steps=400)
    moved = (found.x - x[:8]).abs()
    furthest = torch.maximum(x[:8, 3:], 1 - x[:8, 3:])  # the corner of the free coordinates
    best = named_norm(norm).size(furthest)
    assert float((found.change / best).min()) > 0.85
    assert float(moved[:, :3].max()) < 0.15
    assert bool((found.distance <= found.allowed).all())
    assert bool((found.noise_change < found.change).all())
    features = wl.trace.collect(model, torch.cat((x[:8], found.x)), ["look"])["look"]
    apart = torch.linalg.vector_norm(features[:8] - features[8:], dim=1).double()
    torch.testing.assert_close(found.distance, apart, rtol=1e-3, atol=1e-5)


@pytest.mark.law
@pytest.mark.parametrize("objective", ["distance", "rapidity"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_iterate_is_kept_inside_ball_and_bounds(
    objective, sign, mlp: nn.Module, pairs: tuple[Tensor, Tensor], reference
) -> None:
    x, stranger = pairs
    made = entangle(
        mlp,
        x,
        stranger,
        "relu2",
        reference=reference,
        epsilon=0.2,
        sign=sign,
        objective=objective,
        steps=25,
        keep_path=True,
    )
    assert made.path is not None
    assert made.path.shape == (26, *x.shape)
    assert torch.equal(made.path[0], x)
    everyone = torch.arange(len(x))
    assert torch.equal(made.path[made.best_step, everyone], made.x)
    score = made.path_distance if objective == "distance" else -sign * made.path_rapidity
    assert float((score.gather(0, made.best_step[None])[0] - score.min(0).values).max()) < 1e-4
    assert float(named_norm("linf").size(made.x - x).max()) <= 0.2 + 1e-6
    assert 0 <= float(made.x.min()) <= float(made.x.max()) <= 1
    assert bool((sign * made.rapidity > sign * made.rapidity_before).double().mean() > 0.9)
    # against features computed apart
    both = wl.trace.collect(mlp, torch.cat((made.x, stranger)), ["relu2"])["relu2"].double()
    seen = both - wl.trace.collect(mlp, reference[0], ["relu2"])["relu2"].double().mean(0)
    torch.testing.assert_close(
        made.rapidity, wl.rapidity(seen[:48], seen[48:]), rtol=1e-4, atol=1e-4
    )
    aim = sign * seen[48:]
    torch.testing.assert_close(
        made.distance, torch.linalg.vector_norm(seen[:48] - aim, dim=1), rtol=1e-4, atol=1e-4
    )
    assert torch.equal(made.prediction, mlp(made.x).argmax(1))
    assert torch.equal(made.stranger_prediction, mlp(stranger).argmax(1))
    again = entangle(
        mlp,
        x,
        stranger,
        "relu2",
        reference=reference,
        epsilon=0.2,
        sign=sign,
        objective=objective,
        steps=25,
        settings=wl.Settings(batch_size=20),
    )
    torch.testing.assert_close(again.x, made.x, rtol=0, atol=1e-3)


@pytest.mark.law
def test_a_later_worse_iterate_does_not_replace_a_better_one(
    mlp: nn.Module, pairs: tuple[Tensor, Tensor], reference
) -> None:
    """Every step goes from corner to corner of the bounds: the way is no descent."""
    made = entangle(mlp, *pairs, "relu2", reference=reference, step_size=100.0, steps=4)
    assert torch.equal(made.path_distance.min(0).values, made.distance)
    assert int((made.best_step < 4).sum()) > 5


@pytest.mark.law
def test_inside_the_step_is_level_and_outside_it_goes_back(blind) -> None:
    model, x, y = blind
    layer = wl.trace.one_layer(model, x, "look")
    scale = measure_scale(model, layer, (x, y), settings=wl.Settings(batch_size=100))
    run = _Run(model, layer, scale, 0.1, Walk(named_norm("l2"), 1.0, (0.0, 1.0), 10, 0.05))
    generator = torch.Generator().manual_seed(0)
    moved, slope = torch.randn(2, 6, 6, generator=generator)
    level = run._step(moved, torch.full((6,), 0.05), slope, 0.02)
    torch.testing.assert_close((level * slope).sum(1), torch.zeros(6), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.vector_norm(level, dim=1), torch.full((6,), 0.02))
    assert bool(((level * moved).sum(1) > 0).all())
    back = run._step(moved, torch.full((6,), 0.12), slope, 0.02)
    torch.testing.assert_close(
        0.12 + (back * slope).sum(1), torch.full((6,), 0.08)
    )  # to the linear model's 0.8 of what is allowed


@pytest.mark.law
def test_more_room_meets_more_and_predictions_follow(
    mlp: nn.Module, pairs: tuple[Tensor, Tensor], reference
) -> None:
    x, stranger = pairs
    made = {
        epsilon: entangle(mlp, x, stranger, "relu2", reference=reference, epsilon=epsilon, steps=60)
        for epsilon in (0.05, 0.2, None)
    }
    medians = [float(it.distance.median()) for it in made.values()]
    assert medians == sorted(medians, reverse=True)
    assert float(made[None].success.double().mean()) > 0.9
    assert float(made[0.05].success.double().mean()) < 0.2
    assert float((made[None].prediction == made[None].stranger_prediction).double().mean()) > 0.9
    still = entangle(mlp, x, stranger, "relu2", reference=reference, epsilon=0.0, steps=2)
    assert torch.equal(still.x, x)
    torch.testing.assert_close(still.distance, still.distance_before)


@pytest.mark.law
def test_separation_leaves_the_own_features_and_noise_does_not(
    mlp: nn.Module, digits, reference
) -> None:
    x = digits.x[:48]
    parted = separate(mlp, x, "relu2", reference=reference, epsilon=0.15, steps=20)
    assert parted.sign == 0
    assert bool((parted.rapidity_before == torch.inf).all())
    noise = wl.attacks.noise_twin(x, parted.x, generator=torch.Generator().manual_seed(0))
    features = wl.trace.collect(mlp, torch.cat((x, noise)), ["relu2"])["relu2"].double()
    moved = torch.linalg.vector_norm(features[:48] - features[48:], dim=1)
    assert float((parted.distance / moved).median()) > 2
    assert float(named_norm("linf").size(parted.x - x).max()) <= 0.15 + 1e-6
    assert float((parted.random_less > 0.5).double().mean()) < 0.5


@pytest.mark.oracle
def test_scale_and_shares_by_counting(
    mlp: nn.Module, digits, reference, pairs: tuple[Tensor, Tensor]
) -> None:
    x, y = reference
    layer = wl.trace.one_layer(mlp, x, "relu2")
    scale = measure_scale(mlp, layer, reference, settings=wl.Settings(batch_size=100))
    features = wl.trace.collect(mlp, x, ["relu2"])["relu2"].double()
    apart = torch.cdist(features, features)
    same = (y[:, None] == y) & ~torch.eye(len(y), dtype=torch.bool)
    other = ~torch.eye(len(y), dtype=torch.bool)
    for values, population in ((scale.same_class, apart[same]), (scale.random, apart[other])):
        for level in (0.1, 0.5, 0.9):
            assert float((population <= values.quantile(level)).double().mean()) == pytest.approx(
                level, abs=0.04
            )
    assert float(scale.same_class.min()) > 0  # nobody is paired with itself
    pixels = torch.cdist(x.flatten(1).double(), x.flatten(1).double()).fill_diagonal_(torch.inf)
    assert scale.usual_nearest == pytest.approx(float(pixels.amin(1).median()), rel=0.02)
    torch.testing.assert_close(
        nearest(digits.x[:5], x),
        torch.cdist(digits.x[:5].flatten(1).double(), x.flatten(1).double()).amin(1),
    )
    made = entangle(mlp, *pairs, "relu2", reference=reference, epsilon=0.1, steps=5)
    expected = (made.scale.same_class < made.distance[:, None]).double().mean(1)
    torch.testing.assert_close(made.same_class_closer, expected)
    assert torch.equal(made.success, made.distance <= made.scale.same_class.quantile(0.1))


@pytest.mark.law
def test_narrow_layers_are_flagged_and_models_without_logits_work(
    mlp: nn.Module, pairs, reference
) -> None:
    assert entangle(mlp, *pairs, "logits", reference=reference, steps=2).narrow
    assert not entangle(mlp, *pairs, "relu2", reference=reference, steps=2).narrow
    features = nn.Sequential(nn.Flatten(), nn.Linear(64, 80), nn.Unflatten(1, (8, 10)))
    made = entangle(features, *pairs, "1", reference=reference, steps=2)
    assert set(made.prediction.tolist()) == {-1}
    assert bool(
        invariance(features, pairs[0], "1", reference=reference, steps=2).same_prediction.all()
    )


@pytest.mark.law
def test_the_model_and_the_random_state_are_left_alone(blind) -> None:
    _, x, y = blind
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(8, 3)
    ).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    first = entangle(model, x[:4], x[4:8], "1", reference=(x, y), steps=3)
    invariance(model, x[:4], "2", reference=(x, y), steps=3)
    separate(model, x[:4], "2", reference=(x, y), steps=3, epsilon=0.1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(
        parameter.grad is None and parameter.requires_grad for parameter in model.parameters()
    )
    with wl.trace.reading(model, first.layer) as read:  # before the in-place ReLU, not after it
        assert float(read(x)[0].detach().min()) < 0
    with pytest.raises(ZeroDivisionError), wl.trace.reading(model, first.layer):
        raise ZeroDivisionError
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.message
def test_collisions_that_cannot_be(mlp: nn.Module, pairs: tuple[Tensor, Tensor], reference) -> None:
    x, stranger = pairs
    for options, error, words in (
        ({"sign": 0}, UsageError, r"sign must be \+1.*or -1.*got 0"),
        ({"objective": "beauty"}, UsageError, "Unknown objective 'beauty'"),
        (
            {"stranger": stranger[1:]},
            ShapeError,
            r"one stranger: \(48, 1, 8, 8\) inputs, \(47, 1, 8, 8\) strangers",
        ),
        ({"stranger": 2 * stranger}, BoundsError, "outside bounds"),
        (
            {"epsilon": -0.1},
            UsageError,
            "epsilon must be a finite number ≥ 0 in input units, or None",
        ),
        (
            {"steps": 0},
            UsageError,
            "steps must be at least 1 and step_size positive; got 0 and None",
        ),
        ({"layer": "relu*"}, LayerError, r"matches 2: relu1, relu2"),
        ({"norm": "l1"}, UsageError, "Unknown norm 'l1'"),
        (
            {"reference": (x, torch.arange(48))},
            LabelError,
            "No class of the reference has two samples",
        ),
        ({"reference": (x[:1], torch.zeros(1).long())}, ShapeError, "at least two samples; got 1"),
    ):
        with pytest.raises(error, match=words):
            entangle(
                **{
                    "model": mlp,
                    "x": x,
                    "stranger": stranger,
                    "layer": "relu2",
                    "reference": reference,
                    **options,
                }
            )
    with pytest.raises(UsageError, match=r"tolerance must be positive.*got 0"):
        invariance(mlp, x, reference=reference, tolerance=0)
    with pytest.raises(UsageError, match="steps must be at least 1"):
        invariance(mlp, x, reference=reference, steps=0)
    with pytest.raises(UsageError, match="epsilon must be a finite"):
        invariance(mlp, x, reference=reference, epsilon=float("inf"))
    with pytest.raises(UsageError, match="Unknown objective"):
        separate(mlp, x, reference=reference, epsilon=0.1, objective="beauty")
