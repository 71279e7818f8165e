"""predict against networks that were really drawn, and what it refuses."""

import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

import worldline as wl
from worldline.errors import ModelError, ShapeError, UsageError
from worldline.explain.untrained_network import untrained
from worldline.nullmodel import lyapunov_exponents, predict

W = 512
STACKS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...]]] = {
    "relu": (
        lambda: nn.Sequential(
            nn.Linear(50, W), nn.ReLU(), nn.Linear(W, W), nn.ReLU(), nn.Linear(W, W)
        ),
        (50,),
    ),
    "tanh": (lambda: nn.Sequential(nn.Linear(50, W), nn.Tanh(), nn.Linear(W, W), nn.Tanh()), (50,)),
    "gelu": (
        lambda: nn.Sequential(
            nn.Linear(50, W), nn.GELU(), nn.Linear(W, W), nn.GELU(approximate="tanh")
        ),
        (50,),
    ),
    "leaky": (
        lambda: nn.Sequential(nn.Linear(50, W, bias=False), nn.LeakyReLU(0.3), nn.Linear(W, W)),
        (50,),
    ),
    "linear": (
        lambda: nn.Sequential(nn.Linear(50, W, bias=False), nn.Linear(W, W, bias=False)),
        (50,),
    ),
    "conv": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 128, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(128, 128, 3, stride=2, dilation=2),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(512, W),
        ),
        (3, 8, 8),
    ),
    "conv1d": (
        lambda: nn.Sequential(
            nn.Sequential(nn.Conv1d(2, 256, 5, padding="same"), nn.ReLU()),
            nn.Flatten(),
            nn.Linear(256 * 16, W),
            nn.Dropout(0.5),
            nn.ReLU(),
        ),
        (2, 16),
    ),
    "tokens": (
        lambda: nn.Sequential(nn.Linear(20, W), nn.ReLU(), nn.Flatten(), nn.Linear(7 * W, W)),
        (7, 20),
    ),
    "raw first": (
        lambda: nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(50, W), nn.Identity()),
        (5, 10),
    ),
}


def pairs(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Five pairs: near, half, unrelated, opposed and of different length."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, *shape, dtype=torch.float64, generator=generator)
    mix = torch.tensor([0.95, 0.5, 0.0, -0.7, 3.0], dtype=torch.float64).view(5, *[1] * len(shape))
    return a, mix * a + b * (1 - mix.clamp(max=1) ** 2 + 0.05).sqrt()


def correlations(net: nn.Sequential, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    rows = [wl.correlation(a.flatten(1), b.flatten(1))]
    with torch.no_grad():
        for part in net:
            for layer in part if isinstance(part, nn.Sequential) else [part]:
                a, b = layer(a), layer(b)
                rows.append(wl.correlation(a.flatten(1), b.flatten(1)))
    return torch.stack(rows)


@pytest.mark.law
@pytest.mark.parametrize("name", STACKS)
def test_predictions_are_the_mean_of_networks_that_were_drawn(name: str) -> None:
    make, shape = STACKS[name]
    a, b = pairs(shape)
    net = make().double()
    prediction = predict(net, a, b)
    drawn = torch.stack([correlations(untrained(net, seed=seed)[0], a, b) for seed in range(24)])
    error = drawn.std(0) / math.sqrt(24)
    # 3.5 standard errors, and the bias of order 1/W that a finite width has
    assert ((drawn.mean(0) - prediction.correlation).abs() < 3.5 * error + 2 / W).all()
    assert torch.allclose(prediction.correlation, torch.tanh(prediction.rapidity))
    assert prediction.layers[0] == "input"
    assert len(prediction.layers) == len(drawn[0])


@pytest.mark.law
@pytest.mark.parametrize(
    ("init", "sigma_w", "sigma_b"),
    [("he", math.sqrt(2), 0.0), ((1.3, 0.4), 1.3, 0.4), ((0.5, 1.0), 0.5, 1.0)],
)
def test_other_initialisations(
    init: str | tuple[float, float], sigma_w: float, sigma_b: float
) -> None:
    net = nn.Sequential(nn.Linear(50, W), nn.Tanh(), nn.Linear(W, W)).double()
    a, b = pairs((50,))
    prediction = predict(net, a, b, init=init)
    generator, drawn = torch.Generator().manual_seed(0), []
    for _ in range(24):
        with torch.no_grad():
            for layer in (net[0], net[2]):
                layer.weight.normal_(0, sigma_w / math.sqrt(layer.in_features), generator=generator)
                layer.bias.normal_(
                    0, sigma_b, generator=generator
                ) if sigma_b else layer.bias.zero_()
        drawn.append(correlations(net, a, b))
    error = torch.stack(drawn).std(0) / math.sqrt(24)
    assert ((torch.stack(drawn).mean(0) - prediction.correlation).abs() < 3.5 * error + 2 / W).all()


@pytest.mark.law
def test_identical_inputs_stay_identical_and_no_weights_are_read() -> None:
    net = nn.Sequential(
        nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 3), nn.ReLU()
    )
    a = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    assert (predict(net, a, a).rapidity == math.inf).all()
    before = predict(net, a, a.flip(0)).rapidity
    with torch.no_grad():
        net[0].weight.fill_(math.nan)
    assert torch.equal(before, predict(net, a, a.flip(0)).rapidity)


@pytest.mark.law
def test_deep_linear_predictions_stand_still_where_finite_width_aligns() -> None:
    """Infinite width has rate 0; Newman's exponents say what width n adds: λ₁ − λ₂ ≈ 1/(2n)."""
    net = nn.Sequential(*[nn.Linear(16, 16, bias=False) for _ in range(4)])
    a, b = torch.eye(16)[:1], torch.eye(16)[:1] + 0.1 * torch.eye(16)[1:2]
    rapidity = predict(net, a, b).rapidity
    assert torch.allclose(rapidity, rapidity[:1].expand_as(rapidity))
    first, second = lyapunov_exponents(1000)[:2].tolist()
    assert first - second == pytest.approx(1 / 2000, rel=0.01)


def _ones(*shape: int) -> torch.Tensor:
    return torch.ones(2, *shape)


REFUSED: dict[str, tuple[nn.Module, tuple[int, ...], type[Exception], str]] = {
    "batch norm": (
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
        (4,),
        ModelError,
        "Layer '1': no random-weight map is known for BatchNorm1d",
    ),
    "pool": (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2)),
        (1, 8, 8),
        ModelError,
        "Layer '1': no random-weight map is known for MaxPool2d",
    ),
    "block": (
        nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.Bilinear(4, 4, 4)),
        (4,),
        ModelError,
        "Layer '1': no random-weight map is known for Bilinear",
    ),
    "network": (nn.LSTM(4, 4), (4,), ModelError, "no random-weight map is known for LSTM"),
    "groups": (
        nn.Sequential(nn.Conv2d(2, 2, 3, groups=2)),
        (2, 8, 8),
        ModelError,
        "Layer '0': only a convolution with groups=1 and zero padding has a map; got groups=2",
    ),
    "circular": (
        nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")),
        (2, 8, 8),
        ModelError,
        "padding_mode='circular'",
    ),
    "linear on maps": (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(6, 6)),
        (1, 8, 8),
        ModelError,
        "put nn.Flatten() before it",
    ),
    "conv after linear": (
        nn.Sequential(nn.Linear(8, 8), nn.Conv1d(4, 2, 3)),
        (4, 8),
        ModelError,
        "a convolution after Linear or Flatten",
    ),
    "part flatten": (
        nn.Sequential(nn.Linear(8, 8), nn.Flatten(2)),
        (2, 3, 8),
        ModelError,
        "only nn.Flatten() of all dimensions",
    ),
    "width": (
        nn.Sequential(nn.Linear(5, 4)),
        (4,),
        ShapeError,
        "Layer '0': reads 5 units; the input has 4 in (2, 4)",
    ),
    "channels": (
        nn.Sequential(nn.Conv2d(3, 4, 3)),
        (1, 8, 8),
        ShapeError,
        "reads 3 units; the input has 1 in (2, 1, 8, 8)",
    ),
    "axes": (
        nn.Sequential(nn.Conv2d(3, 4, 3)),
        (3, 8),
        ShapeError,
        "needs inputs (N, C, size × size); got (2, 3, 8)",
    ),
}


@pytest.mark.message
@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_layer(name: str) -> None:
    net, shape, kind, words = REFUSED[name]
    with pytest.raises(kind, match=re.escape(words)):
        predict(net, _ones(*shape), _ones(*shape))


@pytest.mark.message
def test_other_messages() -> None:
    net = nn.Linear(4, 4)
    with pytest.raises(
        ShapeError,
        match=re.escape(
            "two floating batches (N, …) of one shape; got (2, 4) torch.float32 and (2, 5)"
        ),
    ):
        predict(net, _ones(4), _ones(5))
    with pytest.raises(UsageError, match="init must be 'reset', 'he' or"):
        predict(net, _ones(4), _ones(4), init="xavier")
    with pytest.raises(
        UsageError, match=re.escape("init as numbers is (sigma_w > 0, sigma_b ≥ 0); got (0.0, 1.0)")
    ):
        predict(net, _ones(4), _ones(4), init=(0.0, 1.0))
