"""A model and data that do not fit at once, and what is said of that."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.errors import ModelError
from worldline.inputs import Data
from worldline.loading import hold_data
from worldline.runs.fitting import fitted, is_lazy, note_of, ready
from worldline.runs.opening import refuse_probability

Y = torch.arange(24) % 3
HEAD = (nn.Flatten(), nn.LazyLinear(3))


def data_of(*shape: int) -> Data:
    return hold_data(torch.rand(24, *shape, generator=torch.Generator().manual_seed(0)), Y)


def net(first: nn.Module, *shape: int) -> nn.Module:
    made = nn.Sequential(first, nn.Flatten(), nn.LazyLinear(3))
    made(torch.rand(2, *shape))
    return made


FITS = {
    "as they are": (net(nn.Conv2d(3, 2, 3), 3, 6, 6), (3, 6, 6), (3, 6, 6), ""),
    "channels last": (net(nn.Conv2d(3, 2, 3), 3, 6, 6), (6, 6, 3), (3, 6, 6), "channels first."),
    "wrapped": (
        functools.partial(net(nn.Conv2d(3, 2, 3), 3, 6, 6)),
        (6, 6, 3),
        (3, 6, 6),
        "channels first.",
    ),
    "signal": (net(nn.Conv1d(2, 2, 3), 2, 9), (9, 2), (2, 9), "channels first: (2, 9)."),
    "no channel": (net(nn.Conv2d(1, 2, 3), 1, 6, 6), (6, 6), (1, 6, 6), "one channel: (1, 6, 6)."),
    "sound": (net(nn.Conv1d(1, 2, 3), 1, 9), (9,), (1, 9), "one channel: (1, 9)."),
    "flat": (net(nn.Linear(36, 4), 36), (1, 6, 6), (36,), "in rows of 36 numbers."),
}


@pytest.mark.law
@pytest.mark.parametrize("kind", FITS)
def test_axes_are_put_as_the_model_takes_them_and_it_is_said(kind: str) -> None:
    model, given, expected, said = FITS[kind]
    data = data_of(*given)
    found = fitted(model, data)
    assert found.x.shape[1:] == found.reference_x.shape[1:] == expected
    assert found.conversions == () if not said else found.conversions[-1].endswith(said)
    assert torch.equal(found.x.flatten(1).sort().values, data.x.flatten(1).sort().values)


@pytest.mark.law
def test_what_a_model_makes_of_inputs_that_it_takes_is_not_mended() -> None:
    class Copying(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2

    assert fitted(Copying(), data_of(1, 6, 6)).x.shape[1:] == (1, 6, 6)


@pytest.mark.law
@pytest.mark.parametrize("shape", [(3, 6, 6), (6, 6, 3), (6, 6)])
def test_of_a_lazy_model_a_copy_gets_its_shapes(shape: tuple[int, ...]) -> None:
    lazy = nn.Sequential(nn.LazyConv2d(2, 3), nn.LazyBatchNorm2d(), *HEAD)
    state = torch.get_rng_state()
    made = ready(lazy, "mine", data_of(*shape).x, 5)
    assert is_lazy(lazy)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    again = ready(lazy, "mine", data_of(*shape).x, 5)
    assert made[0].weight.shape[1] == {(3, 6, 6): 3, (6, 6, 3): 3, (6, 6): 1}[shape]
    assert torch.equal(made[0].weight, again[0].weight)
    assert "mine is lazy" in note_of(made)


@pytest.mark.end_to_end
def test_a_lazy_model_that_is_handed_over_is_copied_and_it_is_said() -> None:
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    found = wl.distant(lazy, torch.rand(60, 4), torch.arange(60) % 3, nulls=0, pairs=1)
    assert is_lazy(lazy)
    assert any("a copy was given random ones" in note for note in found.record.notes)
    with pytest.raises(ModelError, match="The lazy model Bad raised"):
        wl.explore(Bad(), torch.rand(60, 4), torch.arange(60) % 3)


class Bad(nn.Module):
    """Lazy, and never right."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)[:, 7]


class Sure(nn.Module):
    """One probability a sample, in a shape of one's choice."""

    def __init__(self, function: Callable[[Tensor], Tensor], *, frozen: bool = False) -> None:
        super().__init__()
        self.head, self.function = nn.Linear(4, 1).requires_grad_(not frozen), function

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(1)
        return self.function(self.head(x))


@pytest.mark.message
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("shape", [lambda z: z, lambda z: z.squeeze(1), lambda z: z[:, 0]])
def test_one_probability_is_no_logit(shape: Callable[[Tensor], Tensor], frozen: bool) -> None:
    x = torch.rand(3, 4)
    with pytest.raises(ModelError, match="ends in a sigmoid"):
        refuse_probability(Sure(lambda z: shape(z.sigmoid()), frozen=frozen), x)
    for logit in (shape, lambda z: shape(z.sigmoid().log()), lambda z: torch.cat((z, z), 1)):
        refuse_probability(Sure(logit, frozen=frozen), x)
    refuse_probability(lambda it: torch.from_numpy(it.numpy()[:, 0]), x)
