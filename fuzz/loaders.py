"""Spoil valid files at random: a loader must load them or refuse them in a sentence.

    python fuzz/loaders.py --seconds 600 [--seed 0] [--only npz,onnx] [--finds FOLDER]

A find is: an exception that is not Worldline's own, a process that dies, a canary file that
appears, resident memory that grows by more than 300 MB, or more than 20 seconds for one file. Each
find is kept. With atheris installed and ``--atheris FORMAT``, its coverage-guided engine makes the
bytes; otherwise a seeded generator changes valid files (and, inside zip archives, valid members,
with the checksums made right again).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pickle
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.torch import save
from torch import nn

from worldline.errors import WorldlineError

if "--atheris" in sys.argv:
    import atheris  # type: ignore[import-not-found]

    seen = atheris.instrument_imports(
        include=["worldline.loading", "zipfile"]
    )  # coverage guides the engine
else:
    seen = contextlib.nullcontext()
with seen:
    from worldline.loading.archive import read_arrays
    from worldline.loading.data import load_data
    from worldline.loading.exported import clean_archive, load_exported
    from worldline.loading.expressions import check_expression
    from worldline.loading.huggingface import load_huggingface
    from worldline.loading.onnx_model import load_onnx
    from worldline.loading.weights import read_weights

MEMORY = 300 * 2**20
SECONDS = 20
CHILD_EVERY = 200  # of the exported programs that pass the check, how many are opened in full
NUMBERS = [
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    32767,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**63 - 1,
    2**64 - 1,
]
WORDS = [
    b"..",
    b"/",
    b"\0",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"[",
    b"{",
    b"99999999999999999999",
    b"__import__",
    b"\xff\xfe",
    b"x" * 300,
]


class Canary:
    """Leaves a file when it is unpickled."""

    path = ""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


def packed(save_to: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    save_to(buffer)
    return buffer.getvalue()


def seeds() -> dict[str, list[bytes]]:
    """Valid files of every format, and some that hold a pickle of :class:`Canary`."""
    data = {
        "x": np.random.default_rng(0).random((6, 2, 2)).astype(np.float32),
        "y": np.arange(6) % 2,
    }
    state = {"weight": torch.ones(2, 3), "bias": torch.zeros(2, dtype=torch.float16)}
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    ).eval()
    program = torch.export.export(
        model, (torch.rand(2, 1, 4, 4),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
    )
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", side])
        for name, side in (("x", 4), ("y", 3))
    )
    weights = [
        numpy_helper.from_array(np.ones((4, 6), np.float32), "w"),
        numpy_helper.from_array(np.array([0, 2, 3]), "s"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Reshape", ["r", "s"], ["q"]),
    ]
    nodes.append(helper.make_node("ReduceMean", ["q"], ["y"], axes=[1], keepdims=0))
    graph = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    config = {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    pictures = [
        packed(lambda it, kind=kind: Image.new("RGB", (5, 4), (9, 99, 199)).save(it, kind))
        for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
    ]
    return {
        "npz": [
            packed(lambda it: np.savez(it, **data)),
            packed(lambda it: np.savez_compressed(it, **data)),
            packed(lambda it: np.savez(it, x=np.array([Canary()]), y=data["y"])),
        ],
        "safetensors": [save(state)],
        "pt": [
            packed(lambda it: torch.save(state, it)),
            packed(lambda it: torch.save({"weight": Canary()}, it)),
            pickle.dumps(Canary()),
        ],
        "pt2": [packed(lambda it: torch.export.save(program, it))],
        "onnx": [graph.SerializeToString()],
        "picture": pictures,
        "hf": [json.dumps(config | {"intermediate_size": 8, "vocab_size": 20}).encode()],
        "expression": [
            b"Add(Symbol('s0', positive=True, integer=True), Integer(2))",
            b"FloorDiv(s0 - 1, 2) + 1",
        ],
    }


def spoil(content: bytes, chance: random.Random) -> bytes:
    """One to six changes: bits, numbers, words, cuts, repeats; in a zip often inside one member."""
    if content[:2] == b"PK" and chance.random() < 0.5:
        return _spoil_member(content, chance)
    it = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        place = chance.randrange(len(it) + 1)
        match chance.randrange(6):
            case 0 if it:
                it[place % len(it)] ^= 1 << chance.randrange(8)
            case 1:
                width = chance.choice(["<B", "<H", "<I", "<Q", ">I", ">Q"])
                number = chance.choice(NUMBERS) % 256 ** struct.calcsize(width)
                it[place : place + struct.calcsize(width)] = struct.pack(width, number)
            case 2:
                it[place:place] = chance.choice(WORDS)
            case 3:
                del it[place : place + chance.choice((1, 4, 50, len(it)))]
            case 4:
                it[place:place] = it[max(place - chance.choice((1, 8, 100)), 0) : place]
            case _:
                it[place : place + 4] = chance.randbytes(4)
    return bytes(it)


def _spoil_member(content: bytes, chance: random.Random) -> bytes:
    output = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        zipfile.ZipFile(output, "w") as new,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of zipfile, that a name is there twice: that is meant
        names = archive.namelist()
        chosen = chance.choice(names)
        for name in names:
            inner = archive.read(name)
            placed = name
            if name == chosen:
                inner = spoil(inner, chance) if inner[:1] != b"{" else _spoil_text(inner, chance)
                placed = chance.choice(
                    (name, name, name, name + "x", "../" + name, chance.choice(names))
                )
            new.writestr(placed, inner)
    return output.getvalue()


def _spoil_text(content: bytes, chance: random.Random) -> bytes:
    """Another value for one of a JSON document's, so that it stays JSON."""
    try:
        document = json.loads(content)
    except ValueError:  # raw numbers that happen to begin with a brace
        return spoil(content, chance)
    places: list[tuple[object, object]] = []

    def walk(it: object) -> None:
        for key, value in (
            it.items() if isinstance(it, dict) else enumerate(it) if isinstance(it, list) else ()
        ):
            places.append((it, key))
            walk(value)

    walk(document)
    if not places:
        return content + b" "
    holder, key = chance.choice(places)
    holder[key] = chance.choice(
        [
            None,
            True,
            -1,
            10**18,
            2**70,
            1.5,
            "",
            "x" * 500,
            "__import__('os').system('touch canary')",
            [],
            {},
            [[]],
            {"as_int": 10**12},
            "torch.ops.aten.relu.default",
            "data",
        ]
    )  # type: ignore[index]
    return json.dumps(document).encode()


def targets(folder: Path, chance: random.Random) -> dict[str, Callable[[bytes], object]]:
    """For each format what a loader does with the bytes."""
    (folder / "pictures" / "cat").mkdir(parents=True)
    (folder / "pictures" / "dog").mkdir()
    Image.new("RGB", (5, 4)).save(folder / "pictures" / "dog" / "1.png")
    (folder / "hf").mkdir()
    passed = Counter[str]()

    def file(name: str, load: Callable[[Path], object]) -> Callable[[bytes], object]:
        def run(content: bytes) -> object:
            (folder / name).write_bytes(content)
            return load(folder / name)

        return run

    def exported(path: Path) -> object:
        clean_archive(path)
        passed["pt2"] += 1
        return load_exported(path) if passed["pt2"] % CHILD_EVERY == 0 else None

    def picture(content: bytes) -> object:
        endings = {
            b"\x89P": ".png",
            b"\xff\xd8": ".jpg",
            b"GI": ".gif",
            b"BM": ".bmp",
            b"RI": ".webp",
        }
        path = (
            folder
            / "pictures"
            / "cat"
            / f"1{endings.get(content[:2], chance.choice(['.tif', '.ppm']))}"
        )
        path.write_bytes(content)
        try:
            return load_data(str(folder / "pictures"), image_size=4)
        finally:
            path.unlink()

    def huggingface(content: bytes) -> object:
        (folder / "hf" / "config.json").write_bytes(content)
        (folder / "hf" / "model.safetensors").write_bytes(save({"weight": torch.ones(2000)}))
        return load_huggingface(folder / "hf")

    return {
        "npz": file("f.npz", lambda path: read_arrays(path, required=("x", "y"))),
        "safetensors": file("f.safetensors", read_weights),
        "pt": file("f.pt", read_weights),
        "pt2": file("f.pt2", exported),
        "onnx": file("f.onnx", load_onnx),
        "picture": picture,
        "hf": huggingface,
        "expression": lambda content: check_expression(content.decode("latin-1"), "f.pt2"),
    }


def watch(run: Callable[[bytes], object], content: bytes, canary: Path) -> str:
    """What a loader did: ``loaded``, ``refused``, or the account of a find."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(SECONDS)
    try:
        run(content)
        told = "loaded"
    except WorldlineError as error:
        told = (
            "refused"
            if len(str(error)) < 2000
            else f"FIND: a message of {len(str(error))} characters"
        )
    except BaseException:
        told = f"FIND: {traceback.format_exc()}"
    finally:
        signal.alarm(0)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if grown > MEMORY:
        told = f"FIND: memory grew by {grown / 2**20:.0f} MB; it was {told}"
    if canary.exists():
        canary.unlink()
        told = "FIND: something was executed"
    return told


def fuzz(options: argparse.Namespace, folder: Path) -> int:
    """The seeded generator: formats in turn until time is up; gives the number of finds."""
    chance, counts, kept = random.Random(options.seed), Counter[tuple[str, str]](), set[str]()
    Canary.path = str(folder / "canary")
    corpus, runs = seeds(), targets(folder, chance)
    formats = options.only.split(",") if options.only else list(runs)
    for name in formats:  # what is imported late is no find
        watch(runs[name], corpus[name][0], folder / "canary")
    spent, start = Counter[str](), time.monotonic()
    while time.monotonic() - start < options.seconds:
        name = min(formats, key=lambda it: spent[it])  # the same time for each format
        content = spoil(chance.choice(corpus[name]), chance)
        (options.finds / "last").write_bytes(content)  # if the process dies
        begun = time.monotonic()
        told = watch(runs[name], content, folder / "canary")
        spent[name] += time.monotonic() - begun
        counts[name, told.split(":")[0]] += 1
        kind = f"{name} {told.splitlines()[-1]}"[:60]
        if told.startswith("FIND") and kind not in kept:
            kept.add(kind)
            (options.finds / f"{name}-{len(kept)}").write_bytes(content)
            (options.finds / f"{name}-{len(kept)}.txt").write_text(told)
            print(f"{name}: {told}\n  kept as {options.finds}/{name}-{len(kept)}", flush=True)
    for (name, told), count in sorted(counts.items()):
        print(f"{name:12} {told:8} {count:8,}")
    print(
        f"{sum(counts.values()):,} files in {time.monotonic() - start:.0f} s, seed {options.seed}: "
        f"{len(kept)} kinds of finds"
    )
    return len(kept)


def with_atheris(name: str, folder: Path, seconds: float) -> None:
    """Coverage-guided: atheris makes the bytes and reports what is raised."""
    run = targets(folder, random.Random(0))[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds()[name]):
        (corpus / str(number)).write_bytes(content)

    def once(content: bytes) -> None:
        told = watch(run, content, folder / "canary")
        if told.startswith("FIND"):
            raise RuntimeError(told)

    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds:.0f}", "-max_len=20000", str(corpus)], once
    )
    atheris.Fuzz()


def late(_signal: int, _frame: object) -> None:
    raise TimeoutError(f"more than {SECONDS} seconds")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="formats, separated by commas")
    parser.add_argument(
        "--finds", type=Path, default=Path(tempfile.gettempdir()) / "worldline-finds"
    )
    parser.add_argument("--atheris", metavar="FORMAT")
    options = parser.parse_args()
    options.finds.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, late)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if options.atheris:
            with_atheris(options.atheris, Path(folder), options.seconds)
        else:
            sys.exit(fuzz(options, Path(folder)) > 0)


if __name__ == "__main__":
    main()
