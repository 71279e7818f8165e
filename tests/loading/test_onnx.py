"""ONNX graphs as modules: every operator against ONNX' own evaluator, and the checks on load."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node as make
from onnx.reference import ReferenceEvaluator
from torch import nn

import worldline as wl
from worldline.errors import ModelError, ShapeError
from worldline.loading import load_model
from worldline.loading import onnx_operators as table
from worldline.trace import find_layers

IMAGE = ["N", 2, 6, 6]
RANDOM = np.random.default_rng(0)


def weight(name: str, *shape: int, positive: bool = False) -> TensorProto:
    values = RANDOM.standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(np.abs(values) + 0.5 if positive else values, name)


def ints(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def saved(
    folder: Path,
    nodes: list[Any],
    weights: Sequence[TensorProto] = (),
    shape: list[Any] = IMAGE,
    opset: int = 20,
) -> Path:
    def proto(sides: list[Any]) -> onnx.ModelProto:
        x, y = (
            helper.make_tensor_value_info("x", 1, shape),
            helper.make_tensor_value_info("y", 1, sides),
        )
        graph = helper.make_graph(nodes, "g", [x], [y], weights)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9
        )

    (answer,) = ReferenceEvaluator(proto([])).run(
        None, {"x": np.ones([2 if side == "N" else side for side in shape], np.float32)}
    )
    path = folder / "m.onnx"
    onnx.save(proto([None] * answer.ndim), path)
    return path


def one(kind: str, *inputs: str, **attributes: Any) -> list[Any]:
    return [make(kind, ["x", *inputs], ["y"], **attributes)]


def then(*chain: tuple[str, list[str], dict[str, Any]], weights: int = 0) -> list[Any]:
    """Nodes in a row: the first input of each is the last output."""
    nodes, last = [], "x"
    for place, (kind, others, attributes) in enumerate(chain):
        output = "y" if place == len(chain) - 1 else f"v{place}"
        nodes.append(make(kind, [last, *others], [output], **attributes))
        last = output
    return nodes


ELEMENTWISE = (
    "Abs Ceil Celu Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log "
    "LogSoftmax Mish Neg Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax Softplus Softsign "
    "Sqrt Tanh"
)
PLAIN = (
    "GlobalAveragePool GlobalMaxPool Flatten Transpose ReduceMax ReduceMean ReduceMin ReduceSum "
    "ReduceL2 Dropout"
)
CASES: dict[str, tuple[list[Any], list[TensorProto]]] = {
    kind: (one(kind), []) for kind in f"{ELEMENTWISE} {PLAIN}".split()
}
CASES |= {
    kind: (one(kind, "w"), [weight("w", 6, 6, positive=True)])
    for kind in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum")
}
CASES |= {
    "Gelu tanh": (one("Gelu", approximate="tanh"), []),
    "Softmax over rows": (one("Softmax", axis=1), []),
    "Conv": (
        one("Conv", "w", "b", pads=[1, 1, 1, 1], strides=[2, 2]),
        [weight("w", 4, 2, 3, 3), weight("b", 4)],
    ),
    "Conv, uneven pads": (one("Conv", "w", pads=[0, 1, 2, 1]), [weight("w", 4, 2, 3, 3)]),
    "Conv, SAME_UPPER": (
        one("Conv", "w", auto_pad="SAME_UPPER", strides=[2, 2]),
        [weight("w", 4, 2, 3, 3)],
    ),
    "Conv, SAME_LOWER": (
        one("Conv", "w", auto_pad="SAME_LOWER", strides=[2, 2]),
        [weight("w", 4, 2, 3, 3)],
    ),
    "Conv, groups, dilated": (
        one("Conv", "w", group=2, dilations=[2, 2]),
        [weight("w", 4, 1, 2, 2)],
    ),
    "MaxPool": (one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1]), []),
    "MaxPool, ceil": (one("MaxPool", kernel_shape=[4, 4], strides=[3, 3], ceil_mode=1), []),
    "AveragePool": (one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), []),
    "AveragePool with pads": (
        one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        [],
    ),
    "BatchNormalization": (
        one("BatchNormalization", *"sbmv"),
        [weight("s", 2), weight("b", 2), weight("m", 2), weight("v", 2, positive=True)],
    ),
    "InstanceNormalization": (
        one("InstanceNormalization", "s", "b"),
        [weight("s", 2), weight("b", 2)],
    ),
    "LayerNormalization": (one("LayerNormalization", "s", "b"), [weight("s", 6), weight("b", 6)]),
    "LayerNormalization, two axes": (one("LayerNormalization", "s", axis=2), [weight("s", 6, 6)]),
    "MatMul": (one("MatMul", "w"), [weight("w", 6, 5)]),
    "Gemm": (
        then(("Flatten", [], {}), ("Gemm", ["w", "b"], {"transB": 1, "alpha": 0.5, "beta": 2.0})),
        [weight("w", 3, 72), weight("b", 3)],
    ),
    "Clip": (
        one("Clip", "l", "h"),
        [
            numpy_helper.from_array(np.float32(0.2), "l"),
            numpy_helper.from_array(np.float32(0.8), "h"),
        ],
    ),
    "PRelu": (
        then(("Sub", ["h"], {}), ("PRelu", ["w"], {})),
        [weight("w", 2, 1, 1), numpy_helper.from_array(np.float32(0.5), "h")],
    ),
    "Reshape": (one("Reshape", "s"), [ints("s", 0, -1, 4)]),
    "DepthToSpace": (
        then(("Concat", ["x"], {"axis": 1}), ("DepthToSpace", [], {"blocksize": 2})),
        [],
    ),
    "DepthToSpace, columns first": (
        then(("Concat", ["x"], {"axis": 1}), ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"})),
        [],
    ),
    "SpaceToDepth": (one("SpaceToDepth", blocksize=2), []),
    "Transpose by axes": (one("Transpose", perm=[0, 2, 3, 1]), []),
    "Squeeze, Unsqueeze": (
        then(("Unsqueeze", ["a"], {}), ("Squeeze", ["a"], {})),
        [ints("a", 1, 3)],
    ),
    "Concat": ([make("Concat", ["x", "x"], ["y"], axis=1)], []),
    "Slice": (
        one("Slice", "s", "e", "a", "t"),
        [ints("s", 1, 5), ints("e", 99, -99), ints("a", 2, -1), ints("t", 2, -1)],
    ),
    "Gather": (
        one("Gather", "i", axis=2),
        [numpy_helper.from_array(np.array([[0, -1], [2, 3]]), "i")],
    ),
    "Gather one": (one("Gather", "i", axis=1), [numpy_helper.from_array(np.int64(1), "i")]),
    "Split": (
        [make("Split", ["x", "s"], ["a", "b"], axis=2), make("Concat", ["b", "a"], ["y"], axis=2)],
        [ints("s", 2, 4)],
    ),
    "Split evenly": (
        [make("Split", ["x"], ["a", "b"], axis=3, num_outputs=2), make("Sub", ["a", "b"], ["y"])],
        [],
    ),
    "Pad": (
        one("Pad", "p", "v"),
        [ints("p", 0, 0, 1, 2, 0, 0, 0, 3), numpy_helper.from_array(np.float32(0.7), "v")],
    ),
    "Pad, reflect": (one("Pad", "p", mode="reflect"), [ints("p", 0, 0, 1, 2, 0, 0, 0, 3)]),
    "Pad, edge": (one("Pad", "p", mode="edge"), [ints("p", 0, 0, 1, 2, 0, 0, 0, 3)]),
    "Expand": (
        then(("ReduceMean", ["a"], {}), ("Expand", ["s"], {})),
        [ints("a", 2), ints("s", 1, 1, 3, 1)],
    ),
    "Tile": (one("Tile", "s"), [ints("s", 1, 2, 1, 1)]),
    "ReduceMean over axes": (one("ReduceMean", "a", keepdims=0), [ints("a", 2, -1)]),
    "Einsum": (one("Einsum", "w", equation="nchw,wk->nck"), [weight("w", 6, 3)]),
    "Cast": (then(("Cast", [], {"to": 11}), ("Cast", [], {"to": 1})), []),
    "Where": (
        [make("Greater", ["x", "h"], ["g"]), make("Where", ["g", "x", "h"], ["y"])],
        [numpy_helper.from_array(np.float32(0.5), "h")],
    ),
    "Equal, Not, And, Or": (
        [
            *(
                make(kind, ["x", "h"], [kind])
                for kind in ("Less", "LessOrEqual", "GreaterOrEqual", "Equal")
            ),
            make("Not", ["Less"], ["n"]),
            make("And", ["n", "LessOrEqual"], ["a"]),
            make("Or", ["a", "Equal"], ["o"]),
            make("Or", ["o", "GreaterOrEqual"], ["p"]),
            make("Where", ["p", "x", "h"], ["y"]),
        ],
        [numpy_helper.from_array(np.float32(0.5), "h")],
    ),
    "Shape, Constant, ConstantOfShape, Range": (
        [
            make("Shape", ["x"], ["s"]),
            make(
                "ConstantOfShape",
                ["s"],
                ["o"],
                value=numpy_helper.from_array(np.ones(1, np.float32)),
            ),
            make("Gather", ["s", "three"], ["w"]),
            make("Range", ["zero", "w", "one"], ["r"]),
            make("Cast", ["r"], ["f"], to=1),
            make("Mul", ["o", "f"], ["m"]),
            make("Constant", [], ["c"], value_float=2.0),
            make("Mul", ["m", "c"], ["d"]),
            make("Mul", ["d", "x"], ["y"]),
        ],
        [
            numpy_helper.from_array(np.int64(value), name)
            for name, value in (("zero", 0), ("one", 1), ("three", 3))
        ],
    ),
    "Mod": (one("Mod", "w", fmod=1), [weight("w", 6, 6, positive=True)]),
    "Resize": (
        one("Resize", "", "s", mode="linear"),
        [numpy_helper.from_array(np.array([1, 1, 2, 1.5], np.float32), "s")],
    ),
}
CASES |= {
    kind: (
        then(
            ("Reshape", ["s"], {}),
            ("Transpose", [], {"perm": [1, 0, 2]}),
            (kind, ["w", "r"], {"hidden_size": 3}),
        ),
        [ints("s", 0, 12, 6), weight("w", 1, 3 * gates, 6), weight("r", 1, 3 * gates, 3)],
    )
    for kind, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))
}
CASES |= {
    "ArgMax, ArgMin": (
        [
            make("ArgMax", ["x"], ["i"], axis=2),
            make("ArgMin", ["x"], ["j"], axis=2),
            make("Add", ["i", "j"], ["k"]),
            make("Cast", ["k"], ["f"], to=1),
            make("Mul", ["x", "f"], ["y"]),
        ],
        [],
    )
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", CASES)
def test_operator_is_what_the_reference_computes(name: str, tmp_path: Path) -> None:
    nodes, weights = CASES[name]
    path = saved(tmp_path, nodes, weights)
    model = load_model(str(path))
    x = torch.rand(3, 2, 6, 6, generator=torch.Generator().manual_seed(5))
    (expected,) = ReferenceEvaluator(str(path)).run(None, {"x": x.numpy()})
    # sums of at most 72 float32 products in another order: 72 · 2⁻²⁴ of terms up to 10
    torch.testing.assert_close(
        model(x).detach(), torch.tensor(np.array(expected)), rtol=1e-4, atol=5e-5
    )


@pytest.mark.law
def test_every_operator_of_the_table_is_tested() -> None:
    used = {node.op_type for nodes, _ in CASES.values() for node in nodes}
    assert set(table.OPERATORS) - used == set()


@pytest.mark.oracle
def test_old_softmax_of_two_axes_is_the_new_one(tmp_path: Path) -> None:
    x = torch.rand(2, 4)
    torch.testing.assert_close(
        load_model(str(saved(tmp_path, one("Softmax"), shape=["N", 4], opset=11)))(x), x.softmax(1)
    )


def exported(model: nn.Module, x: torch.Tensor, path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of torch, that there is a newer exporter, which needs a package more
        torch.onnx.export(
            model,
            (x,),
            str(path),
            dynamo=False,
            dynamic_axes={"x": {0: "N"}},
            input_names=["x"],
            opset_version=17,
        )
    return str(path)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["cnn", "resnet", "vit"])
def test_network_of_the_zoo_comes_back_with_its_gradients_and_its_story(
    name: str, tmp_path: Path, digits
) -> None:
    model = wl.zoo.load(name)
    loaded = load_model(exported(model, digits.x[:2], tmp_path / "m.onnx"))
    grads = []
    for it in (model, loaded):
        x = digits.x[:20].clone().requires_grad_()
        logits = it(x)
        grads.append(
            (logits, *torch.autograd.grad(nn.functional.cross_entropy(logits, digits.y[:20]), x))
        )
    torch.testing.assert_close(
        grads[0], grads[1], rtol=1e-3, atol=1e-5
    )  # float32, sums in another order, over some ten layers
    layers = find_layers(loaded, digits.x[:2])
    assert len(layers) >= 6
    assert [layer.kind for layer in layers if layer.default].count("ReLU") == 3 or name != "cnn"


@pytest.mark.message
def test_a_wrong_operator_is_refused_with_both_numbers(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(table.OPERATORS, "Exp", lambda at, x: torch.exp(x) + 0.01)
    with pytest.raises(
        ModelError, match=r"differ from those of ONNX' reference by 0.01 \(at most 0.0002"
    ):
        load_model(str(saved(tmp_path, one("Exp"))))


@pytest.mark.message
def test_a_wrong_gradient_is_refused_with_both_numbers(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(
        table.OPERATORS, "Exp", lambda at, x: torch.exp(x).detach() + 0.1 * (x - x.detach())
    )
    with pytest.raises(ModelError, match=r"by autograd; differences of ONNX' reference give"):
        load_model(str(saved(tmp_path, one("Exp"))))


@pytest.mark.message
def test_a_fixed_batch_that_the_graph_needs_is_told_with_the_line_that_frees_it(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    graph = one("ReduceSum", axes=[0], keepdims=0)  # samples are mixed
    model = load_model(str(saved(tmp_path, graph, shape=[1, 4], opset=11)))
    with pytest.raises(
        ShapeError,
        match=r"batches of exactly 1; 2 inputs came.*dynamic_shapes=\(\{0: torch.export.Dim",
    ):
        model(torch.ones(2, 4))
    with pytest.raises(
        ShapeError, match=r"shape \(1, 4\) that the graph of m.onnx was made for; got \(1, 5\)"
    ):
        model(torch.ones(1, 5))


@pytest.mark.law
def test_external_data_beside_the_model_are_read(tmp_path: Path) -> None:
    matrix = weight("w", 6, 5)
    proto = onnx.load(saved(tmp_path, one("MatMul", "w"), [matrix]))
    onnx.save_model(
        proto,
        tmp_path / "big.onnx",
        save_as_external_data=True,
        location="big.bin",
        size_threshold=0,
    )
    model = load_model(str(tmp_path / "big.onnx"))
    x = torch.rand(1, 2, 6, 6)
    torch.testing.assert_close(model(x).detach(), x @ torch.tensor(numpy_helper.to_array(matrix)))


@pytest.mark.law
def test_a_shared_weight_stays_shared(tmp_path: Path) -> None:
    model = load_model(
        str(
            saved(tmp_path, then(("MatMul", ["w"], {}), ("MatMul", ["w"], {})), [weight("w", 6, 6)])
        )
    )
    assert len(list(model.parameters())) == 1
    assert len(model.state_dict()) == 2
