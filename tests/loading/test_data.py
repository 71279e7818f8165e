"""Data from outside: archives, folders of pictures, datasets; and some seconds of spoilt files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from worldline.cli import commands
from worldline.errors import DataError, InputError, LabelError, ShapeError, UsageError
from worldline.loading import load_data
from worldline.loading.archive import read_arrays
from worldline.loading.datasets import read_dataset
from worldline.loading.expressions import check_expression
from worldline.loading.found import Asked
from worldline.loading.weights import read_weights


def draw(folder: Path, digits, names: tuple[str, ...], *, start: int = 0) -> Path:
    """Digits as PNGs in a folder for each class."""
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        rows = (digits.y == label).nonzero().flatten()[start : start + 6]
        for number, x in enumerate(digits.x[rows]):
            Image.fromarray((x[0] * 255).round().byte().numpy()).save(
                folder / name / f"{number}.png"
            )
    return folder


@pytest.mark.law
def test_folder_becomes_data_with_class_names(digits, tmp_path: Path) -> None:
    data = load_data(str(draw(tmp_path / "digits10", digits, ("zero", "one", "two"))))
    assert (data.name, data.class_names) == ("digits10", ("one", "two", "zero"))
    assert data.x.shape == data.reference_x.shape == (9, 1, 8, 8)
    assert data.y[:3].tolist() == [0, 1, 2], "the first samples are of all classes"
    one = digits.x[digits.y == 1][0]
    torch.testing.assert_close(
        data.x[0], one, rtol=0, atol=0.5 / 255
    )  # pixels were rounded to bytes


@pytest.mark.law
def test_a_sample_keeps_its_row_of_the_file(digits, tmp_path: Path) -> None:
    x, y = digits.x[:40].numpy(), np.arange(40) % 3
    np.savez(tmp_path / "halved.npz", x=x, y=y)
    np.savez(tmp_path / "whole.npz", x=x, y=y, reference_x=x, reference_y=y)
    halved, whole = (load_data(str(tmp_path / f"{name}.npz")) for name in ("halved", "whole"))
    assert torch.equal(halved.x, torch.from_numpy(x)[halved.rows])
    assert torch.equal(halved.reference_x, torch.from_numpy(x)[halved.reference_rows])
    assert sorted([*halved.rows.tolist(), *halved.reference_rows.tolist()]) == list(range(40))
    assert [halved.place(int(row)) for row in halved.rows] == list(range(len(halved.x)))
    assert (whole.rows.tolist(), whole.reference_rows) == (list(range(40)), None)
    with pytest.raises(UsageError, match=r"Row 3 of halved.npz became reference.*such as 2"):
        halved.place(3)
    with pytest.raises(UsageError, match=r"halved.npz has no row 40: .* go from 0 to 38"):
        halved.place(40)


@pytest.mark.law
def test_train_is_the_reference_of_test(digits, tmp_path: Path) -> None:
    draw(tmp_path / "train", digits, ("a", "b"))
    draw(tmp_path / "test", digits, ("a", "b"), start=6)
    data = load_data(str(tmp_path), bounds=(0.0, 255.0))
    assert (len(data.x), len(data.reference_x)) == (12, 12)
    assert data.split == "test may be attacked (12 samples); train is reference (12)"
    assert float(data.x.max()) == 255
    assert not torch.equal(data.x, data.reference_x)


@pytest.mark.oracle
def test_pictures_are_resized_and_cut_at_their_centre(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = (10, 100, 200)  # only the middle third is left
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.fromarray(wide).save(tmp_path / name / "1.png")
    Image.new("RGB", (3, 3)).save(tmp_path / "dog" / "2.png")
    with pytest.raises(ShapeError, match="Give --image-size"):
        load_data(str(tmp_path))
    found = load_data(str(tmp_path), image_size=10)
    assert found.x.shape == (2, 3, 10, 10)
    middle = found.x[0, :, :, 1:-1]  # at the edge the filter sees the neighbours
    torch.testing.assert_close(
        middle, torch.tensor([10, 100, 200]).view(3, 1, 1).expand(3, 10, 8) / 255
    )


@pytest.mark.message
def test_folders_that_cannot_be_used_are_told(digits, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds 0 subfolders; one for each of at least two classes"):
        load_data(str(tmp_path / "empty"))
    draw(tmp_path / "p", digits, ("a", "b"))
    with pytest.raises(DataError, match=r"12 pictures of 8×8 need 3.84 kB, more than the 1 kB"):
        load_data(str(tmp_path / "p"), limit=1000)
    (tmp_path / "p" / "c").mkdir()
    with pytest.raises(DataError, match=r"The class 'c' in .* has no pictures"):
        load_data(str(tmp_path / "p"))
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "p" / "c" / "1.png")
    with pytest.raises(DataError, match=r"c/1.png has the mode I;16, whose white is not known"):
        load_data(str(tmp_path / "p"))
    with pytest.raises(DataError, match="--image-size is for pictures"):
        load_data("digits", image_size=8)


DATASETS = """
import numpy as np, torch
from torch.utils.data import Dataset, TensorDataset, IterableDataset

class Named(Dataset):
    classes = ["cat", "dog"]
    def __len__(self):
        return 6
    def __getitem__(self, place):
        return np.full((1, 2, 2), place / 6), np.int64(place % 2)

class Raises(Named):
    def __getitem__(self, place):
        if place == 4:
            raise OSError("disk full")
        return super().__getitem__(place)

class Stream(IterableDataset):
    def __iter__(self):
        yield 1

tensors = TensorDataset(torch.rand(6, 1, 2, 2), torch.arange(6) % 2)
pairs = lambda: [(torch.zeros(3), 0), (torch.ones(3), 1)] * 3
uneven = lambda: [(torch.zeros(3), 0), (torch.zeros(4), 1)]
hot = lambda: [(torch.zeros(3), torch.tensor([0., 1.]))] * 4
words = lambda: [("a", 0)] * 4
four = lambda: [(torch.zeros(3), 0, 1, 2)] * 4
huge = lambda: [(torch.zeros(1).expand(10**9), 0)] * 4
none = lambda: []
number = lambda: 3
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "samples.py").write_text(DATASETS)
    return f"{tmp_path}/samples.py:"


@pytest.mark.law
@pytest.mark.parametrize("name", ["Named", "tensors", "pairs"])
def test_dataset_becomes_data(name: str, spec: str) -> None:
    data = load_data(spec + name)
    assert (len(data.x), len(data.reference_x), data.x.dtype, data.y.dtype) == (
        4,
        2,
        torch.float32,
        torch.int64,
    )
    assert data.class_names == (("cat", "dog") if name == "Named" else None)
    assert data.name == name


@pytest.mark.message
@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("Raises", DataError, "Item 4 of .*Raises raised OSError: disk full"),
        ("Stream", DataError, "Make an IterableDataset a list first"),
        ("uneven", DataError, r"Item 1 of .* has x of shape \(4,\), item 0 of \(3,\)"),
        (
            "hot",
            LabelError,
            r"y of item 0 of .*: Labels must be class numbers .* looks one-hot. Pass y.argmax",
        ),
        (
            "words",
            DataError,
            "x of item 0 of .* must be a tensor, an array of numbers or a picture; it is str 'a'",
        ),
        ("four", DataError, r"Item 0 of .* must be a pair \(x, y\), \(x, y, index\), or a dict"),
        ("huge", DataError, "4 samples of shape .* need 16 GB, more than the 1 GB"),
        ("none", DataError, "is empty"),
        ("number", DataError, "must return a dataset of .*; it returned int"),
        ("missing", DataError, "has no 'missing'; it has"),
    ],
)
def test_dataset_that_does_not_fit_says_which_item(
    name: str, kind: type[InputError], words: str, spec: str
) -> None:
    with pytest.raises(kind, match=words):
        read_dataset(Asked(spec + name, limit=10**9))


@pytest.mark.message
def test_limits_are_told_in_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((100, 10)), y=np.zeros(100, dtype=np.int64))
    with pytest.raises(
        DataError,
        match=r"The arrays x, y in d.npz need 13.2 kB, more than the 10 kB that may be used",
    ):
        load_data(str(tmp_path / "d.npz"), limit=10_000)


@pytest.mark.end_to_end
def test_explore_takes_a_folder_of_pictures_and_names_its_classes(digits, tmp_path: Path) -> None:
    names = tuple(f"digit {number}" for number in range(10))
    options = [
        "--model",
        "linear",
        "--data",
        draw(tmp_path / "p", digits, names),
        "--image-size",
        8,
        "--steps",
        2,
        "--json",
        "--out",
        tmp_path / "run",
    ]
    result = CliRunner().invoke(commands, ["explore", *map(str, options)])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["class_names"] == list(names)
    assert "image_size = 8" in (tmp_path / "run" / "config.toml").read_text()


# ---- spoilt at random; fuzz/loaders.py does it for longer


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros((4, 2)), y=np.zeros(4, dtype=np.int64))
    return buffer.getvalue()


def _pt() -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(3)}, buffer)
    return buffer.getvalue()


GOOD: dict[str, bytes] = {
    "f.npz": _npz(),
    "f.pt": _pt(),
    "f.safetensors": save({"w": torch.ones(3)}),
}


@pytest.mark.law
@settings(max_examples=150)
@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(
        st.tuples(st.floats(0, 1), st.binary(max_size=9), st.integers(0, 9)), min_size=1, max_size=4
    ),
)
def test_a_spoilt_file_is_loaded_or_refused_in_a_sentence(
    tmp_path_factory, name: str, changes: list[tuple[float, bytes, int]]
) -> None:
    content = GOOD[name]
    for where, put, cut in changes:
        place = int(where * len(content))
        content = content[:place] + put + content[place + cut :]
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        found: dict[str, Tensor] | dict[str, np.ndarray] = (
            read_arrays(path, required=("x", "y")) if name == "f.npz" else read_weights(path)
        )
        told = name if sum(value.nbytes for value in found.values()) < 1000 else "large"
    except InputError as error:
        told = str(error)
    assert name in told
    assert len(told) < 1500


@pytest.mark.law
@given(st.text(max_size=60))
def test_no_text_but_arithmetic_is_a_size(text: str) -> None:
    try:
        check_expression(text, "m.pt2")
    except InputError:
        return
    assert not set(text) & set("_[]{}.@\\:;") or text.replace(".", "").strip("+- ()").isalnum()
