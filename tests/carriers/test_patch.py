"""Units put back: identities to the bit, resuming beside whole passes, and every message."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.errors import LayerError, ShapeError, UsageError
from worldline.explain.carrying.places import one_place
from worldline.explain.carrying.units import Units
from worldline.trace.heads import head_layers
from worldline.trace.resuming import resuming

spec = importlib.util.spec_from_file_location("networks", Path(__file__).parent / "networks.py")
networks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(networks)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "channels": (networks.Channels, (2, 6, 6)),
    "residual": (networks.Residual, (1, 8, 8)),
    "tokens": (networks.Tokens, (5, 32)),
    "discarding": (networks.Discarding, (6,)),
    "recurrent": (networks.Recurrent, (4, 5)),
    "shared": (networks.Shared, (6,)),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    return build().eval(), torch.rand(6, *shape)


def logits(model: Any, x: Tensor) -> Tensor:
    """Without fused attention, which skips modules and rounds otherwise."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            return wl.trace.logits_in(model(x.clone()), len(x))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def layers_of(model: nn.Module, x: Tensor) -> list[wl.trace.Layer]:
    found = list(wl.trace.find_layers(model, x))
    if any(isinstance(it, nn.MultiheadAttention) for it in model.modules()):
        found += [layer for layer, _ in head_layers(model, x)]
    return found


@pytest.mark.law
@pytest.mark.parametrize("name", NETWORKS)
def test_own_units_change_nothing_and_all_of_a_cut_give_the_donor_to_the_bit(name: str) -> None:
    model, x = made(name)
    expected, other = logits(model, x), logits(model, x.flip(0))
    layers = layers_of(model, x)
    for layer, passed in zip(layers, wl.trace.passed_by(model, x, layers), strict=True):
        by = "head" if layer.kind.startswith("heads") else "auto"
        own = wl.explain.patch(model, x, x, layer.name, [0], by=by)
        assert torch.equal(own, expected), layer.name
        everything = torch.ones(one_place(model, x, layer.name, by).units.count) > 0
        whole = wl.explain.patch(model, x, x.flip(0), layer.name, everything, by=by)
        assert torch.equal(whole, other) is not (passed or by == "head"), layer.name


@pytest.mark.oracle
@pytest.mark.parametrize("name", NETWORKS)
def test_resuming_gives_what_the_whole_model_gives(name: str) -> None:
    model, x = made(name)
    layers = layers_of(model, x)
    rows = torch.tensor([3, 0, 0, 5, 1])
    with wl.trace.untouched(model), torch.no_grad(), resuming(model, x, layers) as resumer:
        values = resumer.record(x)[1]
        skipping = [layer for layer in layers if layer in resumer.plans]
        assert len(skipping) == len(layers) - 1  # all but the input
        for layer in layers:
            value = values[layer][rows.flip(0)]
            expected = (
                logits(model, value)
                if layer.module == "input"
                else resumer._whole(layer, value.clone(), rows)
            )
            came = resumer.resume(layer, value, rows)
            torch.testing.assert_close(came, expected, rtol=1e-5, atol=1e-5, msg=layer.name)


@pytest.mark.oracle
def test_patching_is_what_a_hook_by_hand_does() -> None:
    model, x = made("residual")
    donor = x.flip(0)
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _given: object, output: Tensor) -> None:
        kept.append(output.clone())

    def put(_module: nn.Module, _given: object, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, 2] = kept[0][:, 2]
        output[1, 4] = kept[0][1, 4]
        return output

    for hook, given in ((keep, donor), (put, x)):
        handle = model.get_submodule("branch").register_forward_hook(hook)
        expected = logits(model, given)
        handle.remove()
    units = torch.zeros(len(x), 6, dtype=torch.bool)
    units[:, 2] = units[1, 4] = True
    assert torch.equal(wl.explain.patch(model, x, donor, "branch", units), expected)
    assert torch.equal(wl.explain.patch(model, x, kept[0], model.branch, units), expected)


@pytest.mark.law
def test_inside_the_model_itself_is_patched_and_afterwards_as_it_was() -> None:
    model, x = made("channels")
    expected = logits(model, x)
    with wl.explain.patched(model, x.flip(0), "relu#1", 5) as run:
        inside, again = logits(model, x), logits(model, x)
        assert torch.equal(run(x).detach(), inside)
        assert torch.equal(inside, again)
        assert run(x.clone().requires_grad_()).requires_grad
    assert not torch.equal(inside, expected)
    with pytest.raises(KeyError), wl.explain.patched(model, x, "one", 5):
        raise KeyError
    assert torch.equal(logits(model, x), expected)
    assert not model.one._forward_hooks
    assert "forward" not in vars(model.one)


class Box:
    """A callable whose module nobody sees."""

    def __init__(self, model: nn.Module) -> None:
        self.held = [model]

    def __call__(self, x: Tensor) -> Tensor:
        return logits(self.held[0], x)


@pytest.mark.law
def test_black_boxes_exports_and_wrappers_take_patches() -> None:
    model, x = made("channels")
    donor = x.flip(0)
    expected = wl.explain.patch(model, x, donor, "two", [5])
    free = ({0: torch.export.Dim("batch")},)
    same = {
        "partial": functools.partial(model),
        "parallel": nn.DataParallel(model),
        "exported": torch.export.export(model, (x,), dynamic_shapes=free).module(),
    }
    for name, other in same.items():
        came = wl.explain.patch(other, x, donor, "two", [5])
        torch.testing.assert_close(came, expected, msg=name)
    pixels = wl.explain.patch(Box(model), x, donor, "input", list(range(36)))
    torch.testing.assert_close(pixels, logits(model, donor))


X = torch.rand(6, 2, 6, 6)
MESSAGES: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (
        LayerError,
        "Unit 12 is out of range: layer 'one' has 12, numbered from 0 to 11",
        {"units": 12},
    ),
    (LayerError, "Unit -1 is out of range", {"units": [0, -1]}),
    (LayerError, "No layer matches 'three'. The layers that ran", {"layer": "three"}),
    (LayerError, "matches 2: relu#0, relu#1. Name one of them", {"layer": "relu"}),
    (LayerError, "no units of kind 'token'.*It has: channel, position, neuron", {"by": "token"}),
    (LayerError, "No attention was found", {"by": "head"}),
    (UsageError, "Unknown kind of unit 'row'; choose one of auto, channel", {"by": "row"}),
    (ShapeError, r"mask of units must be \(12,\) or \(6, 12\)", {"units": torch.ones(6, 2).bool()}),
    (ShapeError, "Units must be whole numbers or a boolean mask", {"units": [0.5]}),
    (
        ShapeError,
        r"The donor must be inputs .*\(6, 12, 6, 6\) of layer 'one'",
        {"donor": torch.rand(5, 2, 6, 6)},
    ),
    (
        ShapeError,
        "The donor must be like the inputs, torch.float32",
        {"donor": torch.rand(6, 2, 6, 6).double()},
    ),
]


@pytest.mark.law
def test_values_keep_their_layout_in_memory() -> None:
    value = torch.rand(5, 4, 6).transpose(0, 1)  # tokens first, as attention hands them on
    units = Units("token", 5, (5,), (5, 6), (0,))
    assert units.put(value, value.clone(), torch.rand(4, 5) > 0.5).stride() == value.stride()


@pytest.mark.message
@pytest.mark.parametrize(("kind", "words", "changed"), MESSAGES)
def test_what_cannot_be_put_back_is_told(
    kind: type[Exception], words: str, changed: dict[str, Any]
) -> None:
    model, x = made("channels")
    given: dict[str, Any] = {"donor": x.flip(0), "layer": "one", "units": 0, **changed}
    with pytest.raises(kind, match=words):
        wl.explain.patch(model, x, **given)


@pytest.mark.message
def test_a_donor_for_each_input() -> None:
    model, x = made("channels")
    with (
        wl.explain.patched(model, x, "one", 0) as run,
        pytest.raises(ShapeError, match="4 inputs, 6 donors"),
    ):
        run(x[:4])
