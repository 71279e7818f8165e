"""``model.onnx`` as an ``nn.Module``, a submodule for each node; needs the extra ``[onnx]``."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldline.errors import InputError, ModelError
from worldline.files import available_memory, reading, shorten, size_text
from worldline.loading.black_box import Attributes, UnsupportedError, black_box
from worldline.loading.onnx_batch import Repeated, Sized, free_batch
from worldline.loading.onnx_operators import ACTIVATIONS, OPERATORS, output_size
from worldline.loading.shapes import ExpectedShape

__all__ = ["OnnxGraph", "load_onnx"]

WIDTHS = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Bytes of a number, by ONNX' number of its dtype."""
TYPED = {
    1: "float_data",
    7: "int64_data",
    11: "double_data",
    12: "uint64_data",
    13: "uint64_data",
}  # the others stand in int32_data
INPUTS = {1: torch.float32, 11: torch.float64}
LARGEST = 2**27  # numbers in one value, for each sample of a batch
LARGEST_MADE = 2**24  # where they are made from a few: ranges, constants, repeats
MAKING = ("Range", "ConstantOfShape", "Expand", "Tile")
MOST_SIDES = 32  # of a tensor
AGAIN = "Export the model again."


def load_onnx(path: Path, sample: tuple[int, ...] | None = None) -> nn.Module:
    """The graph as a module with gradients, checked against ONNX' own evaluator on load.

    Nothing in an ONNX file is executed: it is a list of operators. Sizes of tensors are compared
    with the bytes that are there before anything is made; external data must lie in the file's
    own folder; ``onnx.checker`` looks at the rest. Then logits and gradients are compared with
    onnxruntime or ``onnx.reference`` (:func:`worldline.loading.onnx_check.check_graph`). A graph
    that torch cannot do, or does otherwise, becomes a
    :class:`worldline.loading.black_box.BlackBox`, where onnxruntime is installed.

    Args:
        path: an ``.onnx`` with one float32 or float64 input, its batch first, and one
            output.
        sample: shape of one sample of the data, on which sizes that the file leaves free are tried.

    Raises:
        ModelError: the extra is missing, a damaged or deceiving file, an operator that is not
            supported and onnxruntime is not there either, or a disagreement, with both numbers.

    Cost: two copies of the weights while it loads, and some evaluations by the reference, which is
    slow: a second for a ResNet-18 at 64×64, five at 224×224.

    >>> import tempfile
    >>> from onnx import TensorProto, helper, numpy_helper, save
    >>> x, logits = (
    ...     helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", side])
    ...     for name, side in (("x", 4), ("logits", 3))
    ... )
    >>> weight = numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "weight")
    >>> product = helper.make_node("MatMul", ["x", "weight"], ["h"])
    >>> nodes = [product, helper.make_node("Relu", ["h"], ["logits"])]
    >>> graph = helper.make_graph(nodes, "tiny", [x], [logits], [weight])
    >>> opset = [helper.make_opsetid("", 17)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(helper.make_model(graph, opset_imports=opset, ir_version=8), f"{folder}/m.onnx")
    ...     model = load_onnx(Path(folder) / "m.onnx")
    >>> [name for name, _ in model.named_children()], model(torch.ones(2, 4)).tolist()
    (['expected_shape', 'h', 'logits'], [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    """
    try:
        import onnx  # noqa: PLC0415
        from onnx.inliner import inline_local_functions  # noqa: PLC0415

        from worldline.loading.onnx_check import check_graph  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(
            "Reading .onnx needs the package onnx: pip install 'worldline[onnx]'."
        ) from error
    name = shorten(path.name)
    with reading(path, "model file", ModelError) as file:
        size = file.seek(0, os.SEEK_END)
    if size > (limit := available_memory() // 4):
        raise ModelError(
            f"{name} has {size_text(size)}; {size_text(limit)} may be used, a quarter of the "
            "memory that is available."
        )
    try:
        proto = onnx.load(path, load_external_data=False)
        if not proto.graph.node:
            raise ModelError(
                f"{name} holds no graph of operators: it is not an ONNX model, or is damaged. "
                f"{AGAIN}"
            )
        for tensor in _tensors(proto.graph):
            _check_tensor(tensor, path)
        onnx.checker.check_model(proto)
        if proto.functions:
            proto = inline_local_functions(proto)
        undone: UnsupportedError | None = None
        try:
            graph = OnnxGraph(proto, name)
        except UnsupportedError as error:
            undone = error
    except InputError:
        raise
    except Exception as error:  # protobuf's, the checker's, numpy's: the user is told the same
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"{name} cannot be read as an ONNX model: {shorten(reason[0], 300)}. {AGAIN}"
        ) from error
    if undone is None:
        try:
            if graph.shape and graph.shape[0] is not None:
                return _for_any_batch(proto, graph, name, sample)
            check_graph(proto, graph, name, sample)
            return graph
        except UnsupportedError as error:
            undone = error
    return black_box(proto, name, undone, sample)


def _for_any_batch(
    proto: Any, graph: OnnxGraph, name: str, sample: tuple[int, ...] | None
) -> nn.Module:
    """Of a fixed batch size: freed; else a black box, which fills up; else as it is."""
    from worldline.loading.onnx_check import check_graph, counted  # noqa: PLC0415  # wants onnx

    free = OnnxGraph(proto, name)
    try:
        with counted(free, name):
            free_batch(free, name, sample)
        check_graph(proto, free, name, sample)
        return free
    except ModelError as error:
        check_graph(proto, graph, name, sample)
        try:
            return black_box(proto, name, error, sample)
        except ModelError:
            return graph


def _tensors(graph: Any) -> list[Any]:
    if graph.sparse_initializer:
        raise ModelError(
            f"The ONNX graph {shorten(graph.name, 60)!r} has sparse weights, which are not "
            "supported. Export dense ones."
        )
    return [
        *graph.initializer,
        *(
            attribute.t
            for node in graph.node
            for attribute in node.attribute
            if attribute.HasField("t")
        ),
        *(
            tensor
            for node in graph.node
            for attribute in node.attribute
            for inner in (attribute.g, *attribute.graphs)
            if inner.node or inner.initializer
            for tensor in _tensors(inner)
        ),
    ]


def _check_tensor(tensor: Any, path: Path) -> None:
    """Refuse a tensor whose declared size is not there; external data may lie beside the file."""
    name, what = shorten(path.name), f"The tensor {shorten(tensor.name, 60)!r}"
    width, shape = WIDTHS.get(tensor.data_type), list(tensor.dims)
    if width is None:
        raise ModelError(
            f"{what} in {name} has the ONNX type {tensor.data_type}, which is not supported. "
            "Export it in float32."
        )
    if len(shape) > MOST_SIDES or any(side < 0 for side in shape):
        raise ModelError(
            f"{what} in {name} declares the impossible shape {shorten(str(shape), 60)}. {AGAIN}"
        )
    needed = math.prod(shape) * width
    if tensor.data_location == 1:
        tensor.raw_data = _external(tensor, path, needed, f"{what} in {name}")
        tensor.data_location = 0
        del tensor.external_data[:]
    there = len(tensor.raw_data)
    if not there:
        there = len(getattr(tensor, TYPED.get(tensor.data_type, "int32_data"))) * width
    if there != needed:
        raise ModelError(
            f"{what} in {name} declares shape {shorten(str(shape), 60)}, "
            f"{shorten(f'{needed:,}', 40)} bytes; {there:,} are there. {AGAIN}"
        )


def _external(tensor: Any, path: Path, needed: int, what: str) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    place = entries.get("location", "")
    if (
        not place
        or place.startswith(("/", "\\"))
        or ".." in place.replace("\\", "/").split("/")
        or ":" in place
    ):
        raise ModelError(
            f"{what} is said to lie in {shorten(place, 60)!r}, outside the model's folder, which "
            "is not opened. Keep it beside the model."
        )
    start, size = (
        int(entries.get(key, default))
        for key, default in (("offset", "0"), ("length", str(needed)))
    )
    where, kind = path.parent / place, "file of external data"
    with reading(where, kind, ModelError, inside=path.parent) as file:
        there = file.seek(0, os.SEEK_END)
        if 0 <= start <= there - size and size == needed:
            file.seek(start)
            return file.read(size)
    raise ModelError(
        f"{what} needs {shorten(f'{needed:,}', 40)} bytes at {start:,} of "
        f"{shorten(place, 60)!r}, which has {there:,}. {AGAIN}"
    )


class OnnxNode(nn.Module):
    """One node: an operator with its attributes and weights, called with what is computed."""

    def __init__(
        self,
        operator: str,
        attributes: Attributes,
        slots: Sequence[Tensor | str | None],
        label: str,
    ) -> None:
        super().__init__()
        self.operator, self.attributes, self.label = operator, attributes, label
        self.weights: list[str | None] = []
        for place, slot in enumerate(slots):
            if isinstance(slot, nn.Parameter):
                self.register_parameter(f"weight{place}", slot)
            elif isinstance(slot, Tensor):
                self.register_buffer(f"weight{place}", slot)
            self.weights.append(f"weight{place}" if isinstance(slot, Tensor) else None)
        self.present = [slot is not None for slot in slots]
        self.batch = [1]  # the graph's, which writes how many samples pass
        self.freed: Sized | Repeated | None = None  # from a batch size that the file fixes

    def slots(self, values: Sequence[Tensor]) -> list[Tensor | None]:
        """All inputs in their order, of what is computed and its own weights."""
        rest = iter(values)
        return [
            getattr(self, own) if own else next(rest) if there else None
            for own, there in zip(self.weights, self.present, strict=True)
        ]

    def forward(self, *values: Tensor) -> Any:
        """Apply the operator; a failure names the node."""
        inputs, samples = self.slots(values), self.batch[0]
        try:
            if self.freed is not None:
                inputs = self.freed(inputs, samples)
            size = output_size(self.operator, self.attributes, inputs)
            making = self.operator in MAKING or not values
            if size > (limit := (LARGEST_MADE if making else LARGEST) * samples):
                raise ModelError(
                    f"{self.label} would make {size:,} numbers for {samples} samples; {limit:,} "
                    "are allowed."
                )
            return OPERATORS[self.operator](self.attributes, *inputs)
        except Exception as error:
            if isinstance(error, InputError):
                raise
            shapes = ", ".join("–" if it is None else str(tuple(it.shape)) for it in inputs)
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UnsupportedError(
                f"{self.label} failed on inputs of shape {shapes}: {shorten(reason, 200)}"
            ) from error

    def extra_repr(self) -> str:
        """Operator and attributes."""
        return f"{self.operator}, {self.attributes}"


class OnnxGraph(nn.Module):
    """An ONNX graph; its submodules are its nodes, named after them, in the order they run.

    Args:
        proto: the checked model.
        name: the file, for messages.
    """

    def __init__(self, proto: Any, name: str = "the ONNX model") -> None:
        super().__init__()
        graph = proto.graph
        opset = next((it.version for it in proto.opset_import if it.domain in ("", "ai.onnx")), 0)
        missing = sorted({_foreign(node) for node in graph.node} - {""})
        if missing:
            raise UnsupportedError(
                f"{name} uses {shorten(', '.join(missing), 300)}, not done here in torch."
            )
        weights = {it.name: _as_tensor(it) for it in graph.initializer}
        inputs = [it for it in graph.input if it.name not in weights]
        if (
            len(inputs) != 1
            or len(graph.output) != 1
            or inputs[0].type.tensor_type.elem_type not in INPUTS
        ):
            raise UnsupportedError(
                f"{name} takes {', '.join(shorten(it.name, 40) for it in inputs) or 'nothing'} and "
                f"gives {', '.join(shorten(it.name, 40) for it in graph.output)}; one floating "
                "tensor in and one of logits out are expected. Export a module that takes and "
                "gives one tensor."
            )
        self.dtype = INPUTS[inputs[0].type.tensor_type.elem_type]
        self.input, self.output = inputs[0].name, graph.output[0].name
        sides = inputs[0].type.tensor_type.shape.dim
        self.shape = tuple(
            side.dim_value if side.HasField("dim_value") and side.dim_value > 0 else None
            for side in sides
        )
        self.expected_shape = ExpectedShape(self.shape, f"the graph of {name}")
        self.steps: list[tuple[str, list[str], list[str], list[str]]] = []
        self.batch = [1]
        self.made_for: int | None = None  # the batch size that the file fixed, before it was freed
        self.note = ""
        for node in graph.node:
            if node.op_type == "Constant":
                weights[node.output[0]] = _constant(node)
            else:
                self._add(node, weights, opset, name)
        self._free_early()

    def _add(self, node: Any, weights: dict[str, Tensor], opset: int, name: str) -> None:
        label = (
            f"The node {shorten(node.name or node.output[0], 60)!r} ({shorten(node.op_type, 40)}) "
            f"of {name}"
        )
        attributes = {it.name: _attribute(it) for it in node.attribute} | {
            "opset": opset,
            "outputs": len(node.output),
        }
        slots = [weights.get(it, it) if it else None for it in node.input]
        if node.op_type == "BatchNormalization":  # statistics are no parameters
            slots[3:] = [it.detach() if isinstance(it, Tensor) else it for it in slots[3:]]
        values = [it for it in slots if isinstance(it, str)]
        single = node.op_type in ACTIVATIONS and len(slots) == len(values) == 1
        module = (
            ACTIVATIONS[node.op_type](attributes)
            if single
            else OnnxNode(node.op_type, attributes, slots, label)
        )
        own = (
            re.sub(r"\W+", "_", node.name or node.output[0], flags=re.ASCII).strip("_")[:80]
            or node.op_type
        )
        while hasattr(self, own):
            own += "_"
        if isinstance(module, OnnxNode):
            module.batch = self.batch
        self.add_module(own, module)
        self.steps.append((own, values, list(node.output), []))

    def _free_early(self) -> None:
        last = {
            value: place for place, (_, values, _, _) in enumerate(self.steps) for value in values
        }
        for value, place in last.items():
            if value != self.output:
                self.steps[place][3].append(value)

    def forward(self, x: Tensor) -> Tensor:
        """Run the nodes in order; a value is let go after its last use."""
        self.batch[0] = max(len(x), 1) if x.ndim else 1
        held: dict[str, Tensor] = {self.input: self.expected_shape(x)}
        for name, values, outputs, done in self.steps:
            result = getattr(self, name)(*(held[value] for value in values))
            held.update(
                zip(outputs, result if isinstance(result, tuple) else (result,), strict=False)
            )
            for value in done:
                held.pop(value, None)
        return held[self.output]


def _foreign(node: Any) -> str:
    """The operator of a node, if it is not done here."""
    if node.domain not in ("", "ai.onnx"):
        return f"{node.domain}.{node.op_type}"
    return "" if node.op_type in OPERATORS or node.op_type == "Constant" else str(node.op_type)


def _as_tensor(tensor: Any) -> Tensor:
    from onnx import numpy_helper  # noqa: PLC0415

    if tensor.data_type == 16:
        return nn.Parameter(
            torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32)).bfloat16()
        )
    value = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
    return nn.Parameter(value) if value.is_floating_point() and value.ndim else value


def _constant(node: Any) -> Tensor:
    for it in node.attribute:
        if it.name == "value":
            return _as_tensor(it.t)
        if it.name in ("value_float", "value_floats"):
            return torch.tensor(
                it.f if it.name == "value_float" else list(it.floats), dtype=torch.float32
            )
        if it.name in ("value_int", "value_ints"):
            return torch.tensor(
                it.i if it.name == "value_int" else list(it.ints), dtype=torch.int64
            )
    raise UnsupportedError(
        f"The constant {shorten(node.output[0], 60)!r} of the ONNX graph is a text or sparse, "
        "which is not supported."
    )


def _attribute(attribute: Any) -> Any:
    from onnx import helper  # noqa: PLC0415

    value = helper.get_attribute_value(attribute)
    if attribute.type == 4:
        return _as_tensor(value).detach()
    return (
        value.decode("utf-8", "replace")
        if isinstance(value, bytes)
        else list(value)
        if attribute.type in (6, 7)
        else value
    )
