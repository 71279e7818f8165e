"""The story of the twins: planted truths, oracles of its statistics, few and no successes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import worldline as wl
from worldline.errors import BoundsError, LabelError, ShapeError, UsageError
from worldline.explain import sides
from worldline.explain.sides import first_for_good
from worldline.statistics import Bootstrap, quantiles


@pytest.fixture(scope="module")
def story(mlp: nn.Module, digits) -> wl.explain.TwinStory:
    found = wl.attacks.PGD(epsilon=0.15)(mlp, digits.x, digits.y)
    return wl.explain.twins(
        mlp, digits.x, found.x, digits.y, reference=(digits.reference_x, digits.reference_y)
    )


@pytest.mark.law
def test_the_story_of_a_real_model(story: wl.explain.TwinStory) -> None:
    """The regularities of THEORY 5: twins are lost with depth, noise is not, and most are moved."""
    moved = [layer.moved_share.value for layer in story.layers]
    assert moved[0] < 0.5 < moved[-1]
    assert story.swap_layer is not None
    assert story.swap_layer.interval[0] <= story.swap_layer.index <= story.swap_layer.interval[1]
    last = story.layers[-1]
    assert last.rapidity.adversarial_clean.median < last.rapidity.noise_clean.median
    assert last.rapidity.adversarial_wrong.median > last.rapidity.adversarial_true.median
    assert last.noise_wrong_side.value < 0.2
    depth = story.proper_depth
    assert depth.noise_clean.q90 < depth.adversarial_clean.median < len(story.layers)
    assert max(layer.excess_boost.median for layer in story.layers[1:]) > 0


@pytest.mark.oracle
def test_summaries_against_numpy(story: wl.explain.TwinStory) -> None:
    seen = story.trace.rapidity
    for index, layer in enumerate(story.layers):
        for name, summary in vars(layer.rapidity).items():
            values = story.trace.rapidity[name][story.fooled, index].numpy()
            expected = np.quantile(values, [0.1, 0.5, 0.9])
            np.testing.assert_allclose([summary.q10, summary.median, summary.q90], expected)
            assert summary.interval[0] <= summary.median <= summary.interval[1]
            assert summary.count == int(story.fooled.sum())
        share = {
            twin: np.mean(
                (seen[f"{twin}_wrong"] > seen[f"{twin}_true"])[story.fooled, index].numpy()
            )
            for twin in ("adversarial", "clean", "noise")
        }
        assert layer.wrong_side.value == pytest.approx(share["adversarial"])
        assert layer.clean_wrong_side.value == pytest.approx(share["clean"])
        assert layer.noise_wrong_side.value == pytest.approx(share["noise"])
        assert layer.moved_share.value == pytest.approx(share["adversarial"] - share["clean"])
        if index:
            step = {
                name: np.diff(story.trace.rapidity[name][story.fooled].numpy(), axis=1)[
                    :, index - 1
                ]
                for name in ("adversarial_clean", "noise_clean")
            }
            excess = np.median(step["noise_clean"] - step["adversarial_clean"])
            assert layer.excess_boost.median == pytest.approx(excess)
    depth = np.sqrt(
        1 - np.tanh(story.trace.rapidity["adversarial_clean"][story.fooled].numpy()) ** 2
    ).sum(1)
    assert story.proper_depth.adversarial_clean.median == pytest.approx(float(np.median(depth)))


@pytest.mark.law
def test_the_input_does_not_depend_on_the_weights(story: wl.explain.TwinStory) -> None:
    first = story.layers[0]
    assert first.untrained_rapidity == first.rapidity
    assert story.layers[-1].untrained_rapidity != story.layers[-1].rapidity


class Planted(nn.Module):
    """Two classes by the sign of the first coordinate, which ``late`` copies into the others."""

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
    """The attack flips the small first coordinate; the others say the true class up to ``late``."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    sign = (1 - 2.0 * y)[:, None]
    x = sign * torch.tensor([0.2, 1, 1, 1]) + 0.01 * torch.randn(200, 4, generator=generator)
    adversarial = x.clone()
    adversarial[:, 0] *= -1
    story = wl.explain.twins(
        Planted(), x, adversarial, y, layers=["*"], settings=wl.Settings(bounds=(-2, 2))
    )
    assert [layer.name for layer in story.layers] == ["input", "late", "logits"]
    assert [layer.wrong_side.value for layer in story.layers] == [0.0, 1.0, 1.0]
    assert [layer.moved_share.value for layer in story.layers] == [0.0, 1.0, 1.0]
    assert (story.swap_layer.name, story.swap_layer.index, story.swap_layer.interval) == (
        "late",
        1,
        (1, 1),
    )
    assert set(story.wrong_side_from.tolist()) == {1}
    assert len(story.fooled) == 100
    assert bool(story.fooled.all())
    assert "100 of the 200 samples became the reference" in story.notes[0]


class Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0] * x[:, 1], x[:, 2] / 10], dim=1)


class Folding(nn.Module):
    """Classes by the sign of x₀x₁: no mean tells them apart before ``fold``, and all do after."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.fold, self.logits = Product(), nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(2 * torch.eye(3))
            self.second.weight.copy_(torch.eye(3) / 2)
            self.logits.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.fold(self.second(self.first(x))))


def folded(samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, twins whose first sign is turned, labels."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(samples) % 2
    signs = torch.randint(0, 2, (samples,), generator=generator) * 2.0 - 1
    x = torch.stack([signs, signs * (1 - 2.0 * y), torch.zeros(samples)], dim=1)
    x += 0.3 * torch.rand(x.shape, generator=generator)
    adversarial = x.clone()
    adversarial[:, 0] *= -1
    return x, adversarial, y


@pytest.mark.law
def test_the_swap_layer_is_what_the_attack_moved_and_no_coin_s_toss() -> None:
    """THEORY 5: half of the points are on the wrong side before ``fold``, attacked or not."""
    settings = wl.Settings(bounds=(-3, 3))
    story = wl.explain.twins(Folding(), *folded(600), layers=["*"], settings=settings)
    assert [layer.name for layer in story.layers] == ["input", "first", "second", "fold", "logits"]
    for layer in story.layers[:3]:
        assert abs(layer.wrong_side.value - 0.5) < 0.1
        assert abs(layer.clean_wrong_side.value - 0.5) < 0.1
        assert abs(layer.moved_share.value) < 0.15
        low, high = layer.moved_share.interval
        assert low < layer.moved_share.value < high
    for layer in story.layers[3:]:
        assert (layer.wrong_side.value, layer.clean_wrong_side.value) == (1.0, 0.0)
        assert layer.moved_share.value == 1.0
    assert (story.swap_layer.name, story.swap_layer.index) == ("fold", 3)
    assert story.swap_layer.interval == (3, 3)
    assert (story.wrong_side_from < 3).any()  # a sample's own, which is no swap layer


@pytest.mark.law
def test_a_network_that_never_moves_most_has_no_swap_layer() -> None:
    settings = wl.Settings(bounds=(-3, 3))
    early = ["input", "first", "second"]
    story = wl.explain.twins(Folding(), *folded(600), layers=early, settings=settings)
    assert bool(story.fooled.all())
    assert story.swap_layer is None


def table(shares: list[tuple[float, float]], samples: int = 400) -> Tensor:
    """(S, L) moved, where so many attacked and so many clean samples are on the wrong side."""
    places = torch.arange(samples) / samples
    columns = [sides.moved(1.0 * (places < ours), 1.0 * (places < own)) for ours, own in shares]
    return torch.stack(columns, dim=1).double()


@pytest.mark.law
def test_an_adversarially_trained_model_has_no_swap_layer_though_most_are_on_the_wrong_side() -> (
    None
):
    """THEORY 5: on the wrong side .70 at the input, clean .55 there, moved .15 to .47."""
    change = table([(0.7, 0.55), (0.75, 0.45), (0.8, 0.33)])
    assert [round(it.value, 2) for it in sides.moved_share(change, Bootstrap(400))] == [
        0.15,
        0.3,
        0.47,
    ]
    assert sides.swap_layer(["input", "relu", "logits"], change, Bootstrap(400)) is None
    sure = table([(0.7, 0.55), (0.9, 0.2), (0.95, 0.1)])
    found = sides.swap_layer(["input", "relu", "logits"], sure, Bootstrap(400))
    assert (found.name, found.index, found.interval) == ("relu", 1, (1, 1))


@pytest.mark.law
def test_the_lower_end_decides_and_not_the_share() -> None:
    """55 % of 60 is more than half, and not surely; it must also stay so."""
    change = table([(0.55, 0.0), (0.9, 0.0)], samples=60)
    found = sides.swap_layer(["a", "b"], change, Bootstrap(60))
    assert (found.index, found.interval) == (1, (0, 1))
    assert sides.swap_layer(["b", "a"], change.flip(1), Bootstrap(60)) is None
    assert sides.swap_layer(["a"], torch.ones(1, 1), Bootstrap(1)) is None  # one sample says little


@pytest.mark.law
def test_a_class_without_reference_is_undefined_and_not_no(digits) -> None:
    """Old: NaN > NaN is False, so that such samples counted as on the right side."""
    model = wl.zoo.load("mlp")
    x, y = digits.x, digits.y
    found = wl.attacks.PGD(epsilon=0.15, steps=10)(model, x, y).x
    kept = digits.reference_y != 3
    whole = wl.explain.twins(model, x, found, y, reference=(digits.reference_x, digits.reference_y))
    story = wl.explain.twins(
        model, x, found, y, reference=(digits.reference_x[kept], digits.reference_y[kept])
    )
    meets = ((y == 3) | (story.trace.wrong == 3))[story.fooled]
    assert 0 < int(meets.sum()) < len(meets)
    last = story.layers[-1]
    for share in (last.wrong_side, last.clean_wrong_side, last.moved_share, last.noise_wrong_side):
        assert (share.undefined, share.count) == (int(meets.sum()), int((~meets).sum()))
    assert last.rapidity.adversarial_wrong.undefined == int(
        (story.trace.wrong == 3)[story.fooled].sum()
    )
    assert last.moved_share.value == pytest.approx(whole.layers[-1].moved_share.value, abs=0.05)
    assert any(f"no sample of class 3: {int(meets.sum())} of" in note for note in story.notes)
    assert (story.wrong_side_from[(y == 3)] == -1).all()


class Poisoned(nn.Module):
    """NaN for inputs whose first entry is above a half."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(torch.where(x[:, :1] > 0.5, torch.nan, x))


@pytest.mark.law
@pytest.mark.parametrize("frame", ["raw", "centered", "whitened"])
@pytest.mark.parametrize("project_to", [None, 2])
def test_reference_samples_of_nan_are_left_out_of_means_and_frames(frame, project_to) -> None:
    """Old: one such sample made every class mean of the layer NaN."""
    torch.manual_seed(0)
    model = Poisoned()
    x, y = 0.4 * torch.rand(40, 4), torch.arange(40) % 2
    layers = wl.trace.find_layers(model, x)
    settings = wl.Settings(frame=frame, batch_size=16)
    given = {"classes": 3, "project_to": project_to, "settings": settings}
    clean = wl.trace.trace_reference(model, x, y, layers, **given)
    bad = torch.full((3, 4), 0.9)
    more, labels = torch.cat((x[:7], bad, x[7:])), torch.cat((y[:7], torch.zeros(3).long(), y[7:]))
    found = wl.trace.trace_reference(model, more, labels, layers, **given)
    assert [it.left_out for it in found] == [0, 3, 3][: len(layers)]
    close = {"rtol": 1e-5, "atol": 1e-6, "equal_nan": True}  # batches are cut elsewhere: float32
    torch.testing.assert_close(found[-1].means, clean[-1].means, **close)
    assert found[-1].means[:2].isfinite().all()
    assert found[-1].means[2].isnan().all()
    none = wl.trace.trace_reference(model, bad, torch.tensor([0, 1, 1]), layers, **given)
    assert none[-1].means.isnan().all()
    frames = wl.trace.fit_frames(model, more, layers, frame)
    if frame != "raw":
        assert frames[-1].origin.isfinite().all()
    story = wl.explain.twins(model, x, x, y, reference=(more, labels), null=False)
    assert any("3 of 43 reference samples have features of NaN" in it for it in story.notes)


@pytest.mark.law
def test_outputs_of_nan_name_no_class_and_are_counted() -> None:
    torch.manual_seed(0)
    x, y = 0.4 * torch.rand(60, 4), torch.arange(60) % 2
    adversarial = x.clone()
    adversarial[:10, 0] = 0.9
    story = wl.explain.twins(Poisoned(), x, adversarial, y)
    lost = int((adversarial[story.rows, 0] > 0.5).sum())
    assert (story.trace.predictions["adversarial"] == -1).sum() == lost
    assert not story.fooled.any()
    assert any(
        f"{lost} of {len(story.rows)} samples have an output of NaN" in it for it in story.notes
    )


@pytest.mark.law
def test_no_success_and_few_successes_are_stated(mlp: nn.Module, digits) -> None:
    x, y = digits.x, digits.y
    none = wl.explain.twins(mlp, x, x, y)
    assert none.swap_layer is None
    assert none.layers[1].rapidity.adversarial_clean.median is None
    assert none.layers[1].moved_share.value is None
    assert any("No sample is fooled" in note for note in none.notes)
    found = wl.attacks.PGD(epsilon=0.15)(mlp, x, y).x
    few = x.clone()
    few[:20] = found[:20]
    story = wl.explain.twins(mlp, x, few, y)
    assert 0 < int(story.fooled.sum()) < 20
    assert story.layers[-1].wrong_side.value is not None
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
def testfirst_for_good(table: list[list[bool]]) -> None:
    expected = [next((i for i in range(4) if all(row[i:])), -1) for row in table]
    assert first_for_good(torch.tensor(table)).tolist() == expected


@pytest.mark.law
def test_infinite_and_undefined_values_in_a_summary() -> None:
    infinity = float("inf")
    summary = Bootstrap(5).summary(torch.tensor([infinity, infinity, infinity, 1.0, 2.0]))
    assert (summary.median, summary.q10, summary.q90) == (infinity, pytest.approx(1.4), infinity)
    summary = Bootstrap(3).summary(torch.tensor([float("nan"), 1.0, 3.0]))
    assert (summary.median, summary.count, summary.undefined) == (2.0, 2, 1)
    assert summary.status == "ok"
    assert Bootstrap(0).summary(torch.empty(0)).median is None
    for table, status in (([], "no samples"), ([float("nan")] * 3, "no samples")):
        assert Bootstrap(len(table)).summary(torch.tensor(table)).status == status
    for end in (infinity, -infinity):
        summary = Bootstrap(9).summary(torch.tensor([end] * 5 + [0.0] * 4))
        assert (summary.median, summary.status) == (end, "infinite")


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
    """Both are over the values themselves; 40,000 resamples settle which the quantiles are."""
    values = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = np.random.default_rng(1).integers(0, count, (40_000, count))
    slow = np.quantile(np.median(values.numpy()[rows], axis=1), (0.025, 0.975))
    np.testing.assert_allclose(Bootstrap(count, resamples=40_000).summary(values).interval, slow)


@pytest.mark.oracle
def test_bootstrap_shares_against_resampling() -> None:
    values = torch.randn(31, generator=torch.Generator().manual_seed(0))
    bootstrap = Bootstrap(31, resamples=500)
    flags = values[:, None] > torch.tensor([0.0, 0.5])
    counts = np.concatenate(list(bootstrap.counts()), axis=1).T
    assert (counts.sum(1) == 31).all()
    np.testing.assert_allclose(bootstrap.shares(flags), (counts @ flags.numpy()) / 31)


@pytest.mark.law
@pytest.mark.parametrize("count", [1, 2, 3, 31, 250])
def test_medians_and_shares_are_of_one_draw_also_with_undefined_values(count: int) -> None:
    """Each against the counts that both are made from; old: other random numbers, and no seed."""
    values = torch.randn(count, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values[::3, 1] = torch.nan
    values[:, 2] = values[:, 2].round()  # ties
    values[1:, 3] = torch.nan
    bootstrap = Bootstrap(count, resamples=300, seed=7)
    counts = np.concatenate(list(bootstrap.counts()), axis=1).T
    shares = bootstrap.shares((values > 0).double().masked_fill(values.isnan(), torch.nan))
    array = values.numpy()
    drawn = bootstrap._medians(array, ~np.isnan(array))
    for column, summary in enumerate(bootstrap.summaries(values)):
        rows = [np.repeat(array[:, column], times) for times in counts]
        rows = [row[~np.isnan(row)] for row in rows]
        medians = [np.median(row) for row in rows if len(row)]
        np.testing.assert_allclose(drawn[column], medians)
        expected = [np.mean(row > 0) if len(row) else np.nan for row in rows]
        np.testing.assert_allclose(shares[:, column], expected)
        assert summary.undefined == int(np.isnan(array[:, column]).sum())
        if summary.count > 1:
            np.testing.assert_allclose(summary.interval, np.quantile(medians, (0.025, 0.975)))


@pytest.mark.law
def test_the_seed_counts_also_where_a_value_is_undefined() -> None:
    values = torch.randn(40, generator=torch.Generator().manual_seed(0))
    values[3] = torch.nan
    one, other, again = (
        Bootstrap(40, resamples=50, seed=seed).summary(values).interval for seed in (1, 2, 1)
    )
    assert one == again != other


@pytest.mark.law
def test_a_share_that_all_samples_agree_on_is_not_certain() -> None:
    found = Bootstrap(3).share(torch.ones(3))
    assert found.value == 1.0
    assert found.interval[0] < 0.5
    assert Bootstrap(3).share(torch.zeros(3), least=-1.0).interval[0] < 0
    assert Bootstrap(3).share(torch.zeros(3)).interval[0] == 0
    none = Bootstrap(2).share(torch.full((2,), torch.nan))
    assert (none.value, none.interval, none.count, none.undefined) == (None, None, 0, 2)


@pytest.mark.law
def test_many_samples_are_drawn_in_blocks_of_bounded_size(monkeypatch) -> None:
    values = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    whole = Bootstrap(500, resamples=100)
    monkeypatch.setattr("worldline.statistics.bootstrap.BLOCK", 5000)
    monkeypatch.setattr("worldline.statistics.bootstrap.KEPT", 0)
    parts = Bootstrap(500, resamples=100)
    assert {block.shape for block in parts.counts()} == {(500, 10)}
    assert parts.summaries(values) == whole.summaries(values)
    assert parts.kept is None


@pytest.mark.law
def test_quantiles_where_infinity_is_a_value() -> None:
    infinity, nan = float("inf"), float("nan")
    table = np.array([[-infinity, 1.0, nan], [2.0, 2.0, nan], [3.0, infinity, nan]])
    found = quantiles(table, (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(found[:, 0], [-infinity, 2.0, 3.0])
    np.testing.assert_array_equal(found[:, 1], [1.0, 2.0, infinity])
    assert np.isnan(found[:, 2]).all()


@pytest.mark.message
def test_twins_labels_noise_and_settings_are_checked_before_any_work(
    mlp: nn.Module, digits
) -> None:
    x, y = digits.x[:40], digits.y[:40]
    broken = x.clone()
    broken[7, 0, 0, 0] = torch.nan

    def forbidden(_x: Tensor) -> Tensor:
        raise AssertionError("the model ran")

    for what, error, said in (
        ({"adversarial": broken}, BoundsError, "The adversarial twins must be finite; 1 samples"),
        ({"noise": broken}, BoundsError, "first sample 7"),
        ({"noise": x[1:]}, ShapeError, r"one noise twin: \(40, 1, 8, 8\) inputs, \(39"),
        ({"adversarial": x.double()}, ShapeError, r"twins\.to\(x\)"),
        ({"settings": wl.Settings(seed=-1)}, UsageError, "seed must lie in 0…2⁶³ − 1; got -1"),
        ({"settings": wl.Settings(batch_size=0)}, UsageError, "at least one input; got 0"),
        ({"settings": wl.Settings(bounds=(1, 0))}, UsageError, "low < high"),
    ):
        with pytest.raises(error, match=said):
            wl.explain.twins(forbidden, x, what.pop("adversarial", x), y, **what)
    with pytest.raises(UsageError, match="seed must be at least 0"):
        Bootstrap(3, seed=-1)


@pytest.mark.message
def test_messages(mlp: nn.Module, digits) -> None:
    x, y = digits.x[:40], digits.y[:40]
    with pytest.raises(
        ShapeError, match=r"one adversarial twin: \(40, 1, 8, 8\) inputs, \(39, 1, 8, 8\) twins"
    ):
        wl.explain.twins(mlp, x, x[1:], y)
    with pytest.raises(LabelError, match="0…9"):
        wl.explain.twins(mlp, x, x, y + 9)
    with pytest.raises(UsageError, match="Unknown frame"):
        wl.explain.twins(mlp, x, x, y, settings=wl.Settings(frame="black"))
    with pytest.raises(ShapeError, match="Too few samples"):
        wl.explain.twins(mlp, x[:2], x[:2], y[:2])
    plain = wl.explain.twins(mlp.forward, x, x, y)
    assert any("plain callable" in note for note in plain.notes)
