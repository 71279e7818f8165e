"""The swap layer judged: planted networks of many kinds, attacked by PGD, and networks without one.

In a planted network the class is the sign of a product a·b of two numbers that the input holds. No
class mean tells the classes apart until the planted layer multiplies them, so that an attack that
turns the sign of one of them moves nobody before it and everybody from it on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.errors import ShapeError
from worldline.explain import sides
from worldline.statistics import Bootstrap

SAMPLES = 600
BOUNDS = (-3.0, 3.0)


def head(width: int, at: int) -> nn.Linear:
    """Two logits, ± the number at one place."""
    layer = nn.Linear(width, 2, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:, at] = torch.tensor([1.0, -1.0])
    return layer


def rotation(width: int, seed: int) -> nn.Linear:
    layer = nn.Linear(width, width, bias=False)
    with torch.no_grad():
        matrix = torch.randn(width, width, generator=torch.Generator().manual_seed(seed))
        layer.weight.copy_(torch.linalg.qr(matrix)[0])
    return layer


class Fold(nn.Module):
    """(N, 3) → (N, 3): a·b, where a and b are what the rotations before it did to the first two."""

    def __init__(self, back: Tensor) -> None:
        super().__init__()
        self.register_buffer("back", back)

    def forward(self, x: Tensor) -> Tensor:
        first = x @ self.back
        return torch.stack([first[:, 0] * first[:, 1], first[:, 2], first[:, 2]], dim=1)


def fold_at(depth: int, layers: int = 7) -> nn.Module:
    """Rotations, with the fold after so many of them."""
    parts: list[tuple[str, nn.Module]] = []
    turned = torch.eye(3)
    for index in range(layers):
        if index == depth:
            parts.append(("planted", Fold(turned)))  # x turned to the left, so its transpose back
            turned = torch.eye(3)
        parts.append((f"turn{index}", rotation(3, index)))
        turned = parts[-1][1].weight.detach() @ turned
    logits = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        logits.weight.copy_(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]) @ turned.T)
    return nn.Sequential(OrderedDict([*parts, ("logits", logits)]))


class Multiply(nn.Module):
    def forward(self, stream: Tensor) -> Tensor:
        product = 2 * stream[:, 0] * stream[:, 1]
        return torch.stack([torch.zeros_like(product)] * 3 + [product], dim=1)


class Plus(nn.Module):
    """A residual block: what it was given, and what its branch adds."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, stream: Tensor) -> Tensor:
        return stream + self.branch(stream)


def of_the_bystander(much: float) -> nn.Linear:
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([0.0, 0, much, 0])))
    return layer


class Residual(nn.Module):
    """The stream keeps a and b; the third block writes their product beside them.

    The branches after it hold nothing of it: what they say of the attack says nothing of the sum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.ZeroPad1d((0, 1))
        self.before = nn.Sequential(Plus(of_the_bystander(1.0)), Plus(of_the_bystander(0.0)))
        self.planted = Plus(Multiply())
        self.after = nn.Sequential(Plus(of_the_bystander(1.0)), Plus(of_the_bystander(0.0)))
        self.logits = head(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.after(self.planted(self.before(self.widen(x)))))


class Convolutional(nn.Module):
    """A picture whose halves are a and b; |a + b| − |a − b| by one convolution and its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.smooth = nn.Conv2d(1, 2, 1, bias=False)
        self.mix = nn.Conv2d(2, 4, (2, 4), bias=False)
        self.planted = nn.ReLU()
        self.flat, self.logits = nn.Flatten(), nn.Linear(4, 2, bias=False)
        left = torch.tensor([1.0, 1, 0, 0]).expand(2, 4) / 8
        right = left.flip(1)
        with torch.no_grad():
            self.smooth.weight.fill_(1.0)
            mixed = [left + right, -left - right, left - right, right - left]
            self.mix.weight.copy_(torch.stack(mixed)[:, None].expand(4, 2, 2, 4))
            ours = torch.tensor([1.0, 1, -1, -1])
            self.logits.weight.copy_(torch.stack([ours, -ours]))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.flat(self.planted(self.mix(self.smooth(x)))))


class Attention(nn.Module):
    """Linear attention of tokens (number, marker, result): the first reads the marked one."""

    def forward(self, tokens: Tensor) -> Tensor:
        numbers, markers = tokens[..., 0], tokens[..., 1]
        read = torch.einsum("ni,nj,nj->ni", numbers, numbers, markers)
        return tokens + 3 * nn.functional.pad(read[..., None], (2, 0))


class Mark(nn.Module):
    """Numbers (N, T) → tokens (N, T, 3), of which the second is marked."""

    def forward(self, numbers: Tensor) -> Tensor:
        marker = torch.zeros_like(numbers)
        marker[:, 1] = 1
        return torch.stack([numbers, marker, torch.zeros_like(numbers)], dim=2)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.before = Mark(), nn.Linear(3, 3, bias=False)
        self.planted, self.logits = Attention(), head(3, 2)
        with torch.no_grad():
            self.before.weight.copy_(torch.diag(torch.tensor([1.5, 1.0, 1.0])))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.planted(self.before(self.embed(x)))[:, 0])


class Cell(nn.Module):
    def forward(self, state: Tensor, reading: Tensor) -> Tensor:
        return state * reading


class Recurrent(nn.Module):
    """One cell for all steps; the second step multiplies, the third multiplies by almost one."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.logits = Cell(), head(1, 0)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.ones_like(x[:, :1])
        for step in range(2):
            state = self.cell(state, x[:, step : step + 1])
        return self.logits(self.cell(state, 1 + x[:, 2:] / 10))


class Dense(nn.Module):
    """As in a DenseNet: each stage is all before it and what is new."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.planted = Beside(nn.Linear(3, 2, bias=False)), Beside(Gate())
        self.logits = head(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.planted(self.first(x)))


class Beside(nn.Module):
    def __init__(self, new: nn.Module) -> None:
        super().__init__()
        self.new = new

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], dim=1)


class Gate(nn.Module):
    """b where a opens, −b where it shuts."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * torch.tanh(2 * x[:, :1]) * x[:, 1:2]


def two_numbers() -> tuple[Tensor, Tensor]:
    """(N, 3) with a, b of both signs and a bystander, and the class, the sign of a·b."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(SAMPLES) % 2
    a = torch.randint(0, 2, (SAMPLES,), generator=generator) * 2.0 - 1
    x = torch.stack([a, a * (1 - 2.0 * y), torch.zeros(SAMPLES)], dim=1)
    return x + 0.3 * torch.rand(x.shape, generator=generator), y


def halves() -> tuple[Tensor, Tensor]:
    x, y = two_numbers()
    return x[:, [0, 0, 1, 1]][:, None, None].repeat(1, 1, 2, 1), y  # (N, 1, 2, 4)


def bystander() -> tuple[Tensor, Tensor]:
    """(N, 3), of which the last number says the class: nothing has to be multiplied."""
    x, y = two_numbers()
    return torch.cat([x[:, :2], (1 - 2.0 * y)[:, None] + x[:, 2:]], dim=1), y


PLANTED: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, Tensor]], str]] = {
    **{f"fold after {d}": (lambda d=d: fold_at(d), two_numbers, "planted") for d in (0, 3, 6)},
    "input": (lambda: head(3, 2), bystander, "input"),
    "residual": (Residual, two_numbers, "planted"),
    "convolution": (Convolutional, halves, "planted"),
    "tokens": (Tokens, two_numbers, "planted"),
    "recurrent": (Recurrent, two_numbers, "cell#1"),
    "dense, gated": (Dense, two_numbers, "planted"),
}


def told(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> wl.explain.TwinStory:
    """The story of PGD's twins, over every layer."""
    settings = wl.Settings(bounds=BOUNDS)
    found = wl.attacks.PGD(epsilon=epsilon, bounds=BOUNDS, steps=10)(model, x, y)
    return wl.explain.twins(model, x, found.x, y, layers=["*"], settings=settings)


@pytest.mark.law
@pytest.mark.parametrize("kind", PLANTED)
def test_the_planted_layer_is_the_swap_layer(kind: str) -> None:
    build, data, name = PLANTED[kind]
    story = told(build(), *data(), epsilon=1.6)
    assert story.fooled.float().mean() > 0.9
    assert story.swap_layer is not None
    assert story.swap_layer.name.startswith(name), [
        (layer.name, layer.moved_share) for layer in story.layers
    ]


class Early(nn.Module):
    """Class 0 where the first number is positive, and then a few of them are very sure."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.sure = head(3, 0), Sure()

    def forward(self, x: Tensor) -> Tensor:
        return self.sure(self.line(x))


class Sure(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits + logits.relu() ** 7 / 50


def few_far_away() -> tuple[Tensor, Tensor]:
    """Each class near the border, with a tenth of class 0 far from it, so that its mean is too."""
    x, y = two_numbers()
    first = 0.1 + 0.2 * torch.rand(SAMPLES, generator=torch.Generator().manual_seed(2))
    first[(y == 0) & (torch.arange(SAMPLES) % 20 < 4)] = 2.9
    return torch.cat([(first * (1 - 2.0 * y))[:, None], x[:, 1:] * 0.1], dim=1), y


WITHOUT: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, Tensor]], float]] = {
    "the border is not between the means": (Early, few_far_away, 0.5)
}


@pytest.mark.law
@pytest.mark.parametrize("kind", WITHOUT)
def test_no_swap_layer_where_most_are_not_moved(kind: str) -> None:
    build, data, epsilon = WITHOUT[kind]
    story = told(build(), *data(), epsilon=epsilon)
    assert story.fooled.sum() > 100
    assert story.swap_layer is None, [(it.name, it.moved_share.value) for it in story.layers]


@pytest.mark.law
def test_a_branch_that_knows_nothing_of_the_attack_does_not_hide_the_swap_layer() -> None:
    """One says something else, one says nothing at all; both are passed by."""
    story = told(Residual(), *two_numbers(), epsilon=1.6)
    moved = {layer.name: layer.moved_share.value for layer in story.layers}
    assert moved["after.0.branch"] < 0.2
    assert moved["after.1.branch"] is None
    assert story.swap_layer.name == "planted.branch"
    assert story.swap_layer.interval == (story.swap_layer.index, story.swap_layer.index)
    first = next(name for name, share in moved.items() if share == 1)
    lost = story.wrong_side_from[story.fooled]
    assert (lost <= list(moved).index(first)).all()


@pytest.mark.law
def test_what_the_network_can_pass_by() -> None:
    model, (x, _) = Residual(), two_numbers()
    layers = wl.trace.pick_layers(model, x, ["*"])
    passed = {
        layer.name: it
        for layer, it in zip(layers, wl.trace.passed_by(model, x, layers), strict=True)
    }
    # the first branch of the bystander writes what nobody reads; it is a way nevertheless
    assert {name for name, it in passed.items() if it} == {
        name for name in passed if name.endswith("branch")
    }
    with torch.inference_mode():
        assert not any(wl.trace.passed_by(torch.sign, x, layers))
    assert all(it.requires_grad for it in model.parameters())
    with pytest.raises(ShapeError, match=r"Inputs must be one floating tensor .*int64"):
        wl.trace.passed_by(model, x.long(), layers)


@pytest.mark.law
def test_a_layer_where_nobody_has_a_side_is_passed_over() -> None:
    change = torch.ones(100, 3, dtype=torch.float64)
    change[:, 1] = torch.nan
    found = sides.swap_layer(["a", "b", "c"], change, Bootstrap(100))
    assert (found.name, found.interval) == ("a", (0, 0))
    change[:, 1] = 0
    assert sides.swap_layer(["a", "b", "c"], change, Bootstrap(100)).name == "c"
