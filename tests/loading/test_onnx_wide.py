"""Recurrent layers, Resize and Mod against onnxruntime and ONNX' own evaluator, and as exported."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from onnx.helper import make_node as make
from onnx.reference import ReferenceEvaluator
from torch import nn

from worldline.errors import ModelError
from worldline.loading import load_model
from worldline.loading.black_box import BlackBox
from worldline.loading.onnx_model import OnnxGraph

from .onnx_exports import PICTURE, SERIES, LastStep, Upsampled, exported, picture_network

onnxruntime = pytest.importorskip("onnxruntime")
RANDOM = np.random.default_rng(1)


def weight(name: str, *shape: int) -> Any:
    return numpy_helper.from_array(RANDOM.uniform(-1, 1, shape).astype(np.float32), name)


def graph_of(node: Any, weights: list[Any], shape: list[Any], sides: int, opset: int = 20) -> Any:
    x, y = (
        helper.make_tensor_value_info(name, 1, dims)
        for name, dims in (("x", shape), ("y", [None] * sides))
    )
    opsets = [helper.make_opsetid("", opset)]
    graph = helper.make_graph([node], "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
RECURRENT = [
    (kind, direction, extra)
    for kind in GATES
    for direction in ("forward", "reverse", "bidirectional")
    for extra in ({}, {"linear_before_reset": 1}, {"input_forget": 1}, {"activations": ["Relu"]})
    if {"linear_before_reset": "GRU", "input_forget": "LSTM", "activations": "RNN"}.get(
        next(iter(extra), ""), kind
    )
    == kind
    and not (extra and "activations" in extra and direction == "bidirectional")
]


@pytest.mark.oracle
@pytest.mark.parametrize(("kind", "direction", "extra"), RECURRENT)
def test_recurrent_layer_is_what_both_oracles_compute(
    kind: str, direction: str, extra: dict[str, Any]
) -> None:
    count, gates = 2 if direction == "bidirectional" else 1, GATES[kind]
    states = ["h", "c"][: 2 if kind == "LSTM" else 1]
    node = make(
        kind, ["x", "w", "r", "b", "", *states], ["y"], hidden_size=3, direction=direction, **extra
    )
    weights = [
        weight("w", count, 3 * gates, 5),
        weight("r", count, 3 * gates, 3),
        weight("b", count, 6 * gates),
        *(weight(it, count, 2, 3) for it in states),
    ]
    proto = graph_of(node, weights, [None, 2, 5], 4)
    x = torch.rand(7, 2, 5, generator=torch.Generator().manual_seed(0))
    answers = [onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x.numpy()})]
    if direction == "forward" and "input_forget" not in extra and "activations" not in extra:
        answers.append(ReferenceEvaluator(proto).run(None, {"x": x.numpy()}))  # it knows no more
    graph = OnnxGraph(proto)
    graph.expected_shape = nn.Identity()  # the first axis is time
    ours = graph(x)
    for (answer,) in answers:
        torch.testing.assert_close(ours.detach(), torch.from_numpy(np.array(answer)))
    point = x.double().requires_grad_()
    assert torch.autograd.gradcheck(graph.double(), point, fast_mode=True)


RESIZES: list[tuple[str, dict[str, Any]]] = [
    *(
        ("nearest", {"coordinate_transformation_mode": rule, "nearest_mode": mode})
        for rule in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
        for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ),
    *(
        (mode, {"coordinate_transformation_mode": rule})
        for mode in ("linear", "cubic")
        for rule in (
            "half_pixel",
            "asymmetric",
            "align_corners",
            "pytorch_half_pixel",
            "half_pixel_symmetric",
        )
    ),
    ("cubic", {"cubic_coeff_a": -0.5, "exclude_outside": 1}),
]


@pytest.mark.oracle
@pytest.mark.parametrize("by", ["scales", "fractions", "sizes"])
@pytest.mark.parametrize(("mode", "options"), RESIZES)
def test_resize_is_what_both_oracles_compute(mode: str, options: dict[str, Any], by: str) -> None:
    to = {
        "scales": numpy_helper.from_array(np.array([1, 1, 2, 1.5], np.float32), "s"),
        "fractions": numpy_helper.from_array(np.array([1, 1, 2, 0.6], np.float32), "s"),
        "sizes": numpy_helper.from_array(np.array([2, 2, 9, 4]), "s"),
    }[by]
    inputs = ["x", "", "", "s"] if by == "sizes" else ["x", "", "s"]
    proto = graph_of(make("Resize", inputs, ["y"], mode=mode, **options), [to], [2, 2, 5, 8], 4)
    x = torch.rand(2, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    graph = OnnxGraph(proto)
    ours = graph(x)
    oracles = [onnxruntime.InferenceSession(proto.SerializeToString())]
    if by != "fractions":  # ONNX' own then rounds in float64, and aligns corners that are not there
        oracles.append(ReferenceEvaluator(proto))
    for oracle in oracles:
        (answer,) = oracle.run(None, {"x": x.numpy()})
        torch.testing.assert_close(ours, torch.from_numpy(np.array(answer)).to(ours))
    assert torch.autograd.gradcheck(graph, x.double().requires_grad_(), fast_mode=True)


@pytest.mark.oracle
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_old_resize_has_scales_second(mode: str) -> None:
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s")
    node = make("Resize", ["x", "s"], ["y"], mode=mode)
    proto = graph_of(node, [scales], [2, 2, 5, 7], 4, 10)
    x = torch.rand(2, 2, 5, 7)
    (answer,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x.numpy()})
    torch.testing.assert_close(OnnxGraph(proto)(x), torch.from_numpy(answer))


@pytest.mark.oracle
@pytest.mark.parametrize(("kind", "fmod"), [(np.float32, 1), (np.int64, 0), (np.int64, 1)])
def test_mod_has_the_sign_that_both_oracles_give(kind: type, fmod: int) -> None:
    a, b = np.array([[-7, 7, -7, 7]]).astype(kind), np.array([[3, 3, -3, -3]]).astype(kind)
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    x, y = (helper.make_tensor_value_info(name, number, [1, 4]) for name in "xy")
    weights = [numpy_helper.from_array(b, "b")]
    graph = helper.make_graph([make("Mod", ["x", "b"], ["y"], fmod=fmod)], "g", [x], [y], weights)
    opsets = [helper.make_opsetid("", 20)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    from worldline.loading.onnx_operators import OPERATORS

    ours = OPERATORS["Mod"]({"fmod": fmod}, torch.from_numpy(a), torch.from_numpy(b))
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    for oracle in (session, ReferenceEvaluator(proto)):
        np.testing.assert_array_equal(ours.numpy(), oracle.run(None, {"x": a})[0])


EXPORTS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "LSTM": (LastStep(nn.LSTM), SERIES),
    "LSTM, two, both ways": (LastStep(nn.LSTM, num_layers=2, bidirectional=True), SERIES),
    "GRU": (LastStep(nn.GRU), SERIES),
    "RNN": (LastStep(nn.RNN), SERIES),
    "nearest": (Upsampled(scale_factor=2, mode="nearest"), PICTURE),
    "bilinear": (Upsampled(size=(7, 15), mode="bilinear"), PICTURE),
    "corners": (Upsampled(size=(7, 15), mode="bilinear", align_corners=True), PICTURE),
    "bicubic": (Upsampled(size=(13, 15), mode="bicubic"), PICTURE),
    "BatchNorm": (picture_network(), PICTURE),
}


@pytest.mark.oracle
@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("name", EXPORTS)
def test_exported_network_comes_back_with_its_gradients(
    name: str, opset: int, tmp_path: Path
) -> None:
    model, sample = EXPORTS[name]
    loaded = load_model(exported(model, sample, tmp_path / "m.onnx", opset=opset), sample=sample)
    assert isinstance(loaded, OnnxGraph)
    found = []
    for it in (model.eval(), loaded):
        x = torch.rand(3, *sample, generator=torch.Generator().manual_seed(3)).requires_grad_()
        found.append((it(x), *torch.autograd.grad(it(x)[:, 1].sum(), x)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("opset", [9, 11, 13, 14])
@pytest.mark.parametrize("oracle", ["onnxruntime", "reference"])
def test_batch_norm_of_old_opsets_is_accepted(
    opset: int, oracle: str, tmp_path: Path, monkeypatch
) -> None:
    if oracle == "reference":
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path = exported(picture_network(), PICTURE, tmp_path / "m.onnx", opset=opset)
    assert isinstance(load_model(path), OnnxGraph)


@pytest.mark.law
def test_double_precision_stays(tmp_path: Path) -> None:
    model = nn.Linear(4, 3).double()
    path = tmp_path / "m.onnx"
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(model, (torch.rand(2, 4).double(),), str(path), dynamo=False)
    x = torch.rand(2, 4).double()
    torch.testing.assert_close(load_model(str(path))(x), model(x))


@pytest.mark.law
def test_a_free_size_is_tried_at_the_datas_own(tmp_path: Path) -> None:
    path = exported(picture_network(), PICTURE, tmp_path / "m.onnx", free=(0, 2, 3))
    for sample in (PICTURE, (12, 12, 3)):  # channels last are turned later
        assert isinstance(load_model(path, sample=sample), OnnxGraph)
    with pytest.raises(ModelError, match="shape"):
        load_model(path, sample=(3, 40, 40))  # the classifier takes 12×12 alone


@pytest.mark.law
def test_a_recurrent_layer_that_torch_cannot_do_is_a_black_box(tmp_path: Path) -> None:
    node = make("LSTM", ["x", "w", "r"], ["", "y"], hidden_size=3, clip=1.0)
    proto = graph_of(node, [weight("w", 1, 12, 5), weight("r", 1, 12, 3)], [2, 2, 5], 3)
    nodes = [*proto.graph.node, make("Squeeze", ["y", "a"], ["z"])]
    axis = numpy_helper.from_array(np.array([0]), "a")
    z = helper.make_tensor_value_info("z", 1, [None, 3])
    weights = [*proto.graph.initializer, axis]
    graph = helper.make_graph(nodes, "g", list(proto.graph.input), [z], weights)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "m.onnx")
    assert isinstance(load_model(str(tmp_path / "m.onnx")), BlackBox)
