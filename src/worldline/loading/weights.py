"""State dicts: ``.safetensors``, and ``.pt`` archives whose declared sizes are true."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from worldline.errors import ModelError
from worldline.files import check_zip, reading, real_file, reason_of, shorten, size_text
from worldline.loading.pickled import is_script

__all__ = ["check_safetensors", "read_weights"]

HEADER_LIMIT = 16 * 2**20  # bytes: some 100,000 tensors
LONGEST_NUMBER = 19  # digits of a size in a header
MOST_SIDES = 64  # of one tensor
PICKLE_LIMIT = 64 * 2**20  # bytes of the pickle that names a state dict's tensors
TORCH = (".pt", ".pth", ".ckpt", ".bin")
INSIDE = ("state_dict", "model_state_dict", "model")
AGAIN = "Save it again with safetensors.torch.save_file(model.state_dict(), path)."
WIDTHS = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2}
WIDTHS |= {"BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8}
STORAGES = {"Untyped": 1, "Byte": 1, "Char": 1, "Bool": 1, "Half": 2, "BFloat16": 2, "Short": 2}
STORAGES |= {"Float": 4, "Int": 4, "Double": 8, "Long": 8, "ComplexFloat": 8, "ComplexDouble": 16}


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """A state dict from a file, on the CPU; nothing in the file is executed.

    Args:
        path: ``.safetensors``, whose header must agree with the file's size; or ``.pt``, ``.pth``,
            ``.ckpt``, ``.bin`` as ``torch.save`` has written it since torch 1.6, read with
            ``weights_only=True`` after every declared storage was found in the archive; of a
            checkpoint the part called ``state_dict``, ``model_state_dict`` or ``model``.

    Raises:
        ModelError: no such file, another format, a damaged or deceiving file, or something else
            than a state dict.

    Cost: one copy of the weights.

    >>> import tempfile, torch
    >>> from safetensors.torch import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"weight": torch.ones(2)}, Path(folder) / "w.safetensors")
    ...     read_weights(Path(folder) / "w.safetensors")
    {'weight': tensor([1., 1.])}
    """
    path = real_file(path, "weights file", ModelError)
    name = shorten(path.name)
    if path.suffix not in (".safetensors", *TORCH):
        raise ModelError(
            f"Weights must be .safetensors, {', '.join(TORCH[:-1])} or {TORCH[-1]}; got {name!r}."
        )
    try:
        if path.suffix == ".safetensors":
            check_safetensors(path)
            state: Any = load_file(path)
        else:
            _check_torch_file(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{name} cannot be read as a {path.suffix} state dict: {reason_of(error)}. {AGAIN}"
        ) from error
    if isinstance(state, dict):  # a checkpoint that holds more than the weights
        inner = [state[key] for key in INSIDE if isinstance(state.get(key), dict)]
        state = (inner or [state])[0]
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise ModelError(
            f"{name} does not hold a state dict (names to tensors); it holds "
            f"{type(state).__name__}."
        )
    if others := sorted({type(key).__name__ for key in state if not isinstance(key, str)}):
        raise ModelError(
            f"{name} names its tensors by {', '.join(others)}; a state dict has names in text. "
            f"{AGAIN}"
        )
    return state


def check_safetensors(path: Path) -> int:
    """Refuse a safetensors file whose header does not fit its size; gives the bytes of its tensors.

    Raises:
        ModelError: says what the header declares and what is there.

    >>> import tempfile, torch
    >>> from safetensors.torch import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"weight": torch.ones(2)}, Path(folder) / "w.safetensors")
    ...     check_safetensors(Path(folder) / "w.safetensors")
    8
    """
    name = shorten(path.name)
    with reading(path, "weights file", ModelError) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(HEADER_LIMIT, size - 8):
            raise ModelError(
                f"{name} is no whole safetensors file: its header is declared as "
                f"{size_text(length)}, the file has {size_text(size)}. {AGAIN}"
            )
        text = file.read(length)
    try:
        header = json.loads(text.decode("utf-8"), parse_int=_number)
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        for key, value in tensors.items():
            low, high = value["data_offsets"]
            sides = value["shape"]
            plain = all(type(number) is int and number >= 0 for number in (low, high, *sides))
            if (
                not plain
                or len(sides) > MOST_SIDES
                or high > size - 8 - length
                or math.prod(sides) * WIDTHS[value["dtype"]] != high - low
            ):
                raise ModelError(
                    f"The tensor {shorten(key, 60)!r} in {name} is declared as "
                    f"{shorten(str(sides), 60)} {shorten(str(value['dtype']), 20)} at bytes "
                    f"{shorten(str(low), 30)} to {shorten(str(high), 30)}, which the file does not "
                    f"have. {AGAIN}"
                )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{name} has no readable safetensors header: {reason_of(error)}. {AGAIN}"
        ) from error
    return size - 8 - length


def _number(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"it holds a number of {len(text):,} digits")
    return int(text)


def _check_torch_file(path: Path) -> None:
    """Refuse an archive of torch.save that declares storages it lacks; its pickle is not run."""
    name = shorten(path.name)
    with reading(path, "weights file", ModelError) as file:
        magic = file.read(2)
    if magic != b"PK":
        raise ModelError(
            f"{name} cannot be read as a {path.suffix} state dict: it is not the zip archive that "
            "torch.save has written since torch 1.6 (an older file is a bare pickle, which "
            f"declares sizes that cannot be checked before it is opened). {AGAIN}"
        )
    if is_script(path):
        raise ModelError(
            f"{name} is a TorchScript archive, a whole model with code, not a state dict. Give it "
            f"as --model with --unsafe-pickle, or: {AGAIN}"
        )
    members = {
        member.filename: member
        for member in check_zip(path, f"a {path.suffix} state dict", ModelError, stored=True)
    }
    root = next(
        (
            member.removesuffix("data.pkl")
            for member in members
            if member.split("/", 1)[-1] == "data.pkl"
        ),
        None,
    )
    if root is None:
        raise ModelError(
            f"{name} cannot be read as a {path.suffix} state dict: it has no data.pkl. {AGAIN}"
        )
    if members[f"{root}data.pkl"].file_size > PICKLE_LIMIT:
        raise ModelError(
            f"{name} names its tensors in {size_text(members[f'{root}data.pkl'].file_size)}; "
            f"{size_text(PICKLE_LIMIT)} are allowed. {AGAIN}"
        )
    with reading(path, "weights file", ModelError) as file, zipfile.ZipFile(file) as archive:
        stated = archive.read(f"{root}data.pkl")
    for key, needed in declared_storages(stated).items():
        member = members.get(f"{root}data/{key}")
        there = member.file_size if member else 0
        if needed > there:
            raise ModelError(
                f"{name} declares {needed:,} bytes for the storage {shorten(key, 40)!r}; {there:,} "
                f"are there. {AGAIN}"
            )


def declared_storages(stated: bytes) -> dict[str, int]:
    """Bytes by storage, as a pickle of torch.save declares them; what it imports becomes inert.

    >>> import torch
    >>> file = io.BytesIO()
    >>> torch.save({"w": torch.ones(3)}, file)
    >>> declared_storages(zipfile.ZipFile(file).read("archive/data.pkl"))
    {'0': 12}
    """
    for operation, _, _ in pickletools.genops(stated):
        if operation.name in ("BYTEARRAY8", "NEXT_BUFFER", "EXT1", "EXT2", "EXT4"):
            raise ModelError(
                f"A state dict has no use for the pickle operation {operation.name}. {AGAIN}"
            )
    reader = _Reader(io.BytesIO(stated))
    reader.load()
    return reader.sizes


class _Inert:
    """Stands for anything that a pickle imports: can be called, built and filled; does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *_: object, **__: object) -> _Inert:
        return self

    def __setstate__(self, _: object) -> None: ...

    def __setitem__(self, _: object, __: object) -> None: ...

    def append(self, _: object) -> None: ...

    def extend(self, _: object) -> None: ...


class _Reader(pickle._Unpickler):
    """Reads a pickle's structure: imports and calls nothing but :class:`_Inert`.

    In Python, as C sizes its memo by the file.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.sizes: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> _Inert:
        return _Inert(f"{module}.{name}")

    def persistent_load(self, stated: object) -> object:
        if not (isinstance(stated, tuple) and len(stated) == 5 and stated[0] == "storage"):
            raise ModelError(
                f"A state dict names its storages otherwise than torch.save does. {AGAIN}"
            )
        _, kind, key, _, count = stated
        width = (
            STORAGES.get(kind.name.removesuffix("Storage").rpartition(".")[2], 16)
            if isinstance(kind, _Inert)
            else 16
        )
        if type(key) is not str or type(count) is not int or count < 0:
            raise ModelError(
                f"A storage of the state dict is declared with key {shorten(repr(key), 40)} and "
                f"{shorten(repr(count), 40)} numbers. {AGAIN}"
            )
        self.sizes[key] = max(count * width, self.sizes.get(key, 0))
        return _Inert("storage")
