"""``model.pt2``: an archive of torch.export, opened only after its check and a trial."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from worldline.errors import ModelError
from worldline.files import check_zip, reading, real_file, shorten, size_text
from worldline.loading.expressions import check_expression
from worldline.loading.sandbox import tried_in_child
from worldline.loading.shapes import ExpectedShape, shape_to_try

__all__ = ["clean_archive", "load_exported"]

JSON_LIMIT = 64 * 2**20  # bytes of an archive's graph: some 30,000 nodes
WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 12: 1, 13: 2}
"""Bytes of a number, by torch.export's number of its dtype."""
NAME = re.compile(r"[A-Za-z_]\w{0,500}", re.ASCII)
WORDS = re.compile(r"[\w.\-]{0,500}", re.ASCII)
TEXT = re.compile(r"[\w .,>\-]{0,200}", re.ASCII)  # modes of interpolation, einsum's equations
REFUSED = ("as_graph", "as_operator", "as_custom_obj", "custom_obj", "as_optional_tensors_custom")
SYMBOLIC = re.compile(
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|neg|eq|ne|le|ge|lt|gt|getitem|and_|or_)"
    r"|torch\.sym_(int|float|max|min|not|ite|sum)|math\.(ceil|floor|trunc)",
    re.ASCII,
)
ATEN = re.compile(r"torch\.ops\.aten\.([a-z_]\w{0,80})\.([A-Za-z_]\w{0,80})", re.ASCII)
BESIDE_CORE = (
    "silu mish hardswish hardsigmoid celu selu softplus glu threshold rsub stack unsafe_split "
    "lift_fresh_copy log_sigmoid_forward zeros ones eye zeros_like ones_like new_zeros new_ones "
    "new_full linspace native_batch_norm _assert_tensor_metadata _assert_scalar "
    "sym_constrain_range_for_size"
)
HARMLESS = frozenset(BESIDE_CORE.split())
NEVER = ("resize_", "resize", "set_", "from_file")
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu_": nn.ReLU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "mish": nn.Mish,
    "leaky_relu": nn.LeakyReLU,
}


def load_exported(path: Path, sample: tuple[int, ...] | None = None) -> nn.Module:
    """The model of a ``.pt2`` archive: a ``GraphModule`` with a submodule for each operation.

    Each is named after its node.

    ``torch.export.load`` runs code that an archive may hold in six places: pickled weights, pickled
    constants and custom objects, example inputs, symbolic sizes (evaluated by sympy), guards, and
    names (pasted into generated source). So the archive is not given to it. It is checked (see
    :func:`clean_archive`) and written anew in memory with nothing but tensors, sizes and names of
    operators; a child process with a limit on memory and time, and without the right to write,
    connect or start anything, opens that copy and runs it once; only then is it opened here.

    Args:
        path: what ``torch.export.save`` of torch ≥ 2.8 has written, of a model with one tensor in
            and one out, on the CPU. Give it a dynamic batch dimension,
            ``dynamic_shapes=({0: torch.export.Dim("batch")},)``; else it takes one batch size
            only, and says so.
        sample: shape of one sample of the data, on which sizes that are free are tried.

    Raises:
        ModelError: something that the check cannot rule out, a damaged archive, or a model that
            does not run in the child.

    Cost: two copies of the weights while it loads, and the start of a Python process.

    >>> import tempfile
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> batch = torch.export.Dim("batch", min=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     exported = torch.export.export(model, (torch.rand(2, 4),), dynamic_shapes=({0: batch},))
    ...     torch.export.save(exported, f"{folder}/m.pt2")
    ...     loaded = load_exported(Path(folder) / "m.pt2")
    >>> x = torch.rand(5, 4)
    >>> torch.equal(loaded(x), model(x)), hasattr(loaded, "linear"), hasattr(loaded, "relu")
    (True, True, True)
    """
    content, shape = clean_archive(path)
    tried_in_child(content, list(shape_to_try(shape, sample, 2)), shorten(path.name))
    try:
        program = torch.export.load(io.BytesIO(content))
        module = (
            program.module(check_guards=False)
            if "check_guards" in program.module.__code__.co_varnames
            else program.module()
        )
    except Exception as error:  # no attack, as the child opened the same bytes
        raise ModelError(
            f"{shorten(path.name)} cannot be opened by torch {torch.__version__}: "
            f"{shorten(str(error), 300)}. Export it again."
        ) from error
    assert isinstance(module, torch.fx.GraphModule)
    return _with_submodules(module, ExpectedShape(shape, "the exported program"))


def clean_archive(path: Path) -> tuple[bytes, tuple[int | None, ...]]:
    """A new archive of what was checked, and nothing else; and the shape of its input.

    The shape has None for a free size.

    Copied: weights and constants as bare bytes whose sizes, strides and offsets lie inside them;
    the graph, whose operators are ATen's core, views, or composed of them, whose names are names,
    and whose symbolic sizes are arithmetic.
    Left out: example inputs, guards, stack traces, extra files.

    Raises:
        ModelError: a pickle, compiled code, custom objects, subgraphs, or anything else that is not
            listed above.

    Cost: one copy of the archive in memory.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     program = torch.export.export(nn.Linear(4, 2), (torch.rand(3, 4),))
    ...     torch.export.save(program, f"{folder}/m.pt2")
    ...     clean_archive(Path(folder) / "m.pt2")[1]
    (3, 4)
    """
    real_file(path, "model file", ModelError)
    name = shorten(path.name)
    members = {
        member.filename: member
        for member in check_zip(path, "an archive of torch.export", ModelError, stored=True)
    }
    root = next(iter(members), "").split("/", 1)[0]
    kinds = {member: _kind(member.removeprefix(f"{root}/"), member, name) for member in members}
    if f"{root}/archive_format" not in members or f"{root}/models/model.json" not in members:
        raise ModelError(
            f"{name} is no archive of torch.export as torch ≥ 2.8 writes it. Export the model "
            "again, or give it as file.py:factory with safetensors."
        )
    try:
        with reading(path, "model file", ModelError) as file, zipfile.ZipFile(file) as archive:

            def document(place: str) -> dict[str, Any]:
                member = members.get(f"{root}/{place}")
                if member is None or member.file_size > JSON_LIMIT:
                    raise ModelError(
                        f"{place} in {name} is missing, or larger than {size_text(JSON_LIMIT)}. "
                        "Export the model again."
                    )
                content = json.loads(archive.read(member).decode("utf-8"))
                if not isinstance(content, dict):
                    raise ModelError(
                        f"{place} in {name} is not a JSON object. Export the model again."
                    )
                return content

            sizes = {
                member.removeprefix(f"{root}/"): info.file_size for member, info in members.items()
            }
            copied: dict[str, bytes] = {}
            for folder, prefix in (("weights", "weight_"), ("constants", "tensor_")):
                config = document(f"data/{folder}/model_{folder}_config.json")
                payloads = {
                    key: _payload(name, key, it, f"data/{folder}/", prefix, sizes)
                    for key, it in config["config"].items()
                }
                copied[f"data/{folder}/model_{folder}_config.json"] = json.dumps(
                    {"config": payloads}
                ).encode()
                for payload in payloads.values():
                    place = f"data/{folder}/{payload['path_name']}"
                    copied[place] = archive.read(f"{root}/{place}")
            program = document("models/model.json")
            shape = _check_program(name, program)
            copied["models/model.json"] = json.dumps(program).encode()
            copied["data/sample_inputs/model.pt"] = b""
            for member, kind in kinds.items():
                if kind == "version":
                    copied[member.removeprefix(f"{root}/")] = archive.read(member)[:100]
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{name} is not a whole archive of torch.export ({type(error).__name__}: "
            f"{shorten(str(error))}). Export the model again."
        ) from error
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as clean:
        for place, content in copied.items():
            clean.writestr(zipfile.ZipInfo(f"m/{place}"), content)
    return output.getvalue(), shape


def _kind(place: str, member: str, name: str) -> str:
    """What a member is for; refuses those that no plain export has."""
    if re.fullmatch(r"archive_format|archive_version|\.data/version|byteorder|version", place):
        return "version"
    if re.fullmatch(r"\.data/serialization_id|data/sample_inputs/model\.pt|extra/[\w./\-]*", place):
        return "left out"
    if re.fullmatch(
        r"models/model\.json|data/(weights|constants)/(model_\w+_config\.json|weight_\d+|tensor_\d+)",
        place,
    ):
        return "copied"
    pickled = "custom_obj" in place or "opaque" in place or place.endswith((".pkl", ".pt"))
    other = "compiled code" if "aotinductor" in place else "more than a plain exported program"
    what = "custom or pickled objects" if pickled else other
    hint = (
        " It looks like a TorchScript archive or a pickled module."
        if place.endswith("data.pkl") or place.startswith("code/")
        else ""
    )
    raise ModelError(
        f"{name} holds {shorten(member, 60)!r}: {what}, which cannot be shown to be harmless, so "
        f"it is not opened.{hint} Export a model of plain tensors (torch.export.save), or give it "
        "as file.py:factory with safetensors."
    )


def _payload(
    name: str, key: str, payload: dict[str, Any], folder: str, prefix: str, sizes: dict[str, int]
) -> dict[str, Any]:
    """The description of one weight, if its bytes are there and hold it."""
    if payload.get("use_pickle") is not False:
        raise ModelError(
            f"The weight {shorten(key, 60)!r} in {name} is marked use_pickle: opening it can run "
            "any code, so it is not opened. Export plain tensors."
        )
    file, meta = payload["path_name"], payload["tensor_meta"]
    if (
        not WORDS.fullmatch(key)
        or not re.fullmatch(rf"{prefix}\d{{1,9}}", file)
        or folder + file not in sizes
    ):
        raise ModelError(
            f"The weight {shorten(key, 60)!r} in {name} names the member "
            f"{shorten(str(file), 60)!r}, which is not there or not a weight. Export again."
        )
    shape, strides = ([_whole(it, name, key) for it in meta[part]] for part in ("sizes", "strides"))
    offset, width, there = (
        _whole(meta["storage_offset"], name, key),
        WIDTHS.get(meta["dtype"]),
        sizes[folder + file],
    )
    if (
        width is None
        or meta["device"]["type"] != "cpu"
        or meta["layout"] != 7
        or len(shape) != len(strides)
    ):
        raise ModelError(
            f"The weight {shorten(key, 60)!r} in {name} is not a plain CPU tensor. Export the "
            "model after model.cpu().float()."
        )
    count = math.prod(shape)
    reach = (
        offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True)) + 1
        if count
        else 0
    )
    if max(count, reach) * width > there:
        raise ModelError(
            f"The weight {shorten(key, 60)!r} in {name} is declared as {shorten(str(shape), 60)} "
            f"(to number {reach:,}); {there:,} bytes are there. Export again."
        )
    plain = {
        "dtype": meta["dtype"],
        "sizes": meta["sizes"],
        "strides": meta["strides"],
        "storage_offset": meta["storage_offset"],
    }
    meta = {
        **plain,
        "requires_grad": meta["requires_grad"] is True,
        "device": {"type": "cpu", "index": None},
        "layout": 7,
    }
    return {
        "path_name": file,
        "is_param": payload["is_param"] is True,
        "use_pickle": False,
        "tensor_meta": meta,
    }


def _whole(size: Mapping[str, object], name: str, key: str) -> int:
    value = size.get("as_int")
    if len(size) != 1 or type(value) is not int or not 0 <= value < 2**48:
        raise ModelError(
            f"The weight {shorten(key, 60)!r} in {name} has the size {shorten(str(size), 60)}; a "
            "whole number is expected. Export again."
        )
    return value


def _check_program(name: str, program: dict[str, Any]) -> tuple[int | None, ...]:
    """Check the graph in place and empty what is not needed; gives the shape of its one input."""
    module = program["graph_module"]
    program["guards_code"], program["torch_version"] = [], ""
    module["metadata"], module["treespec_namedtuple_fields"] = {}, {}
    module["module_call_graph"] = [
        entry for entry in module["module_call_graph"] if entry["fqn"] == ""
    ]
    for node in module["graph"]["nodes"]:
        node["metadata"] = {}
        _check_operator(name, node["target"])
    _check_values(name, program)
    inputs = [
        spec["user_input"]["arg"]
        for spec in module["signature"]["input_specs"]
        if "user_input" in spec
    ]
    outputs = [spec for spec in module["signature"]["output_specs"] if "user_output" in spec]
    if (
        len(inputs) != 1
        or "as_tensor" not in inputs[0]
        or len(outputs) != 1
        or len(module["signature"]["output_specs"]) != 1
    ):
        raise ModelError(
            f"{name} takes {len(inputs)} inputs and gives "
            f"{len(module['signature']['output_specs'])} outputs (changed buffers count); one "
            "tensor in and one of logits out are expected. Export model.eval(), wrapped in a "
            "module that takes and gives one tensor."
        )
    meta = module["graph"]["tensor_values"][inputs[0]["as_tensor"]["name"]]
    if meta["device"]["type"] != "cpu":
        raise ModelError(
            f"{name} was exported on {shorten(str(meta['device']['type']), 20)}. Export it after "
            "model.cpu()."
        )
    return tuple(
        _whole(side, name, "input") if "as_int" in side else None for side in meta["sizes"]
    )


def _check_operator(name: str, target: str) -> None:
    if type(target) is str and SYMBOLIC.fullmatch(target):
        return
    found = ATEN.fullmatch(target) if type(target) is str else None
    operator = getattr(getattr(torch.ops.aten, found[1], None), found[2], None) if found else None
    if found and isinstance(operator, torch._ops.OpOverload) and found[1] not in NEVER:
        plain = getattr(torch.ops.aten, found[1].rstrip("_"), None) or operator.overloadpacket
        if found[1] in HARMLESS or any(
            _core(getattr(it, form))
            for it in (operator.overloadpacket, plain)
            for form in it.overloads()
        ):
            return
    raise ModelError(
        f"{name} uses the operator {shorten(str(target), 80)!r}, which is not among ATen's core "
        "operators or composed of them, so it cannot be shown to be harmless. Export a model of "
        "plain torch.nn layers, or give it as file.py:factory with safetensors."
    )


def _core(operator: Any) -> bool:
    """Whether an overload is in ATen's core, composed of others, or a view of its input."""
    composed = torch._C._dispatch_has_kernel_for_dispatch_key(
        operator.name(), "CompositeImplicitAutograd"
    )
    views = any(
        it.alias_info is not None and not it.alias_info.is_write for it in operator._schema.returns
    )
    return torch.Tag.core in operator.tags or composed or views


def _check_values(name: str, value: Any, key: str = "") -> None:
    """Every key and string of a graph: a name, a number, plain words, or arithmetic."""
    if isinstance(value, dict):
        for inner, content in value.items():
            if inner in REFUSED:
                raise ModelError(
                    f"{name} holds {inner}, a part with code of its own, which cannot be shown to "
                    "be harmless. Export a model without control flow."
                )
            if not WORDS.fullmatch(inner):
                raise ModelError(
                    f"{name} uses {shorten(inner, 60)!r} as a name. Export the model again."
                )
            _check_values(name, content, inner)
    elif isinstance(value, list):
        for content in value:
            _check_values(name, content, key)
    elif isinstance(value, str):
        if key == "expr_str":
            check_expression(value, name)
        elif key in ("in_spec", "out_spec"):
            _check_tree(name, json.loads(value))
        elif not _pattern(key).fullmatch(value):
            raise ModelError(
                f"{name} uses {shorten(value, 60)!r} as {shorten(key, 30)}, which is no plain "
                "name; torch would paste it into source code. Export again."
            )
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ModelError(
            f"{name} holds a number of {value.bit_length()} bits. Export the model again."
        )


def _pattern(key: str) -> re.Pattern[str]:
    if key == "as_string":
        return TEXT
    return NAME if key in ("name", "forward_arg_names") else WORDS


def _check_tree(name: str, tree: Any) -> None:
    """How inputs and outputs are nested: tuples, lists and dicts with plain keys."""
    if isinstance(tree, list):
        _check_tree(name, tree[1])
        return
    context = tree["context"]
    if tree["type"] not in (
        None,
        "builtins.tuple",
        "builtins.list",
        "builtins.dict",
    ) or context not in (None, "null", "[]"):
        raise ModelError(
            f"{name} nests its inputs or outputs in {shorten(str(tree['type']), 60)!r}; tensors in "
            "tuples are expected. Export a wrapped model."
        )
    for child in tree["children_spec"]:
        _check_tree(name, child)


class Operation(nn.Module):
    """One operator of an exported graph as a module, so that its output can be seen by hooks."""

    def __init__(self, operator: Callable[..., Any]) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, *values: Any, **named: Any) -> Any:
        """Apply the operator."""
        return self.operator(*values, **named)

    def extra_repr(self) -> str:
        """Its name."""
        return str(self.operator)


def _with_submodules(module: torch.fx.GraphModule, check: nn.Module) -> torch.fx.GraphModule:
    """Calls of operators become calls of submodules, named as the nodes, after a check of shape."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            name = node.name if not hasattr(module, node.name) else f"{node.name}_operation"
            module.add_submodule(name, _as_module(node))
            node.op, node.target = "call_module", name
    entry = next(node for node in graph.nodes if node.op == "placeholder")
    module.add_submodule("expected_shape", check)
    with graph.inserting_after(entry):
        checked = graph.call_module("expected_shape", (entry,))
    entry.replace_all_uses_with(checked, delete_user_cb=lambda user: user is not checked)
    last = next(node for node in reversed(graph.nodes) if node.op == "output")
    graph.output(_tensors(torch.utils._pytree.tree_leaves(last.args))[0])
    graph.erase_node(last)
    graph.set_codegen(torch.fx.graph.CodeGen())  # one tensor in, one out
    # a new module: the exported one cannot be set to eval, and checks shapes in its own words
    return torch.fx.GraphModule(module, graph)


def _as_module(node: torch.fx.Node) -> nn.Module:
    assert isinstance(node.target, torch._ops.OpOverload)
    name = node.target._schema.name.removeprefix("aten::")
    plain = len(_tensors(node.args)) == len(node.args) == 1 and not node.kwargs
    return ACTIVATIONS[name]() if plain and name in ACTIVATIONS else Operation(node.target)


def _tensors(values: Iterable[Any]) -> list[torch.fx.Node]:
    return [value for value in values if isinstance(value, torch.fx.Node)]
