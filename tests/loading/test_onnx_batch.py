"""ONNX graphs whose file fixes the batch size take any number of samples, or stay as they are."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from worldline.loading import load_model
from worldline.loading.black_box import BlackBox
from worldline.loading.onnx_model import OnnxGraph

from .onnx_exports import SERIES, LastStep

onnxruntime = pytest.importorskip("onnxruntime")


class Attending(nn.Module):
    """Attention written out, with a class token, as vision transformers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.widen = nn.Parameter(torch.randn(1, 1, 5)), nn.Linear(5, 8)
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(torch.cat([self.token.expand(len(x), -1, -1), x], 1))
        n, t, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, 2, 4).permute(2, 0, 3, 1, 4)
        x = x + ((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).reshape(n, t, 8)
        return self.head(x[:, 0])


class TokensFirst(nn.Module):
    """torch's own attention, whose samples are the second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.widen, self.head = nn.Linear(5, 8), nn.Linear(8, 4)
        self.attention = nn.MultiheadAttention(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(x.transpose(0, 1))
        return self.head(self.attention(x, x, x)[0].mean(0))


NETWORKS = {"class token": Attending, "tokens first": TokensFirst, "gru": lambda: LastStep(nn.GRU)}


def fixed_export(model: nn.Module, batch: int, path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.rand(batch, *SERIES),), str(path), dynamo=False, input_names=["x"]
        )
    return str(path)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("kind", "batch"), [("class token", 1), ("class token", 3), ("tokens first", 1), ("gru", 2)]
)
def test_a_fixed_batch_is_freed_with_gradients(kind: str, batch: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = NETWORKS[kind]().eval()
    loaded = load_model(fixed_export(model, batch, tmp_path / "m.onnx"), sample=SERIES)
    assert isinstance(loaded, OnnxGraph)
    assert f"fixes batches of {batch}" in loaded.note
    for samples in (1, 2, 7):
        x = torch.rand(samples, *SERIES, requires_grad=True)
        found = [(it(x), *torch.autograd.grad(it(x)[:, 1].sum(), x)) for it in (loaded, model)]
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def saved(path: Path, shape: list[int], nodes: list[object], *weights: object) -> str:
    x, y = (helper.make_tensor_value_info(name, 1, shape) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return str(path)


@pytest.mark.oracle
def test_a_graph_that_mixes_its_samples_stays_with_its_batches(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=0)]
    path = saved(tmp_path / "m.onnx", [2, 3], nodes)
    model, x = load_model(path), torch.rand(4, 3)
    assert isinstance(model, BlackBox)
    assert "differ" in model.note
    torch.testing.assert_close(model(x), torch.cat([x[:2].softmax(0), x[2:].softmax(0)]))


@pytest.mark.law
def test_constants_that_differ_by_sample_are_not_repeated(tmp_path: Path) -> None:
    rows = numpy_helper.from_array(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), "w")
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    model = load_model(saved(tmp_path / "m.onnx", [2, 2], nodes, rows))
    assert isinstance(model, BlackBox)
    assert "failed on inputs" in model.note
    assert model(torch.zeros(4, 2))[:, 0].tolist() == [1, 3, 1, 3]


@pytest.mark.law
def test_constants_that_are_one_for_all_samples_follow_them(tmp_path: Path) -> None:
    rows = numpy_helper.from_array(np.array([[1.0, 2.0]] * 2, np.float32), "w")
    nodes = [helper.make_node("Concat", ["x", "w"], ["y"], axis=1)]
    model = load_model(saved(tmp_path / "m.onnx", [2, 2], nodes, rows))
    assert isinstance(model, OnnxGraph)
    assert model(torch.zeros(5, 2)).shape == (5, 4)
