"""The whole of :func:`wl.explain.complexity`: laws, planted truths, and what it says of models that
lack something.
"""

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

KINDS = ("noise", "strangers", "adversarial", "matched_noise")


@pytest.fixture(scope="module")
def found(mlp: nn.Module, digits) -> wl.explain.Complexity:
    x, y = digits.x[:120], digits.y[:120]
    return wl.explain.complexity(mlp, x, y=y, attack=wl.attacks.PGD(epsilon=0.15))


@pytest.mark.law
def test_what_it_says_of_a_real_model(found: wl.explain.Complexity) -> None:
    """The regularities of THEORY 5: adversarial twins are driven apart, noise of the same norm is
    not, each beside its null.
    """
    assert [it.layer.name for it in found.layers] == ["input", "relu1", "relu2", "logits"]
    assert [it.layer.name for it in found.limits] == ["hidden1", "hidden2", "logits"]
    assert found.total_boost["adversarial"].median > 0 > found.total_boost["matched_noise"].median
    assert max(it.excess_boost.median for it in found.layers[1:]) > 0
    for layer in found.layers:
        assert set(layer.rapidity) == set(KINDS)
        assert layer.untrained_rapidity is not None
    for it in found.limits:
        for kind in KINDS:
            assert 0 <= it.share[kind].median <= it.share[kind].q90 <= 1
            assert it.untrained_share[kind].count
    assert (
        found.proper_depth["noise"].median
        < found.proper_depth["adversarial"].median
        < len(found.layers)
    )
    assert found.pairs["noise"] == 120
    assert all(it.status == "measured" for it in found.known)
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
    """Centred on the samples, θ stays what it is at the input: the boosts are 0 and the proper
    depth is (layers) · sin θ.
    """
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
    assert found.limits[0].limit["noise"].q90 < 1e-5
    only = wl.explain.complexity(model, x[:2], null=False)
    angle = 1 / math.cosh(only.layers[0].rapidity["strangers"].median)
    assert only.proper_depth["strangers"].median == pytest.approx(
        len(only.layers) * angle, abs=1e-3
    )
    assert phi.count == depth.count


@pytest.mark.law
def test_the_null_is_another_network_and_the_seed_decides(mlp: nn.Module, digits) -> None:
    x = digits.x[:60]
    one, two, other = (wl.explain.complexity(mlp, x, seed=seed, resamples=50) for seed in (0, 0, 1))
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
def test_a_single_output_is_no_classifier_but_has_a_complexity(digits) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1))
    found = wl.explain.complexity(model, digits.x[:40], null=False)
    assert "K ≥ 2 classes" in {it.name: it for it in found.known}["sharpness"].status
    assert found.spectrum.singular_values[0].median > 0
    assert found.total_boost["noise"].count == 40
    with pytest.raises(ModelError, match="K ≥ 2 classes"):
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
