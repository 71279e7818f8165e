"""The story of the twins: planted truths, oracles of its statistics, few and no successes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import worldline as wl
from worldline.errors import LabelError, ShapeError, UsageError
from worldline.explain.twins import _first_for_good
from worldline.statistics import Bootstrap


@pytest.fixture(scope="module")
def story(mlp: nn.Module, digits) -> wl.explain.TwinStory:
    found = wl.attacks.PGD(epsilon=0.15)(mlp, digits.x, digits.y)
    return wl.explain.twins(
        mlp, digits.x, found.x, digits.y, reference=(digits.reference_x, digits.reference_y)
    )


@pytest.mark.law
def test_the_story_of_a_real_model(story: wl.explain.TwinStory) -> None:
    """The regularities that THEORY 5 reports: twins are lost with depth, noise is not, and most
    change sides.
    """
    shares = [layer.swapped.value for layer in story.layers]
    assert shares[0] < 0.5 < shares[-1]
    assert story.swap_layer is not None
    assert story.swap_layer.interval[0] <= story.swap_layer.index <= story.swap_layer.interval[1]
    last = story.layers[-1]
    assert last.rapidity["adversarial_clean"].median < last.rapidity["noise_clean"].median
    assert last.rapidity["adversarial_wrong"].median > last.rapidity["adversarial_true"].median
    assert last.noise_swapped.value < 0.2
    depth = story.proper_depth
    assert depth["noise_clean"].q90 < depth["adversarial_clean"].median < len(story.layers)
    assert min(layer.excess_boost.median for layer in story.layers[1:]) < 0


@pytest.mark.oracle
def test_summaries_against_numpy(story: wl.explain.TwinStory) -> None:
    for index, layer in enumerate(story.layers):
        for name, summary in layer.rapidity.items():
            values = story.trace.rapidity[name][story.fooled, index].numpy()
            expected = np.quantile(values, [0.1, 0.5, 0.9])
            np.testing.assert_allclose([summary.q10, summary.median, summary.q90], expected)
            assert summary.interval[0] <= summary.median <= summary.interval[1]
            assert summary.count == int(story.fooled.sum())
        swapped = (
            story.trace.rapidity["adversarial_wrong"] > story.trace.rapidity["adversarial_true"]
        )
        assert layer.swapped.value == pytest.approx(
            float(swapped[story.fooled, index].double().mean())
        )
        if index:
            step = {
                name: np.diff(story.trace.rapidity[name][story.fooled].numpy(), axis=1)[
                    :, index - 1
                ]
                for name in ("adversarial_clean", "noise_clean")
            }
            excess = np.median(step["adversarial_clean"] - step["noise_clean"])
            assert layer.excess_boost.median == pytest.approx(excess)
    depth = np.sqrt(
        1 - np.tanh(story.trace.rapidity["adversarial_clean"][story.fooled].numpy()) ** 2
    ).sum(1)
    assert story.proper_depth["adversarial_clean"].median == pytest.approx(float(np.median(depth)))


@pytest.mark.law
def test_the_input_does_not_depend_on_the_weights(story: wl.explain.TwinStory) -> None:
    first = story.layers[0]
    assert first.untrained == first.rapidity
    assert story.layers[-1].untrained != story.layers[-1].rapidity


class Planted(nn.Module):
    """Two classes by the sign of the first coordinate; ``late`` copies the sign into the other
    coordinates.
    """

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Identity()
        self.late = nn.Linear(4, 4, bias=False)
        self.logits = nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            self.late.weight.zero_()[:, 0] = 1
            self.logits.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.late(self.early(x)))


@pytest.mark.law
def test_a_planted_swap_is_found_where_it_was_planted() -> None:
    """The attack flips the small first coordinate: at the input the others still say the true
    class, after ``late`` not.
    """
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    sign = (1 - 2.0 * y)[:, None]
    x = sign * torch.tensor([0.2, 1, 1, 1]) + 0.01 * torch.randn(200, 4, generator=generator)
    adversarial = x.clone()
    adversarial[:, 0] *= -1
    story = wl.explain.twins(Planted(), x, adversarial, y, bounds=(-2, 2), layers=["*"])
    assert [layer.layer.name for layer in story.layers] == ["input", "late", "logits"]
    assert [layer.swapped.value for layer in story.layers] == [0.0, 1.0, 1.0]
    assert (story.swap_layer.name, story.swap_layer.index, story.swap_layer.interval) == (
        "late",
        1,
        (1, 1),
    )
    assert set(story.sample_swap.tolist()) == {1}
    assert len(story.fooled) == 100
    assert bool(story.fooled.all())
    assert "100 of the 200 samples became the reference" in story.notes[0]


@pytest.mark.law
def test_no_success_and_few_successes_are_stated(mlp: nn.Module, digits) -> None:
    x, y = digits.x, digits.y
    none = wl.explain.twins(mlp, x, x, y)
    assert none.swap_layer is None
    assert none.layers[1].rapidity["adversarial_clean"].median is None
    assert none.layers[1].swapped.value is None
    assert any("Only 0 samples are fooled" in note for note in none.notes)
    found = wl.attacks.PGD(epsilon=0.15)(mlp, x, y).x
    few = x.clone()
    few[:20] = found[:20]
    story = wl.explain.twins(mlp, x, few, y)
    assert 0 < int(story.fooled.sum()) < 20
    assert story.layers[-1].swapped.value is not None
    assert any("fewer than 20" in note for note in story.notes)


@pytest.mark.law
def test_untrained_resets_every_module_and_names_those_that_cannot() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.full((3,), 7.0))
            self.inner = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
            self.attention = nn.MultiheadAttention(4, 2)

    model = Odd()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
        model.inner[1].running_mean.fill_(7.0)
    fresh, kept = wl.explain.untrained(model, seed=1)
    assert kept == ("Odd",)
    values = {name: value for name, value in fresh.state_dict().items() if name != "scale"}
    assert not any((value.float() == 7).any() for value in values.values())
    assert (fresh.scale == 7).all()
    again, _ = wl.explain.untrained(model, seed=1)
    other, _ = wl.explain.untrained(model, seed=2)
    assert torch.equal(fresh.inner[0].weight, again.inner[0].weight)
    assert not torch.equal(fresh.inner[0].weight, other.inner[0].weight)
    assert (model.inner[0].weight == 7).all()


@pytest.mark.law
def test_zoo_models_reset_completely() -> None:
    for name in ("cnn", "linear", "mlp", "resnet", "vit"):
        assert wl.explain.untrained(wl.zoo.load(name))[1] == ()


@pytest.mark.law
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=8))
def test_first_for_good(table: list[list[bool]]) -> None:
    expected = [next((i for i in range(4) if all(row[i:])), -1) for row in table]
    assert _first_for_good(torch.tensor(table)).tolist() == expected


@pytest.mark.law
def test_infinite_and_undefined_values_in_a_summary() -> None:
    infinity = float("inf")
    summary = Bootstrap(5).summary(torch.tensor([infinity, infinity, infinity, 1.0, 2.0]))
    assert (summary.median, summary.q10, summary.q90) == (infinity, pytest.approx(1.4), infinity)
    summary = Bootstrap(3).summary(torch.tensor([float("nan"), 1.0, 3.0]))
    assert (summary.median, summary.count, summary.undefined) == (2.0, 2, 1)
    assert Bootstrap(0).summary(torch.empty(0)).median is None


@pytest.mark.law
def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    bootstrap = Bootstrap(60)
    covered = 0
    for _ in range(400):
        low, high = bootstrap.summary(torch.randn(60, generator=generator)).interval
        covered += low <= 0 <= high
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.oracle
@pytest.mark.parametrize("count", [2, 31, 60])
def test_bootstrap_medians_against_plain_resampling(count: int) -> None:
    """Both are distributions over the values themselves; 40,000 resamples settle which of them the
    quantiles are.
    """
    values = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = np.random.default_rng(1).integers(0, count, (40_000, count))
    slow = np.quantile(np.median(values.numpy()[rows], axis=1), (0.025, 0.975))
    np.testing.assert_allclose(Bootstrap(count, resamples=40_000).summary(values).interval, slow)


@pytest.mark.oracle
def test_bootstrap_shares_against_resampling() -> None:
    values = torch.randn(31, generator=torch.Generator().manual_seed(0))
    bootstrap = Bootstrap(31, resamples=500)
    flags = values[:, None] > torch.tensor([0.0, 0.5])
    np.testing.assert_allclose(bootstrap.shares(flags), flags.numpy()[bootstrap.rows].mean(1))


@pytest.mark.message
def test_messages(mlp: nn.Module, digits) -> None:
    x, y = digits.x[:40], digits.y[:40]
    with pytest.raises(
        ShapeError, match=r"one twin: \(40, 1, 8, 8\) inputs, \(39, 1, 8, 8\) twins"
    ):
        wl.explain.twins(mlp, x, x[1:], y)
    with pytest.raises(LabelError, match="0…9"):
        wl.explain.twins(mlp, x, x, y + 9)
    with pytest.raises(UsageError, match="Unknown frame"):
        wl.explain.twins(mlp, x, x, y, frame="black")
    with pytest.raises(ShapeError, match="Too few samples"):
        wl.explain.twins(mlp, x[:2], x[:2], y[:2])
    plain = wl.explain.twins(mlp.forward, x, x, y)
    assert any("plain callable" in note for note in plain.notes)
