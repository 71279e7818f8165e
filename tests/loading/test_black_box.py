"""ONNX graphs that torch cannot do: run by onnxruntime, or refused in words that say how."""

from __future__ import annotations

import copy
import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from onnx import helper, save
from torch import nn

import worldline as wl
from worldline.cli import commands
from worldline.errors import ModelError, ShapeError
from worldline.loading import load_model
from worldline.loading.black_box import BlackBox
from worldline.runs.keys import content_key

from .onnx_exports import PICTURE, Branching, exported, picture_network, quantised

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger().setLevel(logging.ERROR)  # onnxruntime's quantisation recommends


def without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


def quantised_network(folder: Path, kind: str = "qdq", *, batch: int | None = None) -> str:
    free, samples = ((0,), 2) if batch is None else ((), batch)
    path = folder / "net.onnx"
    exported(picture_network(), PICTURE, path, free=free, samples=samples)
    return quantised(str(path), kind, samples)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["qdq", "dynamic", "branching"])
def test_answers_are_those_of_onnxruntime(kind: str, tmp_path: Path) -> None:
    path = (
        exported(Branching(), PICTURE, tmp_path / "branching.onnx")
        if kind == "branching"
        else quantised_network(tmp_path, kind)
    )
    model = load_model(path, sample=PICTURE)
    assert isinstance(model, BlackBox)
    x = torch.rand(5, *PICTURE)
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": x.numpy()})
    assert torch.equal(model(x), torch.from_numpy(expected))


@pytest.mark.oracle
@pytest.mark.parametrize("samples", [1, 2, 3, 7])
def test_a_fixed_batch_is_filled_up(samples: int, tmp_path: Path) -> None:
    path = quantised_network(tmp_path, batch=3)
    model, x = load_model(path), torch.rand(samples, *PICTURE)
    session = onnxruntime.InferenceSession(path)
    rows = [session.run(None, {"x": it.expand(3, -1, -1, -1).numpy()})[0][0] for it in x]
    torch.testing.assert_close(model(x), torch.tensor(np.stack(rows)))
    with pytest.raises(ShapeError, match=r"must have the shape \(any, 3, 12, 12\).*got \(2, 3\)"):
        model(torch.rand(2, 3))


@pytest.mark.law
def test_a_graph_that_hides_its_batch_of_one_passes_sample_by_sample(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, 1, ["N", 3]) for name in "xy")
    shape = helper.make_tensor("s", 7, [2], [1, 3])
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"])]
    nodes.append(helper.make_node("ReverseSequence", ["r", "n"], ["y"], batch_axis=0, time_axis=1))
    weights = [shape, helper.make_tensor("n", 7, [1], [3])]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    rows = torch.rand(4, 3)
    assert torch.equal(load_model(str(tmp_path / "m.onnx"))(rows), rows.flip(1))


@pytest.mark.law
def test_it_is_known_by_its_content_and_copied_by_itself(tmp_path: Path) -> None:
    qdq, dynamic = (
        load_model(quantised_network(tmp_path / kind, kind))
        for kind in ("qdq", "dynamic")
        if (tmp_path / kind).mkdir() is None
    )
    assert content_key(qdq) != content_key(dynamic)
    assert copy.deepcopy(qdq) is qdq
    assert len(qdq.state_dict()["content"]) == 32


@pytest.mark.message
def test_its_gradient_problem_names_the_reason_and_square(tmp_path: Path) -> None:
    model = load_model(quantised_network(tmp_path))
    x, y = torch.rand(3, *PICTURE), torch.zeros(3, dtype=torch.int64)
    assert wl.attacks.gradient_problem(model, x, y) == (
        "onnxruntime runs it as a black box (net-qdq.onnx uses DequantizeLinear, QuantizeLinear, "
        "not done here in torch)"
    )
    wl.attacks.Square(epsilon=0.1, queries=5)(model, x, y)


@pytest.mark.message
def test_without_onnxruntime_the_refusal_names_what_is_missing_alone(
    tmp_path: Path, monkeypatch
) -> None:
    path = quantised_network(tmp_path)
    without_onnxruntime(monkeypatch)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert str(caught.value) == (
        "net-qdq.onnx uses DequantizeLinear, QuantizeLinear, not done here in torch. "
        "pip install 'worldline[onnxruntime]' to run it as a black box, without gradients and "
        "inner layers."
    )


@pytest.mark.message
def test_what_onnxruntime_cannot_run_either_is_told_with_both_reasons(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, 1, ["N", 3]) for name in "xy")
    node = helper.make_node("Magic", ["x"], ["y"], domain="com.example")
    graph = helper.make_graph([node], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(
        ModelError,
        match=r"uses com.example.Magic, not done here.*As a black box it fails, too: .*Magic",
    ):
        load_model(str(tmp_path / "m.onnx"))


@pytest.fixture
def pictures(tmp_path: Path) -> str:
    rows = np.random.default_rng(0)
    x = rows.random((40, *PICTURE), dtype=np.float32)
    np.savez(tmp_path / "pictures.npz", x=x, y=np.arange(40) % 4)
    return str(tmp_path / "pictures.npz")


def explored(path: str, data: str, *options: str) -> tuple[int, str]:
    arguments = ["explore", path, "--data", data, "--samples", "12", *options]
    done = CliRunner().invoke(commands, [*arguments, "--out", str(Path(data).parent / "run")])
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.end_to_end
def test_explore_refuses_pgd_and_tells_of_the_black_box_with_square(
    tmp_path: Path, pictures: str
) -> None:
    path = quantised_network(tmp_path)
    code, said = explored(path, pictures)
    assert code != 0
    assert "net-qdq.onnx: onnxruntime runs it as a black box" in said
    assert "Use Square (--attack square)" in said
    code, said = explored(path, pictures, "--attack", "square")
    assert code == 0, said
    note = "The model is run by onnxruntime on the CPU, as a black box without gradients and inner"
    assert f"Note: {note}" in said
    record = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert any(it.startswith(note) for it in record["notes"])


@pytest.mark.end_to_end
@pytest.mark.parametrize("squeezed", [False, True])
def test_one_logit_is_a_model_of_two_classes(squeezed: bool, tmp_path: Path, pictures: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 1))
    if squeezed:
        model.append(nn.Flatten(0))
    path = exported(model, PICTURE, tmp_path / "one.onnx")
    x = np.load(pictures)["x"]
    np.savez(pictures, x=x, y=np.arange(40) % 2)
    code, said = explored(path, pictures, "--steps", "2")
    assert code == 0, said
