"""Spectra, dimensions and the field's measures, against slow versions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.explain.measures.dimensions import dimension, participation_ratio, two_nn
from worldline.explain.measures.known import (
    activation_flips,
    parameters,
    path_norm,
    sharpness,
    spectral_norms,
)
from worldline.explain.measures.limits import find_linear
from worldline.explain.measures.operators import stretch


def small(*, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5, bias=bias), nn.ReLU(), nn.Linear(5, 3, bias=bias)).double()


def inputs(rows: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.rand(
        rows, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


@pytest.mark.law
def test_a_linear_network_has_the_spectrum_of_its_product() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 7), nn.Linear(7, 5)).double()
    product = model[2].weight @ model[1].weight @ model[0].weight
    found = wl.explain.jacobian_spectrum(model, inputs(3, 6))
    assert found.complete
    torch.testing.assert_close(
        found.singular_values, torch.linalg.svdvals(product.detach()).expand(3, 5)
    )
    torch.testing.assert_close(found.exponents, found.singular_values.log() / found.depth)
    torch.testing.assert_close(found.norm, product.detach().norm().expand(3))


@pytest.mark.oracle
def test_lanczos_spectrum_against_the_dense_jacobian() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.GELU(), nn.Flatten(), nn.Linear(216, 80)
    ).double()
    x = inputs(4, 1, 6, 6)
    found = wl.explain.jacobian_spectrum(model, x, top=5, steps=36)
    assert not found.complete
    for row in range(4):
        dense = torch.autograd.functional.jacobian(model, x[row : row + 1]).view(80, 36)
        torch.testing.assert_close(found.singular_values[row], torch.linalg.svdvals(dense)[:5])
    quick = wl.explain.jacobian_spectrum(model, x, top=5)
    torch.testing.assert_close(quick.singular_values, found.singular_values, rtol=1e-3, atol=0)


@pytest.mark.law
def test_a_spectrum_can_be_of_any_layer_and_leaves_the_model_as_it_was(
    mlp: nn.Module, digits
) -> None:
    before = {name: value.clone() for name, value in mlp.state_dict().items()}
    found = wl.explain.jacobian_spectrum(mlp, digits.x[:3], layer="relu1", top=4)
    assert found.layer.name == "relu1"
    assert found.singular_values.shape == (3, 4)
    assert all(torch.equal(before[name], value) for name, value in mlp.state_dict().items())
    assert all(it.requires_grad and it.grad is None for it in mlp.parameters())


@pytest.mark.oracle
def test_path_norm_is_the_sum_over_all_paths() -> None:
    model = small()
    w1, b1, w2, b2 = (it.detach().abs() for it in model.parameters())
    total = sum(
        float(w2[k, j] * w1[j, i]) for i, j, k in itertools.product(range(4), range(5), range(3))
    )
    total += sum(float(w2[k, j] * b1[j]) for j, k in itertools.product(range(5), range(3))) + float(
        b2.sum()
    )
    value, status = path_norm(model, inputs(1, 4))
    assert status == "measured"
    assert value == pytest.approx(math.log(total))


@pytest.mark.law
def test_path_norm_folds_batch_normalisation() -> None:
    """A network and the same with its normalisation multiplied into the weights have one norm."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(5).double()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    plain = small()
    whole = nn.Sequential(nn.Linear(4, 5, bias=False).double(), norm, nn.ReLU(), plain[2]).eval()
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    plain[0].weight.data = scale.detach()[:, None] * whole[0].weight.detach()
    plain[0].bias.data = (norm.bias - scale * norm.running_mean).detach()
    assert path_norm(whole, inputs(1, 4))[0] == pytest.approx(path_norm(plain, inputs(1, 4))[0])
    largest = {
        it.module: stretch(whole.get_submodule(it.module), it.shape).largest
        for it in find_linear(whole, inputs(2, 4))
    }
    logs = spectral_norms(whole, largest)[0]
    expected = [torch.linalg.svdvals(whole[place].weight.detach())[0].log() for place in (0, 3)]
    assert logs == pytest.approx(float(sum(expected) + scale.detach().abs().max().log()), rel=1e-6)


@pytest.mark.message
@pytest.mark.parametrize("act", [nn.GELU(), nn.Sigmoid(), nn.LayerNorm(5)])
def test_path_norm_refuses_what_it_does_not_fit(act: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(4, 5), act, nn.Linear(5, 3))
    value, status = path_norm(model, torch.rand(1, 4))
    assert value is None
    assert "not positively homogeneous" in status


@pytest.mark.oracle
def test_sharpness_is_the_largest_eigenvalue_of_the_explicit_hessian() -> None:
    model, x, y = small(), inputs(12, 4), torch.arange(12) % 3
    shapes = [it.shape for it in model.parameters()]
    names = [name for name, _ in model.named_parameters()]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for shape in shapes])
        values = {
            name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)
        }
        return nn.functional.cross_entropy(torch.func.functional_call(model, values, (x,)), y)

    flat = torch.cat([it.detach().flatten() for it in model.parameters()])
    exact = float(torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))[-1])
    value, status = sharpness(model, x, y, steps=30)
    assert status == "measured"
    assert value == pytest.approx(exact, rel=1e-6)
    assert "own predictions" in sharpness(model, x, None)[1]


@pytest.mark.oracle
def test_activation_flips_against_a_loop() -> None:
    model, (first, second) = small(), inputs(2, 7, 4)
    counted, status = activation_flips(model, first, second, points=9, batch_size=20)
    assert status == "measured on 7 segments of 9 points"
    for row in range(7):
        signs = torch.stack(
            [model[0](first[row] + t / 8 * (second[row] - first[row])) > 0 for t in range(9)]
        )
        assert float(counted[row]) == pytest.approx(
            float((signs[1:] != signs[:-1]).double().sum()) / 5
        )
    none, status = activation_flips(nn.Linear(4, 3).double(), first, second)
    assert none is None
    assert "no activation modules" in status


@pytest.mark.law
def test_counts_parameters_of_modules_only() -> None:
    assert parameters(small()) == (4 * 5 + 5 + 5 * 3 + 3, "measured")
    assert parameters(lambda x: x)[0] is None


@pytest.mark.law
def test_participation_ratio_of_known_clouds() -> None:
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(20_000, 10, generator=generator)
    ratio, interval = participation_ratio(cloud)
    assert ratio == pytest.approx(10, rel=0.01)  # D/(1 + D/N), and sampling
    assert interval[0] <= ratio <= interval[1]
    line = torch.randn(50, 1, generator=generator) * torch.ones(1, 30)
    assert participation_ratio(line)[0] == pytest.approx(1)
    orthonormal = torch.cat((torch.eye(12), -torch.eye(12)))
    assert participation_ratio(orthonormal)[0] == pytest.approx(12)
    wide = torch.randn(15, 400, generator=generator).double()
    values = torch.linalg.eigvalsh(torch.cov(wide.T, correction=0)).clamp(min=0)
    assert participation_ratio(wide)[0] == pytest.approx(
        float(values.sum() ** 2 / (values**2).sum())
    )


@pytest.mark.law
def test_two_nn_of_a_plane_in_many_dimensions() -> None:
    generator = torch.Generator().manual_seed(0)
    plane = torch.rand(1500, 2, generator=generator) @ torch.randn(2, 40, generator=generator)
    value, interval = two_nn(plane)
    assert value == pytest.approx(2, rel=0.1)  # statistical error of 1,500 samples, about 4 %
    assert interval[0] < 2.1
    assert interval[1] > 1.9
    assert two_nn(plane.repeat(2, 1))[0] == pytest.approx(value)  # repeated samples count once


@pytest.mark.oracle
def test_two_nn_against_its_formula() -> None:
    """Least squares through 0 of −ln(1 − F) on ln μ, the largest tenth left out (Facco 2017)."""
    cloud = torch.randn(
        80, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).numpy()
    ratios = []
    for row in cloud:
        first, second = np.sort(np.linalg.norm(cloud - row, axis=1))[1:3]
        ratios.append(second / first)
    logs = np.log(np.sort(ratios))[:72]
    height = -np.log(1 - np.arange(1, 73) / 80)
    assert two_nn(torch.from_numpy(cloud))[0] == pytest.approx(
        np.linalg.lstsq(logs[:, None], height, rcond=None)[0][0]
    )


@pytest.mark.message
def test_dimensions_say_what_they_cannot_know() -> None:
    few = dimension(torch.randn(12, 100, generator=torch.Generator().manual_seed(0)))
    assert few.participation <= 11
    assert "12 samples span at most 11 of the 100 dimensions" in few.status
    assert "give more than 100 samples" in few.status
    still = dimension(torch.ones(30, 4))
    assert (still.participation, still.two_nn) == (None, None)
    assert "All samples have the same features" in still.status
    assert "at least two samples" in dimension(torch.ones(1, 4)).status
    assert "at least 10 samples" in dimension(torch.randn(5, 2)).status


@pytest.mark.oracle
def test_path_norm_keeps_the_shift_of_a_batch_normalisation_without_weights() -> None:
    """Fault 6: BatchNorm(affine=False) has no bias, so its shift −μ/s was lost."""
    torch.manual_seed(0)
    first, last = small()[0], small()[2]
    shifted = nn.BatchNorm1d(5, affine=False).double()
    shifted.running_mean.normal_()
    shifted.running_var.uniform_(0.5, 2.0)
    same = nn.BatchNorm1d(5).double()
    same.load_state_dict(shifted.state_dict(), strict=False)
    bare, affine = (
        path_norm(nn.Sequential(first, norm, nn.ReLU(), last).eval(), inputs(1, 4))
        for norm in (shifted, same)
    )
    assert bare == (pytest.approx(affine[0]), "measured")
