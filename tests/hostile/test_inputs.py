"""Headers that declare more than they hold, and odd orders: bounded before they are read."""

from __future__ import annotations

import io
import json
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from worldline.errors import DataError, InputError, ModelError
from worldline.loading import load_data, load_model
from worldline.loading.weights import read_weights


def peak() -> int:
    """Bytes of memory that this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.message
def test_a_declared_header_of_a_gigabyte_is_not_made_room_for(tmp_path: Path) -> None:
    """The old reader handed it to NumPy, which took two gigabytes."""
    member = b"\x93NUMPY\x02\x00" + struct.pack("<I", 900_000_000)
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", member + b" " * 60_000_000)
        archive.writestr("y.npy", member)
    before = peak()
    with pytest.raises(DataError, match=r"no readable npy header: it is declared as 900 MB"):
        load_data(str(tmp_path / "d.npz"), bounds=(0.0, 1.0))
    assert peak() - before < 200 * 2**20


@pytest.mark.message
def test_a_number_of_four_thousand_digits_is_not_computed(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [7], "data_offsets": [0, 28]}})
    text = header.replace("[7]", f"[{'9' * 4000}]").encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(28))
    with pytest.raises(ModelError, match="a number of 4,000 digits"):
        read_weights(path)


@pytest.mark.law
def test_arrays_in_the_other_byte_order_are_what_they_say(tmp_path: Path) -> None:
    x = np.linspace(0, 1, 60 * 6, dtype=np.float32).reshape(60, 6)
    y = np.arange(60) % 3
    np.savez(tmp_path / "big.npz", x=x.astype(">f4"), y=y.astype(">i8"))
    data = load_data(str(tmp_path / "big.npz"), bounds=(0.0, 1.0))
    np.testing.assert_array_equal(data.x.numpy(), x[data.rows.numpy()])
    np.testing.assert_array_equal(data.y.numpy(), y[data.rows.numpy()])


@pytest.mark.message
def test_a_state_dict_with_numbers_for_names_is_a_sentence(tmp_path: Path) -> None:
    torch.save({0: torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="names its tensors by int"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.message
def test_a_range_of_millions_is_not_made(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    numbers = {
        name: make.make_tensor(name, onnx.TensorProto.INT64, [], [value])
        for name, value in (("start", 0), ("stop", 2**26), ("step", 1))
    }
    nodes = [
        make.make_node("Range", ["start", "stop", "step"], ["many"]),
        make.make_node("Cast", ["many"], ["floats"], to=onnx.TensorProto.FLOAT),
        make.make_node("ReduceSum", ["floats"], ["sum"], keepdims=0),
        make.make_node("Add", ["x", "sum"], ["out"]),
    ]
    value = make.make_tensor_value_info
    graph = make.make_graph(
        nodes,
        "g",
        [value("x", onnx.TensorProto.FLOAT, ["n", 3])],
        [value("out", onnx.TensorProto.FLOAT, ["n", 3])],
        list(numbers.values()),
    )
    opset = [make.make_opsetid("", 17)]
    onnx.save(make.make_model(graph, opset_imports=opset), tmp_path / "m.onnx")
    before = peak()
    with pytest.raises(InputError, match=r"would make 67,108,864 numbers"):
        load_model(str(tmp_path / "m.onnx"))
    assert peak() - before < 400 * 2**20


@pytest.mark.message
def test_pictures_that_are_none_are_sentences(tmp_path: Path) -> None:
    for name, content in (
        ("text.png", b"not a picture"),
        ("cut.png", b"\x89PNG\r\n\x1a\n"),
        ("odd.ppm", b"P6 99999999 99999999 255 "),
        ("odd.sgi", b"\x01\xda" + bytes(510)),
        ("odd.xbm", b"#define x_width 99999999\n#define x_height 9\nstatic char x[] = {"),
        ("odd.im", b"Image type: L image\r\n" + bytes(600)),
    ):
        for label in ("one", "two"):
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / label / name).write_bytes(content)
        with pytest.raises(DataError):
            load_data(str(tmp_path / "data"), bounds=(0.0, 1.0))
        for label in ("one", "two"):
            (tmp_path / "data" / label / name).unlink()


@pytest.mark.message
def test_class_names_that_are_no_text_are_shown(tmp_path: Path) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (4, 4), 99).save(buffer, "PNG")
    for name in (b"caf\xe9", b"tea"):
        place = tmp_path.joinpath("data").as_posix().encode() + b"/" + name
        Path(place.decode("utf-8", "surrogateescape")).mkdir(parents=True)
        for number in range(4):
            path = place.decode("utf-8", "surrogateescape") + f"/{number}.png"
            Path(path).write_bytes(buffer.getvalue())
    data = load_data(str(tmp_path / "data"), bounds=(0.0, 1.0))
    assert data.class_names is not None
    for name in data.class_names:
        name.encode("utf-8")
