"""Linear layers as operators, and how much of their speed limit pairs use."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import worldline as wl
from worldline.explain.measures import measuring, operators
from worldline.explain.measures.limits import (
    find_linear,
    limit_use,
    linear_origins,
    triangle,
    triangle_boost,
)
from worldline.explain.measures.operators import linear_part, top_singular_values
from worldline.geometry import spacetime

seeds = st.integers(0, 2**31 - 1)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(module: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """The operator as a matrix, a column for each unit input."""
    width = int(torch.Size(shape).numel())
    units = torch.eye(width, dtype=torch.float64).view(width, *shape)
    return linear_part(module)(units).flatten(1).T.detach()


LAYERS = {
    "linear": (lambda: nn.Linear(7, 5), (7,)),
    "linear on tokens": (lambda: nn.Linear(4, 6), (3, 4)),
    "strided convolution": (lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1), (2, 6, 5)),
    "grouped and dilated": (lambda: nn.Conv2d(4, 4, 2, dilation=2, groups=2), (4, 5, 5)),
    "circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 2, 3, stride=2, output_padding=1), (3, 3, 3)),
    "one-dimensional": (lambda: nn.Conv1d(2, 3, 3), (2, 7)),
}


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> tuple[nn.Module, tuple[int, ...]]:
    torch.manual_seed(0)
    make, shape = LAYERS[request.param]
    return make().double(), shape


@pytest.mark.oracle
@pytest.mark.parametrize("written_out", [True, False])
def test_stretch_is_that_of_the_dense_operator(layer, written_out: bool, monkeypatch) -> None:
    """σ_max and ln κ, also by the iterations that stand for it in large layers."""
    module, shape = layer
    if not written_out:
        monkeypatch.setattr(operators, "WIDEST", 0)
    sigma = torch.linalg.svdvals(dense(module, shape))
    found = operators.stretch(module, shape)
    rows, width = dense(module, shape).shape
    exact = float((sigma[0] / sigma[-1]).log()) if rows >= width else math.inf
    assert found.largest == pytest.approx(float(sigma[0]), rel=1e-12 if written_out else 1e-3)
    assert found.limit == pytest.approx(exact, rel=1e-9 if written_out else 0.02)
    assert found.status.startswith("singular" if rows < width else "measured")


@pytest.mark.law
def test_a_limit_that_has_not_settled_is_a_lower_bound_and_says_so(monkeypatch) -> None:
    """THEORY 2: ln κ(W); the smallest singular value is approached from above."""
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 3, padding=1)
    exact = operators.stretch(layer, (8, 8, 8))
    monkeypatch.setattr(operators, "WIDEST", 0)
    monkeypatch.setattr(operators, "MOST_STEPS", 20)
    monkeypatch.setattr(operators, "FEWEST_STEPS", 20)
    early = operators.stretch(layer, (8, 8, 8))
    assert 0 < early.limit < exact.limit
    assert "ln κ is at least this" in early.status


@pytest.mark.law
def test_a_limit_in_brief_is_a_lower_bound_that_says_its_steps(monkeypatch) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, 3, padding=1).double()
    sigma = torch.linalg.svdvals(dense(layer, (6, 9, 9)))
    monkeypatch.setattr(operators, "WIDEST", 0)
    brief = operators.stretch(layer, (6, 9, 9), thorough=False)
    assert (1 - 1e-3) * float(sigma[0]) < brief.largest < (1 + 1e-6) * float(sigma[0])
    assert 0.3 < brief.limit / float((sigma[0] / sigma[-1]).log()) < 1
    assert re.search(r"σ_min of 486 inputs was still falling after (8|[1-5]\d) steps", brief.status)


@pytest.mark.law
def test_an_isometry_ends_the_search_and_has_no_limit_to_use(monkeypatch) -> None:
    """THEORY 2: ln κ = 0; the Krylov space is exhausted at once."""
    monkeypatch.setattr(operators, "WIDEST", 0)
    layer = nn.Conv2d(3, 3, 1, bias=False)
    layer.weight.data = 2 * torch.eye(3)[:, :, None, None]
    found = operators.stretch(layer, (3, 5, 5), thorough=False)
    assert (found.largest, found.limit) == pytest.approx((2.0, 0.0), abs=1e-6)  # float32
    assert found.status == "measured"


@pytest.mark.oracle
@pytest.mark.parametrize("thorough", [True, False])
def test_one_pass_over_samples_and_pairs_against_a_pass_for_each(thorough: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)).double()
    x, noisy, other = normal(3, 40, 1, 6, 6, seed=1)
    pairs = {"noise": (x, noisy), "strangers": (x[:35], x.flip(0)[:35]), "adversarial": (x, other)}
    layers, linear = wl.trace.pick_layers(model, x), find_linear(model, x)
    settings = wl.Settings(batch_size=16)
    given = measuring.Given(x, None, pairs, layers, thorough, 4, settings)
    seen, means, dimensions = measuring._over_samples(model, given, linear)
    rapidity, uses = measuring._over_pairs(model, given, seen, linear, means)
    frames = wl.trace.fit_frames(model, x, layers)
    origins = linear_origins(model, x, linear)
    torch.testing.assert_close(means, origins, rtol=1e-12, atol=1e-14)
    for kind, (first, second) in pairs.items():
        rows, both = torch.arange(len(first)), torch.cat((first, second))
        expected = wl.trace.trace_pairs(model, both, rows, rows + len(rows), frames, layers)
        torch.testing.assert_close(rapidity[kind], expected, rtol=1e-9, atol=1e-12)
        few = slice(None) if thorough else slice(measuring.FEW_PAIRS)
        for use, alone in zip(
            uses[kind], limit_use(model, first[few], second[few], linear, origins), strict=True
        ):
            torch.testing.assert_close(vars(use), vars(alone), rtol=1e-9, atol=1e-12)
    features = wl.trace.collect(model, x)
    for dimension, feature in zip(dimensions, features.values(), strict=True):
        assert dimension == wl.explain.measures.dimension(feature)


@pytest.mark.oracle
def test_restriction_and_limit_against_the_dense_singular_values(layer) -> None:
    module, shape = layer
    first, second = normal(2, 9, *shape, seed=1)
    model = nn.Sequential(module)
    layers = find_linear(model, first)
    assert [it.shape for it in layers] == [shape]
    origins = linear_origins(model, first, layers)
    (use,) = limit_use(model, first, second, layers, origins, batch_size=5)
    matrix = dense(module, shape)
    for row in range(len(first)):
        a, b = first[row].flatten() - origins[0], second[row].flatten() - origins[0]
        basis = torch.linalg.qr(torch.stack((a, b), 1)).Q
        sigma = torch.linalg.svdvals(matrix @ basis)
        assert float(use.plane_limit[row]) == pytest.approx(
            float((sigma[0] / sigma[1]).log()), rel=1e-8
        )
        assert float(use.rapidity_in[row]) == pytest.approx(
            float(wl.rapidity(a[None], b[None])), rel=1e-8, abs=1e-10
        )
        after = wl.rapidity((matrix @ a)[None], (matrix @ b)[None])
        assert float(use.rapidity_out[row]) == pytest.approx(float(after), rel=1e-8, abs=1e-10)


@pytest.mark.law
@settings(max_examples=40)
@given(seeds, st.integers(2, 12), st.integers(2, 12))
def test_the_speed_limit_is_never_exceeded(seed: int, inputs: int, outputs: int) -> None:
    torch.manual_seed(seed)
    model = nn.Linear(inputs, outputs)  # float32, with a bias
    x = normal(40, inputs, seed=seed).float()
    near = x + 1e-3 * normal(40, inputs, seed=seed + 1).float()
    layers = find_linear(model, x)
    origins = linear_origins(model, x, layers)
    for other in (near, x.flip(0), -x):
        (use,) = limit_use(model, x, other, layers, origins)
        change = (use.rapidity_out - use.rapidity_in).abs()
        known = torch.isfinite(use.plane_limit)
        assert (change[known] <= use.plane_limit[known] * (1 + 1e-9) + 1e-9).all()
        shares = use.plane_share[~use.plane_share.isnan()]
        assert (
            (shares >= 0) & (shares <= 1 + 1e-6)
        ).all()  # of a limit near 0 the quotient keeps fewer digits


@pytest.mark.law
def test_the_bias_is_gone_seen_from_the_means() -> None:
    """φ_out is the rapidity of the layer's true outputs, seen from their mean."""
    torch.manual_seed(0)
    model = nn.Linear(6, 4).double()
    model.bias.data.fill_(5.0)
    first, second = normal(2, 30, 6, seed=2)
    layers = find_linear(model, first)
    (use,) = limit_use(model, first, second, layers, linear_origins(model, first, layers))
    with torch.no_grad():
        a, b = model(first), model(second)
    torch.testing.assert_close(
        use.rapidity_out, wl.rapidity(a - a.mean(0), b - a.mean(0)), rtol=1e-9, atol=1e-9
    )


@pytest.mark.law
def test_an_isometry_uses_nothing_and_a_pair_can_use_all() -> None:
    torch.manual_seed(0)
    isometry = nn.Linear(6, 6, bias=False).double()
    isometry.weight.data = torch.linalg.qr(normal(6, 6, seed=0)).Q
    x = normal(20, 6, seed=1)
    layers = find_linear(isometry, x)
    (use,) = limit_use(isometry, x, x.flip(0), layers, linear_origins(isometry, x, layers))
    torch.testing.assert_close(use.rapidity_out, use.rapidity_in, rtol=0, atol=1e-12)
    assert float(use.plane_limit.max()) < 1e-12
    stretch = nn.Linear(2, 2, bias=False).double()
    stretch.weight.data = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))
    a, b = (torch.tensor([[1.0, sign]], dtype=torch.float64) for sign in (1.0, -1.0))
    (use,) = limit_use(
        stretch, a, b, find_linear(stretch, a), [torch.zeros(2, dtype=torch.float64)]
    )
    assert float(use.plane_share) == pytest.approx(1.0)


@pytest.mark.law
def test_pairs_without_a_plane_and_collapsing_layers_have_a_status_not_a_number() -> None:
    model = nn.Linear(3, 2, bias=False).double()
    model.weight.data = torch.tensor(
        [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]], dtype=torch.float64
    )  # rank one
    a = normal(4, 3, seed=0)
    layers, origin = find_linear(model, a), [torch.zeros(3, dtype=torch.float64)]
    (parallel,) = limit_use(model, a, 2 * a, layers, origin)
    assert parallel.plane_limit.isnan().all()
    assert parallel.plane_share.isnan().all()
    (collapsed,) = limit_use(model, a, a.flip(0), layers, origin)
    assert collapsed.plane_limit.isinf().all()
    assert collapsed.plane_share.isnan().all()


@pytest.mark.oracle
def test_two_by_two_helpers_against_torch() -> None:
    a, d = normal(2, 50, 8, seed=3)
    basis, inside = triangle(a, d)
    torch.testing.assert_close(torch.einsum("kpd,pkj->pdj", basis, inside), torch.stack((a, d), 2))
    gram = torch.einsum("kpd,lpd->pkl", basis, basis)
    torch.testing.assert_close(
        gram, torch.eye(2, dtype=torch.float64).expand(50, 2, 2), atol=1e-14, rtol=0
    )
    torch.testing.assert_close(
        triangle_boost(inside), spacetime.boost_rapidity(inside), rtol=1e-10, atol=1e-12
    )


@pytest.mark.oracle
def test_lanczos_against_dense_singular_values() -> None:
    matrices = normal(5, 30, 12, seed=4)
    start = normal(5, 12, seed=5)

    def apply(v: Tensor) -> Tensor:
        return torch.einsum("nij,nj->ni", matrices, v)

    def adjoint(u: Tensor) -> Tensor:
        return torch.einsum("nij,ni->nj", matrices, u)

    exact = torch.linalg.svdvals(matrices)
    torch.testing.assert_close(top_singular_values(apply, adjoint, start, top=12, steps=40), exact)
    few = top_singular_values(apply, adjoint, start, top=3, steps=6)
    assert (few <= exact[:, :3] + 1e-12).all()  # from below


@pytest.mark.law
def test_hooks_of_the_user_do_not_run_twice_and_none_remain() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    ran = []
    handle = model[0].register_forward_hook(lambda *_: ran.append(1))
    x = normal(6, 4, seed=0).float()
    layers = find_linear(model, x)
    origins = linear_origins(model, x, layers)
    ran.clear()
    limit_use(model, x, x.flip(0), layers, origins)
    assert len(ran) == 1  # the restriction is not a call of the module
    handle.remove()
    assert not any(it._forward_hooks or it._forward_pre_hooks for it in model.modules())


@pytest.mark.law
def test_a_module_called_twice_is_two_layers() -> None:
    shared = nn.Linear(4, 4)
    layers = find_linear(nn.Sequential(shared, nn.ReLU(), shared), torch.rand(3, 4))
    assert [it.name for it in layers] == ["0#0", "0#1"]
