"""The whole of complexity: laws, planted truths, and what it says of models that lack something."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.errors import LabelError, ModelError, ShapeError, UsageError
from worldline.settings import Settings

KINDS = ("noise", "strangers", "adversarial", "matched_noise")


@pytest.fixture(scope="module")
def found(mlp: nn.Module, digits) -> wl.explain.Complexity:
    x, y = digits.x[:120], digits.y[:120]
    return wl.explain.complexity(mlp, x, y=y, attack=wl.attacks.PGD(epsilon=0.15))


@pytest.mark.law
def test_what_it_says_of_a_real_model(found: wl.explain.Complexity) -> None:
    """THEORY 5: adversarial twins are driven apart, noise of their norm is not, by its null."""
    assert [it.name for it in found.layers] == ["input", "relu1", "relu2", "logits"]
    assert [it.name for it in found.limits] == ["hidden1", "hidden2", "logits"]
    assert found.total_boost["adversarial"].median > 0 > found.total_boost["matched_noise"].median
    assert max(it.excess_boost.median for it in found.layers[1:]) > 0
    for layer in found.layers:
        assert set(layer.rapidity) == set(KINDS)
        assert layer.untrained_rapidity is not None
    for it in found.limits:
        for kind in KINDS:
            assert 0 <= it.share[kind].median <= it.share[kind].q90 <= 1
            assert it.share[kind].median <= it.plane_share[kind].median <= 1
            assert it.untrained_share[kind].count
            assert it.untrained_plane_share[kind].count
    assert (
        found.proper_depth["noise"].median
        < found.proper_depth["adversarial"].median
        < len(found.layers)
    )
    assert found.pairs["noise"] == 120
    told = {it.name: it.status for it in found.known if it.status != "measured"}
    assert told == {
        "Jacobian norm": "measured on 64 samples",
        "activation flips": "measured on 100 segments of 17 points",
    }
    assert all(it.untrained is not None for it in found.known)


@pytest.mark.law
def test_boosts_of_a_pair_add_up_to_its_total(mlp: nn.Module, digits) -> None:
    """Of every pair, hence of the means; the medians of one pair alone show it."""
    one = wl.explain.complexity(mlp, digits.x[:2], null=False, layers=["*"])
    steps = [it.boost["strangers"] for it in one.layers[1:]]
    assert one.pairs["strangers"] == 1
    assert sum(step.median for step in steps) == pytest.approx(one.total_boost["strangers"].median)


@pytest.mark.law
def test_an_orthogonal_network_boosts_nothing_and_its_proper_depth_is_exact() -> None:
    """θ stays what it is at the input: boosts are 0 and the proper depth is (layers) · sin θ."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))
    for layer in model:
        layer.weight.data = torch.linalg.qr(torch.randn(8, 8)).Q
    x = torch.rand(50, 8, generator=torch.Generator().manual_seed(1))
    found = wl.explain.complexity(model, x, null=False)
    for layer in found.layers[1:]:
        for kind in ("noise", "strangers"):
            assert abs(layer.boost[kind].q10) < 1e-4  # float32 rapidities
            assert abs(layer.boost[kind].q90) < 1e-4
    phi = found.layers[0].rapidity["strangers"]
    depth = found.proper_depth["strangers"]
    assert depth.q90 <= len(found.layers)
    assert found.limits[0].plane_limit["noise"].q90 < 1e-5
    only = wl.explain.complexity(model, x[:2], null=False)
    angle = 1 / math.cosh(only.layers[0].rapidity["strangers"].median)
    assert only.proper_depth["strangers"].median == pytest.approx(
        len(only.layers) * angle, abs=1e-3
    )
    assert phi.count == depth.count


@pytest.mark.law
def test_the_null_is_another_network_and_the_seed_decides(mlp: nn.Module, digits) -> None:
    x = digits.x[:60]
    one, two, other = (
        wl.explain.complexity(mlp, x, settings=Settings(seed=seed), resamples=50)
        for seed in (0, 0, 1)
    )
    assert plain(one) == plain(two)
    assert one.untrained_total_boost != other.untrained_total_boost
    assert one.untrained_total_boost != one.total_boost


def plain(it: object) -> str:
    """As JSON; infinities are values, NaN is none."""
    text = json.dumps(dataclasses.asdict(it))
    assert "NaN" not in text
    return text


@pytest.mark.law
def test_the_result_has_no_nan_and_turns_into_json(found: wl.explain.Complexity) -> None:
    assert len(plain(found)) > 1000


@pytest.mark.law
def test_the_model_is_left_as_it_was(digits) -> None:
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 16),
        nn.BatchNorm1d(16),
        nn.Dropout(),
        nn.ReLU(),
        nn.Linear(16, 10),
    ).train()
    model[1].weight.requires_grad_(False)
    model[5].bias.grad = torch.ones(10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    wl.explain.complexity(model, digits.x[:40], resamples=50)
    wl.explain.fragility(model, digits.x[:40])
    wl.explain.fragility(model, digits.x[:40], probe="aimed")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(it.training for it in model.modules())
    assert [it.requires_grad for it in model.parameters()] == [False, *[True] * 5]
    assert torch.equal(model[5].bias.grad, torch.ones(10))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(it._forward_hooks or it._forward_pre_hooks for it in model.modules())


class Rounded(nn.Module):
    """Gradients end here."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach().round(decimals=1)


@pytest.mark.message
def test_a_model_without_gradients_keeps_its_forward_measures_and_says_why(digits) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10), Rounded())
    found = wl.explain.complexity(model, digits.x[:40], null=False)
    assert found.spectrum.status.startswith("No gradient from layer '4' back to the input")
    assert found.spectrum.singular_values[0].median is None
    by_name = {it.name: it for it in found.known}
    assert by_name["Jacobian norm"].value is None
    assert "No gradient" in by_name["Jacobian norm"].status
    assert "no second derivative" in by_name["sharpness"].status
    assert found.limits[0].share["noise"].median is not None
    assert found.total_boost["noise"].count == 40
    plain(found)


@pytest.mark.message
def test_a_model_without_linear_layers_or_a_plain_callable(digits) -> None:
    class Sums(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack((x.flatten(1)[:, :30].sum(1), x.flatten(1)[:, 30:].sum(1)), 1)

    found = wl.explain.complexity(Sums(), digits.x[:40])
    assert found.limits == ()
    assert any("no linear or convolutional module" in note for note in found.notes)
    by_name = {it.name: it for it in found.known}
    assert "There is no linear or convolutional layer" in by_name["spectral norms"].status
    assert "no activation modules" in by_name["activation flips"].status
    assert "The model has no weights" in by_name["sharpness"].status
    bare = wl.explain.complexity(Sums().forward, digits.x[:40])
    assert any("plain callable" in note for note in bare.notes)
    assert bare.untrained_total_boost is None
    assert bare.total_boost["noise"].median is not None


@pytest.mark.message
def test_one_layer_and_one_class_are_said(digits) -> None:
    model = wl.zoo.load("linear")
    found = wl.explain.complexity(
        model, digits.x[:30], y=torch.zeros(30, dtype=torch.long), layers=["logits"], null=False
    )
    assert any("Only one layer is traced" in note for note in found.notes)
    assert any("All samples have one label" in note for note in found.notes)
    assert found.layers[0].boost == {}


@pytest.mark.message
def test_maps_as_outputs_are_no_classes_but_have_a_complexity(digits) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Unflatten(1, (2, 4)))
    found = wl.explain.complexity(model, digits.x[:40], null=False)
    assert "logits (N, K)" in {it.name: it for it in found.known}["sharpness"].status
    assert found.spectrum.singular_values[0].median > 0
    assert found.total_boost["noise"].count == 40
    with pytest.raises(ModelError, match="or one logit a sample"):
        wl.explain.fragility(model, digits.x[:40])


@pytest.mark.message
def test_what_does_not_fit_is_refused(mlp: nn.Module, digits) -> None:
    with pytest.raises(UsageError, match=r"sigma must be a positive finite number.*got 0"):
        wl.explain.complexity(mlp, digits.x[:10], sigma=0)
    with pytest.raises(ShapeError, match="at least two samples; got 1"):
        wl.explain.complexity(mlp, digits.x[:1])
    with pytest.raises(ShapeError, match=r"one twin: .*inputs, .*twins"):
        wl.explain.complexity(mlp, digits.x[:10], adversarial=digits.x[:9])
    with pytest.raises(LabelError, match="Labels must lie in 0…9"):
        wl.explain.complexity(mlp, digits.x[:10], y=torch.full((10,), 12))
    with pytest.raises(UsageError, match="top must be at least 1"):
        wl.explain.jacobian_spectrum(mlp, digits.x[:2], top=0)


@pytest.mark.oracle
def test_medians_against_rapidities_computed_here(mlp: nn.Module, digits) -> None:
    """Boost of noise twins from the features themselves, in the centred frame of the samples."""
    x = digits.x[:80]
    found = wl.explain.complexity(mlp, x, null=False, sigma=0.2)
    noise = (x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    clean, twin = (wl.trace.collect(mlp, it) for it in (x, noise))
    phi = [
        wl.rapidity(
            (clean[name] - clean[name].mean(0)).double(),
            (twin[name] - clean[name].mean(0)).double(),
        ).numpy()
        for name in clean
    ]
    for place, layer in enumerate(found.layers[1:], start=1):
        assert layer.boost["noise"].median == pytest.approx(
            float(np.median(phi[place - 1] - phi[place])), abs=1e-4
        )
    assert found.proper_depth["noise"].median == pytest.approx(
        float(np.median(sum(1 / np.cosh(it) for it in phi))), abs=1e-4
    )


class Broken(nn.Module):
    """One pixel decides whether the outputs are finite."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        bad = x.flatten(1)[:, :1] > 0.9
        return torch.where(bad, torch.nan, self.model(x))


@pytest.mark.law
def test_a_sample_that_is_not_finite_is_left_out_and_said(mlp: nn.Module, digits) -> None:
    """Fault 5: one NaN poisoned the frame's mean, and with it every pair."""
    x = digits.x[:41].clone()
    x[:, 0, 0, 0] = 0
    x[7, 0, 0, 0] = 1
    kept = torch.cat((x[:7], x[8:]))
    found, expected = (wl.explain.complexity(Broken(mlp), it, null=False) for it in (x, kept))
    assert (found.samples, found.undefined) == (40, 1)
    assert "1 of 41 samples are left out" in found.notes[0]
    assert found.total_boost == expected.total_boost
    assert found.spectrum == expected.spectrum
    x[1:, 0, 0, 0] = 1
    with pytest.raises(ModelError, match="not finite on 40 of 41 samples"):
        wl.explain.complexity(Broken(mlp), x)


class Uncopied(nn.Sequential):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise RuntimeError("holds a socket")


@pytest.mark.message
def test_a_model_that_cannot_be_copied_has_no_null_but_a_note(mlp: nn.Module, digits) -> None:
    """Fault 6: it crashed, where ``twins`` adds a note."""
    found = wl.explain.complexity(Uncopied(mlp), digits.x[:30])
    assert found.untrained_total_boost is None
    assert found.total_boost["noise"].count == 30
    assert any(it.startswith("There is no untrained null. The model cannot") for it in found.notes)


@pytest.mark.law
def test_a_compiled_model_has_its_linear_layers(mlp: nn.Module, digits) -> None:
    """Fault 9: "no linear module", as they stand behind ``_orig_mod``."""
    plain = wl.explain.complexity(mlp, digits.x[:30])
    compiled = wl.explain.complexity(torch.compile(mlp, backend="eager"), digits.x[:30])
    assert [it.name for it in compiled.limits] == ["hidden1", "hidden2", "logits"]
    assert plain == compiled


@pytest.mark.law
def test_shares_are_of_the_whole_layers_limit(mlp: nn.Module, digits) -> None:
    """THEORY 2: |Δφ| / ln κ(W); a layer of fewer outputs than inputs has no limit, and says so."""
    found = wl.explain.complexity(mlp, digits.x[:60], null=False)
    by_name = {it.name: it for it in found.limits}
    assert by_name["hidden1"].limit == pytest.approx(
        wl.geometry.spacetime.speed_limit(mlp.hidden1.weight.detach())
    )
    assert by_name["logits"].limit == math.inf
    assert by_name["logits"].status.startswith("singular")
    assert by_name["logits"].share["noise"].q90 == 0
    for it in found.limits:
        assert it.plane_limit["noise"].q90 <= it.limit
        changed = max(abs(it.change["noise"].q10), abs(it.change["noise"].q90))
        assert it.limit == math.inf or changed / it.limit <= 1


@pytest.mark.law
def test_the_null_model_is_predicted_where_its_theory_follows(digits) -> None:
    """Random weights of finite width scatter around the mean-field prediction by O(1/√width)."""
    torch.manual_seed(0)
    wide = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU()
    )
    found = wl.explain.complexity(wide, digits.x[:60])
    assert found.prediction == "predicted"
    for layer in found.layers:
        for kind in ("noise", "strangers"):
            predicted, drawn = layer.predicted_rapidity[kind], layer.untrained_raw_rapidity[kind]
            assert predicted.count == drawn.count <= 100
            assert predicted.median == pytest.approx(drawn.median, abs=0.2)
    cnn = wl.explain.complexity(wl.zoo.load("cnn"), digits.x[:30])
    assert cnn.prediction.startswith("No prediction. ")
    assert "no random-weight map is known" in cnn.prediction
    assert cnn.layers[1].predicted_rapidity is None


@pytest.mark.law
def test_excess_boost_is_positive_where_a_layer_drives_the_attacked_twin_apart() -> None:
    """A planted layer: it turns the attacked twin away and leaves the noise twin."""
    attacked = torch.tensor([[4.0, 4.0, 1.0]])
    noise = torch.tensor([[4.0, 4.0, 4.0]])
    assert wl.explain.excess_boost(attacked, noise).tolist() == [[0.0, 3.0]]
    assert wl.explain.boost(attacked).sum() == attacked[0, 0] - attacked[0, -1]
