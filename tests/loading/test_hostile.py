"""Files made to harm: none runs or eats anything, and each gets a sentence that names it."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file
from torch import nn

from worldline.errors import InputError, ModelError
from worldline.loading import load_data, load_model, load_picture
from worldline.loading.exported import clean_archive
from worldline.loading.sandbox import tried_in_child

SPARE = 768 * 2**20
"""Bytes that a hostile file may take beyond what the process has: what it declares is 1 GB or more
in every case.
"""


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def canary(folder: Path) -> Path:
    return folder / "canary"


def net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A harmless archive of torch.export, to be spoilt."""
    path = tmp_path_factory.mktemp("exported") / "good.pt2"
    batch = torch.export.Dim("batch", min=1)
    torch.export.save(
        torch.export.export(net(), (torch.rand(2, 4),), dynamic_shapes=({0: batch},)), path
    )
    return path


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """What a file may take is limited by the system: whoever unpacks a bomb gets a MemoryError."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + SPARE, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refused(kind: str, path: str, folder: Path) -> str:
    """Load it as that kind; give the sentence, after looking for the canary."""
    (folder / "nets.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Linear(2, 2)\n"
    )
    ways = {
        "data": load_data,
        "model": load_model,
        "weights": partial(load_model, f"{folder}/nets.py:build"),
    }
    with pytest.raises(InputError) as caught:
        ways[kind](path)
    assert not canary(folder).exists(), "something was executed"
    return str(caught.value)


# ---- arrays


def npy(shape: str, *, descr: str = "<f8", content: bytes = b"\0" * 64) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def npz_with(x: bytes, *, packed: bool = False) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        way = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        with zipfile.ZipFile(folder / "bad.npz", "w", way) as archive:
            archive.writestr("x.npy", x)
            archive.writestr("y.npy", npy("(1,)", descr="<i8", content=b"\0" * 8))
        return str(folder / "bad.npz")

    return make


def npz_pickled(folder: Path) -> str:
    np.savez(folder / "bad.npz", x=np.array([Bomb(canary(folder))], dtype=object), y=np.array([0]))
    return str(folder / "bad.npz")


@cache
def bomb() -> bytes:
    """One gigabyte of zeros in a megabyte."""
    head, buffer = npy("(125000000,)", content=b""), io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w") as member:
            member.write(head)
            for _ in range(100):
                member.write(b"\0" * 10**7)
        archive.writestr("y.npy", npy("(1,)", descr="<i8", content=b"\0" * 8))
    assert len(buffer.getvalue()) < 1_000_000
    return buffer.getvalue()


def npz_bomb(folder: Path) -> str:
    (folder / "bad.npz").write_bytes(bomb())
    return str(folder / "bad.npz")


def npz_lying(folder: Path) -> str:
    """The directory says 192 bytes where a bomb is packed."""
    content = bytearray(bomb())
    place = content.find(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 192)
    (folder / "bad.npz").write_bytes(bytes(content))
    return str(folder / "bad.npz")


def npz_overlapping(folder: Path) -> str:
    """Two members that share their bytes."""
    path = npz_with(npy("(8,)"))(folder)
    content = bytearray(Path(path).read_bytes())
    first = content.find(b"PK\x01\x02")
    second = content.find(b"PK\x01\x02", first + 4)
    for field in (16, 20, 24, 42):  # checksum, sizes and place of the first
        content[second + field : second + field + 4] = content[first + field : first + field + 4]
    Path(path).write_bytes(bytes(content))
    return path


def whole_npz(folder: Path) -> Path:
    np.savez(folder / "good.npz", x=np.random.default_rng(0).random((8, 4)), y=np.arange(8) % 2)
    return folder / "good.npz"


def shortened(make: Callable[[Path], Path], name: str) -> Callable[[Path], str]:
    def cut(folder: Path) -> str:
        content = make(folder).read_bytes()
        (folder / name).write_bytes(content[: 2 * len(content) // 3])
        return str(folder / name)

    return cut


def empty(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / name).write_bytes(b"")
        return str(folder / name)

    return make


def wrong_magic(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / name).write_bytes(b"\x7fELF" + bytes(range(256)) * 8)
        return str(folder / name)

    return make


def pipe(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        os.mkfifo(folder / name)
        return str(folder / name)

    return make


def directory(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / name).mkdir()
        return str(folder / name)

    return make


def named(name: str) -> Callable[[Path], str]:
    return lambda folder: f"{folder}/{name}"


# ---- weights


def safetensors_with(
    header: bytes, *, length: int | None = None, content: bytes = b"\0" * 16
) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        size = len(header) if length is None else length
        (folder / "bad.safetensors").write_bytes(struct.pack("<Q", size) + header + content)
        return str(folder / "bad.safetensors")

    return make


def whole_safetensors(folder: Path) -> Path:
    save_file({"weight": torch.ones(2, 2), "bias": torch.ones(2)}, folder / "good.safetensors")
    return folder / "good.safetensors"


def whole_pt(folder: Path) -> Path:
    torch.save(nn.Linear(2, 2).state_dict(), folder / "good.pt")
    return folder / "good.pt"


def pickled(name: str, *, bare: bool = False) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        if bare:
            (folder / name).write_bytes(pickle.dumps(Bomb(canary(folder))))
        else:
            torch.save({"weight": Bomb(canary(folder))}, folder / name)
        return str(folder / name)

    return make


def script(folder: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that TorchScript is old
        torch.jit.script(nn.Linear(2, 2)).save(str(folder / "script.pt"))
    return str(folder / "script.pt")


def pt_declaring(count: int) -> Callable[[Path], str]:
    """A state dict that declares more numbers than its three: torch would read beyond them."""

    def make(folder: Path) -> str:
        path, content = whole_pt(folder), {}
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        (place,) = (name for name in content if name.endswith("data.pkl"))
        old, new = b"K\x04t", b"J" + struct.pack("<i", count) + b"t"
        assert old in content[place]
        content[place] = content[place].replace(old, new)
        with zipfile.ZipFile(path, "w") as archive:
            for name, value in content.items():
                archive.writestr(name, value)
        return str(path)

    return make


def pt_with_memo(folder: Path) -> str:
    """A pickle that asks for a memo of four billion entries."""
    path = whole_pt(folder)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}r\xff\xff\xff\xff.")
        archive.writestr("a/version", b"3\n")
    return str(path)


# ---- exported programs


Edit = Callable[[dict[str, bytes], Path], None]


def spoilt(edit: Edit) -> Callable[[Path, Path], str]:
    def make(good: Path, folder: Path) -> str:
        with zipfile.ZipFile(good) as archive:
            content = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
        edit(content, folder)
        with zipfile.ZipFile(folder / "bad.pt2", "w") as archive:
            for name, value in content.items():
                archive.writestr(f"m/{name}", value)
        return str(folder / "bad.pt2")

    return make


def in_json(place: str, change: Callable[[Any, Path], None]) -> Edit:
    def edit(content: dict[str, bytes], folder: Path) -> None:
        document = json.loads(content[place])
        change(document, folder)
        content[place] = json.dumps(document).encode()

    return edit


WEIGHTS, CONSTANTS, MODEL = (
    "data/weights/model_weights_config.json",
    "data/constants/model_constants_config.json",
    "models/model.json",
)


def first(document: dict[str, Any]) -> dict[str, Any]:
    return next(iter(document["config"].values()))


def use_pickle(content: dict[str, bytes], folder: Path) -> None:
    buffer = io.BytesIO()
    torch.save(Bomb(canary(folder)), buffer)
    content["data/weights/weight_0"] = buffer.getvalue()
    in_json(WEIGHTS, lambda document, _: first(document).update(use_pickle=True))(content, folder)


def opaque_object(content: dict[str, bytes], folder: Path) -> None:
    content["data/constants/opaque_obj_0"] = pickle.dumps(Bomb(canary(folder)))
    meta = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    in_json(CONSTANTS, lambda document, _: document["config"].update(thing=meta))(content, folder)


def legacy_weights(content: dict[str, bytes], folder: Path) -> None:
    content["data/weights/model.pt"] = pickle.dumps(Bomb(canary(folder)))


def size(text: str) -> Edit:
    def change(document: Any, folder: Path) -> None:
        meta = document["graph_module"]["graph"]["tensor_values"]["input"]
        meta["sizes"][0] = {
            "as_expr": {"expr_str": text.format(canary(folder)), "hint": {"as_int": 2}}
        }

    return in_json(MODEL, change)


def in_graph(change: Callable[[Any, Path], None]) -> Edit:
    return in_json(
        MODEL, lambda document, folder: change(document["graph_module"]["graph"], folder)
    )


def rename(graph: Any, folder: Path) -> None:
    name = f"x = __import__('os').system('touch {canary(folder)}')\n    y"
    text = json.dumps(graph).replace('"relu"', json.dumps(name))
    graph.clear()
    graph.update(json.loads(text))


def member(name: str, value: bytes = b"x") -> Edit:
    return lambda content, _: content.update({name: value})


EXPORTED: dict[str, tuple[Edit, str]] = {
    "use_pickle": (use_pickle, "marked use_pickle"),
    "opaque object": (opaque_object, "custom or pickled objects"),
    "legacy weights": (legacy_weights, "custom or pickled objects"),
    "shared library": (member("data/aotinductor/model/evil.so"), "compiled code"),
    "TorchScript code": (member("code/__torch__.py"), "more than a plain exported program"),
    "way out": (member("../evil"), "leads out of the archive"),
    "symbolic size runs": (size("__import__('os').system('touch {}')"), "more than arithmetic"),
    "symbolic size escapes": (
        size("().__class__.__base__.__subclasses__()"),
        "more than arithmetic",
    ),
    "symbolic size in a name": (size('Symbol("s0\').__class__")'), "more than arithmetic"),
    "symbolic size is a power": (size("9**9**9**9"), "more than arithmetic"),
    "symbolic size without end": (size("+".join(["1"] * 5000)), "more than arithmetic"),
    "operator of torch": (
        in_graph(lambda it, _: it["nodes"][0].update(target="torch.hub.load")),
        "torch.hub.load",
    ),
    "operator on files": (
        in_graph(lambda it, _: it["nodes"][0].update(target="torch.ops.aten.from_file.default")),
        "from_file",
    ),
    "operator of Python": (
        in_graph(lambda it, _: it["nodes"][0].update(target="_operator.attrgetter")),
        "_operator.attrgetter",
    ),
    "name that is code": (in_graph(rename), "no plain name"),
    "name of two words": (
        in_graph(lambda it, _: it["nodes"][0].update(name="x, y")),
        "no plain name",
    ),
    "subgraph": (
        in_graph(lambda it, _: it["nodes"][0]["inputs"][0].update(arg={"as_graph": {"name": "g"}})),
        "as_graph",
    ),
    "absurd weight": (
        in_json(
            WEIGHTS,
            lambda it, _: first(it)["tensor_meta"].update(
                sizes=[{"as_int": 10**9}], strides=[{"as_int": 1}]
            ),
        ),
        "bytes are there",
    ),
    "weight of stride 0": (
        in_json(
            WEIGHTS,
            lambda it, _: first(it)["tensor_meta"].update(
                sizes=[{"as_int": 10**9}], strides=[{"as_int": 0}]
            ),
        ),
        "bytes are there",
    ),
    "weight elsewhere": (
        in_json(WEIGHTS, lambda it, _: first(it).update(path_name="../../../etc/passwd")),
        "not there or not a weight",
    ),
    "weight of a bomb's name": (
        in_json(WEIGHTS, lambda it, _: it["config"].update({"x'": first(it)})),
        "not there or not a weight",
    ),
    "nested types": (
        in_json(
            MODEL,
            lambda it, _: it["graph_module"]["module_call_graph"][0]["signature"].update(
                in_spec='[1, {"type": "collections.defaultdict", "context": "{}", '
                '"children_spec": []}]'
            ),
        ),
        "nests its inputs",
    ),
    "no JSON": (member(MODEL, b"[" * 100_000), "not a whole archive"),
    "no graph": (member(MODEL, b"{}"), "not a whole archive"),
}


# ---- ONNX


def onnx_model(
    *, weight: TensorProto | None = None, nodes: list[Any] | None = None
) -> onnx.ModelProto:
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", side])
        for name, side in (("x", 4), ("y", 3))
    )
    weight = weight or numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    nodes = nodes or [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def onnx_with(**parts: Any) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / "bad.onnx").write_bytes(onnx_model(**parts).SerializeToString())
        return str(folder / "bad.onnx")

    return make


def tensor(dims: list[int], **fields: Any) -> TensorProto:
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, **fields)


def external(**entries: str) -> TensorProto:
    it = tensor([4, 3], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        it.external_data.add(key=key, value=value)
    return it


def onnx_link(folder: Path) -> str:
    """External data beside the model, which is a link to elsewhere."""
    (folder / "weights.bin").symlink_to("/etc/passwd")
    return onnx_with(weight=external(location="weights.bin"))(folder)


def grown(folder: Path) -> str:
    """Ten numbers that a node makes into 10¹²."""
    shape = numpy_helper.from_array(np.array([10**6, 10**6]), "w")
    nodes = [
        helper.make_node("Expand", ["one", "w"], ["e"]),
        helper.make_node("ReduceSum", ["e"], ["s"]),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    one = helper.make_node("Constant", [], ["one"], value_floats=[1.0])
    return onnx_with(weight=shape, nodes=[one, *nodes])(folder)


def grown_unseen(folder: Path) -> str:
    """10¹² numbers in a graph that only onnxruntime could run."""
    shape = numpy_helper.from_array(np.array([10**6, 10**6]), "w")
    nodes = [
        helper.make_node("ConstantOfShape", ["w"], ["e"]),
        helper.make_node("NonZero", ["e"], ["i"]),
        helper.make_node("ReduceSum", ["i"], ["s"]),
        helper.make_node("Cast", ["s"], ["f"], to=1),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    return onnx_with(weight=shape, nodes=nodes)(folder)


def branch(weight: TensorProto) -> Any:
    """If, whose branches make a weight."""
    value = helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3])
    inner = helper.make_graph([], "b", [], [value], [weight])
    return helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)


# ---- pictures and Hugging Face


def pictures(folder: Path) -> Path:
    for name in ("cat", "dog"):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("L", (4, 4), 9).save(folder / "pictures" / name / f"{number}.png")
    return folder / "pictures"


def picture_bomb(folder: Path) -> str:
    """A header of 12,000×12,000 pixels."""
    place = pictures(folder) / "cat" / "0.png"
    content = bytearray(place.read_bytes())
    content[16:24] = struct.pack(">II", 12_000, 12_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    place.write_bytes(bytes(content))
    return str(folder / "pictures")


def picture_cut(folder: Path) -> str:
    place = pictures(folder) / "dog" / "1.png"
    place.write_bytes(place.read_bytes()[:45])
    return str(folder / "pictures")


def picture_link(folder: Path) -> str:
    (pictures(folder) / "cat" / "2.png").symlink_to("/etc/passwd")
    return str(folder / "pictures")


def class_link(folder: Path) -> str:
    (pictures(folder) / "etc").symlink_to("/etc")
    return str(folder / "pictures")


def picture_pipe(folder: Path) -> str:
    os.mkfifo(pictures(folder) / "cat" / "2.png")
    return str(folder / "pictures")


def huggingface(
    change: Callable[[dict[str, Any]], None] = lambda _: None, *, weights: bool = True
) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        place = folder / "hf"
        place.mkdir()
        config = {
            "model_type": "bert",
            "architectures": ["BertForSequenceClassification"],
            "hidden_size": 8,
            "num_hidden_layers": 1,
        }
        config |= {"num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 20}
        change(config)
        (place / "config.json").write_text(json.dumps(config))
        if weights:
            save_file({"weight": torch.ones(2)}, place / "model.safetensors")
        else:
            torch.save({"weight": Bomb(canary(folder))}, place / "pytorch_model.bin")
        return f"hf:{place}"

    return make


def npz_long_header(folder: Path) -> str:
    """A header of 0.9 GB, packed into a megabyte."""
    head = b"\x93NUMPY\x02\x00" + struct.pack("<I", 900_000_000)
    with zipfile.ZipFile(folder / "bad.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w") as member:
            member.write(head)
            for _ in range(90):
                member.write(b" " * 10**7)
        archive.writestr("y.npy", npy("(1,)", descr="<i8", content=b"\0" * 8))
    return str(folder / "bad.npz")


def integer_keys(folder: Path) -> str:
    torch.save({0: torch.ones(2, 2), 1: torch.ones(2)}, folder / "numbers.pt")
    return str(folder / "numbers.pt")


def ranged(folder: Path) -> str:
    """A Range of 2²⁶ steps, half a gigabyte, twice."""
    ends = {"low": 0, "high": 2**26, "step": 1}
    constants = [numpy_helper.from_array(np.array(it), name) for name, it in ends.items()]
    nodes = [
        helper.make_node("Range", ["low", "high", "step"], ["r"]),
        helper.make_node("Cast", ["r"], ["f"], to=1),
        helper.make_node("ReduceMean", ["f"], ["m"], keepdims=0),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ]
    sides = [helper.make_tensor_value_info(it, TensorProto.FLOAT, ["N", 3]) for it in "xy"]
    graph = helper.make_graph(nodes, "r", sides[:1], sides[1:], constants)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "range.onnx")
    return str(folder / "range.onnx")


LONG_NUMBERS = (
    b'{"w":{"dtype":"F32","shape":['
    + b",".join([b"9" * 4000] * 3000)
    + b'],"data_offsets":[0,16]}}'
)


Case = tuple[str, Callable[[Path], str], str]
LONG = "n" * 10_000
HOSTILE: dict[str, Case] = {
    "npz with a pickle": ("data", npz_pickled, "Python objects"),
    "npz bomb": ("data", npz_bomb, "zip bomb"),
    "npz with lying sizes": ("data", npz_lying, "bad.npz"),
    "npz with overlapping members": ("data", npz_overlapping, "bad.npz"),
    "npz of 10^18 numbers": ("data", npz_with(npy("(1000000000000000000,)")), "bytes, but"),
    "npz of negative shape": ("data", npz_with(npy("(-1, 8)")), "impossible shape"),
    "npz of overflowing shape": ("data", npz_with(npy("(4294967296, 4294967296)")), "bytes, but"),
    "npz of an absurd dtype": (
        "data",
        npz_with(npy("(1,)", descr="|V99999999999")),
        "x in bad.npz",
    ),
    "npz with a header of code": (
        "data",
        npz_with(npy("__import__('os').getcwd()")),
        "no readable npy header",
    ),
    "npz with a header without end": (
        "data",
        npz_with(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b"("),
        "no readable npy header",
    ),
    "npz with a header of 0.9 GB": ("data", npz_long_header, "zip bomb"),
    "npz with a header of 2 MB": (
        "data",
        npz_with(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2_000_000) + b" " * 2_000_000),
        "it is declared as 2 MB",
    ),
    "safetensors of long numbers": (
        "weights",
        safetensors_with(LONG_NUMBERS),
        "a number of 4,000 digits",
    ),
    "pt with numbers for names": ("weights", integer_keys, "names its tensors by int"),
    "ONNX range of 2^26": ("model", ranged, "would make 67,108,864 numbers"),
    "npz cut": ("data", shortened(whole_npz, "cut.npz"), "cut.npz cannot be read"),
    "npz empty": ("data", empty("empty.npz"), "empty.npz cannot be read"),
    "npz of wrong magic": ("data", wrong_magic("elf.npz"), "elf.npz cannot be read"),
    "npz pickle": ("data", pickled("pickle.npz", bare=True), "a pickle, which can run anything"),
    "npz pipe": ("data", pipe("pipe.npz"), "a pipe"),
    "npz folder": ("data", directory("folder.npz"), "folder.npz"),
    "long name": ("data", named(LONG + ".npz"), "cannot be opened"),
    "null byte": ("data", named("a\0b.npz"), "cannot be opened"),
    "long name of a model": ("model", named(LONG + ".pt2"), "cannot be opened"),
    "null byte in a model": ("model", named("a\0b.onnx"), "cannot be opened"),
    "safetensors of 10^18": (
        "weights",
        safetensors_with(b"{}", length=10**18),
        "its header is declared as",
    ),
    "safetensors beyond its end": (
        "weights",
        safetensors_with(
            b'{"w":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}'
        ),
        "which the file does not have",
    ),
    "safetensors of wrong size": (
        "weights",
        safetensors_with(
            b'{"w":{"dtype":"F32","shape":[99999999999,99999999999],"data_offsets":[0,16]}}'
        ),
        "which the file does not have",
    ),
    "safetensors nested": (
        "weights",
        safetensors_with(b'{"a":' * 50_000),
        "no readable safetensors header",
    ),
    "safetensors cut": (
        "weights",
        shortened(whole_safetensors, "cut.safetensors"),
        "cut.safetensors",
    ),
    "safetensors empty": ("weights", empty("empty.safetensors"), "no whole safetensors file"),
    "safetensors of wrong magic": (
        "weights",
        wrong_magic("elf.safetensors"),
        "no whole safetensors file",
    ),
    "pt with a pickle": ("weights", pickled("bomb.pt"), "bomb.pt cannot be read"),
    "pt as a bare pickle": ("weights", pickled("bare.pt", bare=True), "a bare pickle"),
    "pt declaring much": ("weights", pt_declaring(2**30), "bytes for the storage"),
    "pt declaring less than nothing": ("weights", pt_declaring(-1), "declared with key"),
    "pt with a huge memo": ("weights", pt_with_memo, "good.pt"),
    "pt cut": ("weights", shortened(whole_pt, "cut.pt"), "cut.pt cannot be read"),
    "pt empty": ("weights", empty("empty.pt"), "empty.pt cannot be read"),
    "pt pipe": ("weights", pipe("pipe.pt"), "a pipe"),
    "TorchScript as weights": ("weights", script, "TorchScript archive"),
    "module with a pickle": ("model", pickled("bomb.pt"), "add --unsafe-pickle"),
    "module as a bare pickle": (
        "model",
        pickled("bomb.pkl", bare=True),
        "safetensors.torch.save_file",
    ),
    "TorchScript as a model": ("model", script, "TorchScript archive, whose code is run"),
    "pt2 that is a pickle": ("model", pickled("bomb.pt2"), "pickled objects"),
    "pt2 that is a bare pickle": (
        "model",
        pickled("bare.pt2", bare=True),
        "bare.pt2 cannot be read",
    ),
    "pt2 empty": ("model", empty("empty.pt2"), "empty.pt2 cannot be read"),
    "pt2 of wrong magic": ("model", wrong_magic("elf.pt2"), "elf.pt2 cannot be read"),
    "pt2 pipe": ("model", pipe("pipe.pt2"), "a pipe"),
    "ONNX of 10^12 numbers": (
        "model",
        onnx_with(weight=tensor([10**6, 10**6], raw_data=b"\0" * 16)),
        "16 are there",
    ),
    "ONNX of negative shape": (
        "model",
        onnx_with(weight=tensor([-1, 3], raw_data=b"\0" * 16)),
        "impossible shape",
    ),
    "ONNX of overflowing shape": (
        "model",
        onnx_with(weight=tensor([2**62, 4], raw_data=b"")),
        "0 are there",
    ),
    "ONNX data up the tree": (
        "model",
        onnx_with(weight=external(location="../../etc/passwd")),
        "outside the model's folder",
    ),
    "ONNX data at a root": (
        "model",
        onnx_with(weight=external(location="/etc/passwd")),
        "outside the model's folder",
    ),
    "ONNX data by a link": ("model", onnx_link, "leads out of"),
    "ONNX data beyond the end": (
        "model",
        onnx_with(weight=external(location="bad.onnx", offset="999999")),
        "which has",
    ),
    "ONNX that grows": ("model", grown, "would make 1,000,000,000,000 numbers"),
    "ONNX operator of another's": (
        "model",
        onnx_with(nodes=[helper.make_node("Gelu", ["x"], ["y"], domain="com.evil")]),
        "com.evil",
    ),
    "ONNX control flow": (
        "model",
        onnx_with(
            nodes=[
                helper.make_node("NonZero", ["x"], ["i"]),
                helper.make_node("Cast", ["i"], ["y"], to=1),
            ]
        ),
        "uses NonZero, not done here in torch",
    ),
    "ONNX that grows in a black box": ("model", grown_unseen, "it fails, too"),
    "ONNX data of a branch up the tree": (
        "model",
        onnx_with(nodes=[branch(external(location="../../etc/passwd"))]),
        "outside the model's folder",
    ),
    "ONNX empty": ("model", empty("empty.onnx"), "empty.onnx"),
    "ONNX of wrong magic": ("model", wrong_magic("elf.onnx"), "elf.onnx cannot be read"),
    "ONNX pipe": ("model", pipe("pipe.onnx"), "a pipe"),
    "ONNX folder": ("model", directory("folder.onnx"), "a folder"),
    "picture bomb": ("data", picture_bomb, "cat/0.png declares 12,000×12,000 pixels"),
    "picture cut": ("data", picture_cut, "dog/1.png cannot be"),
    "picture by a link": ("data", picture_link, "leads out of"),
    "class by a link": ("data", class_link, "leads out of"),
    "picture pipe": ("data", picture_pipe, "a pipe"),
    "hf with pickled weights": ("model", huggingface(weights=False), "pickles can run anything"),
    "hf with code": (
        "model",
        huggingface(lambda it: it.update(auto_map={"AutoModel": "evil.Model"})),
        "Python code of its own",
    ),
    "hf of 10^12 layers": (
        "model",
        huggingface(lambda it: it.update(num_hidden_layers=10**12)),
        "which no model has",
    ),
    "hf larger than its weights": (
        "model",
        huggingface(lambda it: it.update(hidden_size=65536, num_hidden_layers=4)),
        "describes",
    ),
    "hf with other weights": ("model", huggingface(), "hf"),
    "hf of nothing": ("model", lambda folder: f"hf:{folder}/none", "There is no folder"),
}


@pytest.mark.message
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_gets_a_sentence_and_nothing_else(name: str, tmp_path: Path) -> None:
    kind, make, words = HOSTILE[name]
    sentence = refused(kind, make(tmp_path), tmp_path)
    assert words in sentence, sentence
    assert len(sentence) < 1500
    assert sentence.isprintable()


@pytest.mark.message
@pytest.mark.parametrize("name", EXPORTED)
def test_hostile_exported_program_gets_a_sentence_and_nothing_else(
    name: str, tmp_path: Path, exported: Path
) -> None:
    edit, words = EXPORTED[name]
    sentence = refused("model", spoilt(edit)(exported, tmp_path), tmp_path)
    assert words in sentence, sentence
    assert len(sentence) < 1500


@pytest.mark.message
def test_a_cut_archive_is_told(tmp_path: Path, exported: Path) -> None:
    (tmp_path / "cut.pt2").write_bytes(exported.read_bytes()[:5000])
    assert "cut.pt2 cannot be read" in refused("model", str(tmp_path / "cut.pt2"), tmp_path)


@pytest.mark.law
def test_guards_and_example_inputs_are_left_out(tmp_path: Path, exported: Path) -> None:
    def edit(content: dict[str, bytes], folder: Path) -> None:
        content["data/sample_inputs/model.pt"] = pickle.dumps(Bomb(canary(folder)))
        in_json(
            MODEL,
            lambda it, _: it.update(
                guards_code=[f"__import__('os').system('touch {canary(folder)}')"]
            ),
        )(content, folder)

    content, _ = clean_archive(Path(spoilt(edit)(exported, tmp_path)))
    assert b"canary" not in content


@pytest.mark.oracle
def test_the_same_archive_does_run_its_pickle_where_torch_opens_it(
    tmp_path: Path, exported: Path
) -> None:
    """That the corpus is dangerous, not that torch is wrong: it says so itself."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
    path = spoilt(size("__import__('os').system('touch {}')"))(exported, tmp_path)
    code = f"import torch; torch.export.load({path!r})"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=tmp_path)
    assert canary(tmp_path).exists()


@pytest.mark.law
def test_the_child_ends_where_a_file_gets_through_to_its_pickle(
    tmp_path: Path, exported: Path
) -> None:
    """The second net, without the first: the child gets an archive that was not checked."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
    path = spoilt(use_pickle)(exported, tmp_path)
    with pytest.raises(ModelError, match=r"it tried os\.system"):
        tried_in_child(Path(path).read_bytes(), [2, 4], "bad.pt2")
    assert not canary(tmp_path).exists()


@pytest.mark.law
def test_arrays_of_the_other_byte_order_are_read(tmp_path: Path) -> None:
    x, y = np.linspace(0, 1, 32).reshape(16, 2), np.arange(16) % 2
    np.savez(tmp_path / "big.npz", x=x.astype(">f8"), y=y.astype(">i8"))
    np.savez(tmp_path / "little.npz", x=x, y=y)
    big, little = (load_data(str(tmp_path / f"{name}.npz")) for name in ("big", "little"))
    assert torch.equal(big.x, little.x)
    assert torch.equal(big.y, little.y)


@pytest.mark.law
def test_class_names_that_are_no_utf8_become_text(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"dog"):
        folder = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(folder)
        for number in range(4):
            Image.new("L", (3, 3)).save(os.fsdecode(folder + b"/%d.png" % number))
    names = load_data(str(tmp_path)).class_names
    assert names == ("caf�", "dog")
    assert "".join(names).encode()


@pytest.mark.message
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "SGI", "XBM"])
def test_a_spoilt_picture_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8))
    buffer, path = io.BytesIO(), tmp_path / "odd.png"
    (image.convert("1") if kind == "XBM" else image).save(buffer, kind)
    whole, dice = buffer.getvalue(), np.random.default_rng(1)
    for _ in range(60):
        spoilt = bytearray(whole[: dice.integers(1, len(whole) + 1)])
        for place in dice.integers(0, len(spoilt), 3):
            spoilt[place] ^= 1 << dice.integers(8)
        path.write_bytes(bytes(spoilt))
        with suppress(InputError):
            load_picture(path)


@pytest.mark.message
@pytest.mark.parametrize("name", ["pipe", "folder", "null byte", "text bomb", "gone"])
def test_what_is_no_picture_is_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    if name == "pipe":
        os.mkfifo(path)
    elif name == "folder":
        path.mkdir()
    elif name == "null byte":
        path = tmp_path / "a\0b.png"
    elif name == "text bomb":
        text = PngImagePlugin.PngInfo()
        text.add_text("a", "x" * 50_000_000, zip=True)
        Image.new("L", (3, 3)).save(path, pnginfo=text)
    with pytest.raises(InputError) as caught:
        load_picture(path)
    assert str(caught.value).isprintable()


@pytest.mark.message
@pytest.mark.parametrize("raised", ["SystemExit(3)", "GeneratorExit()", "Odd()"])
@pytest.mark.parametrize("place", ["import", "factory"])
def test_whatever_the_users_code_raises_is_a_sentence(
    raised: str, place: str, tmp_path: Path
) -> None:
    odd = "class Odd(BaseException):\n    def __str__(self): raise ValueError\n"
    inside = "def build():\n    " if place == "factory" else ""
    (tmp_path / "odd.py").write_text(f"{odd}{inside}raise {raised}\n")
    with pytest.raises(ModelError, match=raised.split("(", maxsplit=1)[0]) as caught:
        load_model(f"{tmp_path}/odd.py:build")
    assert str(caught.value).isprintable()
