"""Every kind of data that people bring: real files, hostile ones, and what is said of them."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_iris

from worldline.cli import commands
from worldline.errors import DataError, InputError, LabelError, ShapeError
from worldline.loading import load_data
from worldline.loading.data import KINDS
from worldline.loading.idx import read_idx
from worldline.loading.naming import choose_pairs

FASHION = Path("/usr/share/datasets/fashion-mnist")
Y = np.arange(12) % 3
BYTES = np.random.default_rng(0).integers(0, 256, (12, 5, 4), dtype=np.uint8)


def idx(array: np.ndarray, *, dtype: int = 8, shape: tuple[int, ...] | None = None) -> bytes:
    sides = array.shape if shape is None else shape
    head = bytes([0, 0, dtype, len(sides)]) + struct.pack(f">{len(sides)}I", *sides)
    return head + array.astype({8: ">u1", 13: ">f4"}[dtype]).tobytes()


def whole(data) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples and reference in the order of what was given."""
    order = torch.cat([data.rows, data.reference_rows]).argsort()
    return (
        torch.cat([data.x, data.reference_x])[order],
        torch.cat([data.y, data.reference_y])[order],
    )


# ---- IDX


@pytest.mark.oracle
@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_what_its_bytes_say() -> None:
    data = load_data(str(FASHION))
    content = gzip.decompress((FASHION / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    plain = np.frombuffer(content, np.uint8).reshape(10000, 1, 28, 28)
    assert (data.x * 255).round().byte().numpy().tobytes() == plain.tobytes()
    assert len(data.reference_x) == 60000
    assert data.split.startswith("t10k-images-idx3-ubyte.gz may be attacked (10,000 samples)")
    assert any("divided by 255" in it for it in data.notes)


@pytest.mark.law
@pytest.mark.parametrize(
    "names",
    [
        ("a-images-idx3-ubyte", "a-labels-idx1-ubyte"),
        ("t10k-images.idx3-ubyte.gz", "t10k-labels.idx1-ubyte"),
    ],
)
def test_labels_are_found_beside_idx_images(names: tuple[str, str], tmp_path: Path) -> None:
    content = idx(BYTES)
    (tmp_path / names[0]).write_bytes(
        gzip.compress(content) if names[0].endswith(".gz") else content
    )
    (tmp_path / names[1]).write_bytes(idx(Y))
    x, y = whole(load_data(str(tmp_path / names[0])))
    np.testing.assert_array_equal((x[:, 0] * 255).round().byte(), BYTES)
    assert y.tolist() == Y.tolist()


@pytest.mark.law
def test_float_idx_is_kept_and_pixels_keep_their_bounds(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 24).reshape(12, 2)
    (tmp_path / "images").write_bytes(idx(values, dtype=13))
    (tmp_path / "p-images").write_bytes(idx(BYTES))
    (tmp_path / "classes").write_bytes(idx(Y))
    x, _ = whole(load_data(str(tmp_path / "images"), y="classes"))
    np.testing.assert_array_equal(x, values.astype(np.float32))
    x, _ = whole(load_data(str(tmp_path / "p-images"), y="classes", bounds=(0, 255)))
    assert float(x.max()) == BYTES.max()


def bad_idx(content: bytes, name: str = "images-idx3-ubyte") -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / name).write_bytes(content)
        (folder / name.replace("images", "labels")).write_bytes(idx(Y))
        return str(folder / name)

    return make


PACKED = gzip.compress(idx(BYTES))
HOSTILE: dict[str, tuple[Callable[[Path], str], str]] = {
    "gz cut": (bad_idx(PACKED[:-30], "images-idx3-ubyte.gz"), "cannot be unpacked"),
    "gz spoilt": (
        bad_idx(PACKED[:60] + b"\0\0\0\0" + PACKED[64:], "images-idx3-ubyte.gz"),
        "images-idx3-ubyte.gz",
    ),
    "gz bomb": (
        bad_idx(
            gzip.compress(idx(np.zeros(0), shape=(200_000, 28, 28)) + bytes(200_000 * 784)),
            "images-idx3-ubyte.gz",
        ),
        "taken for a bomb and left packed",
    ),
    "gz that holds more": (
        bad_idx(gzip.compress(idx(BYTES) + b"\0"), "images-idx3-ubyte.gz"),
        "240 bytes, but more are there",
    ),
    "gz that holds less": (
        bad_idx(gzip.compress(idx(BYTES, shape=(13, 5, 4))), "images-idx3-ubyte.gz"),
        "260 bytes, but only 240 are there",
    ),
    "header that lies": (bad_idx(idx(BYTES, shape=(12, 5, 5))), "300 bytes, but 240 are there"),
    "negative count": (bad_idx(idx(BYTES, shape=(2**32 - 1, 5, 4))), "but 240 are there"),
    "sides that overflow": (bad_idx(idx(BYTES, shape=(2**31,) * 3)), "but 240 are there"),
    "no sample": (bad_idx(idx(BYTES[:0])), "at least one sample"),
    "header cut": (bad_idx(idx(BYTES)[:10]), "ends in its header"),
    "no IDX": (bad_idx(b"GIF89a"), "cannot be read as IDX"),
    "empty": (bad_idx(b""), "cannot be read as IDX"),
}


@pytest.mark.message
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_idx_file_is_a_sentence(name: str, tmp_path: Path) -> None:
    make, words = HOSTILE[name]
    with pytest.raises(InputError) as caught:
        load_data(make(tmp_path))
    assert words in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.message
def test_idx_without_labels_or_memory_is_told(tmp_path: Path) -> None:
    (tmp_path / "images-idx3-ubyte").write_bytes(idx(BYTES))
    with pytest.raises(DataError, match=r"there are no labels .* name that of the labels with --y"):
        load_data(str(tmp_path / "images-idx3-ubyte"))
    with pytest.raises(DataError, match=r"need 1.2 kB, more than the 1 kB"):
        read_idx(tmp_path / "images-idx3-ubyte", 1000)
    (tmp_path / "labels-idx1-ubyte").write_bytes(idx(Y[:5]))
    with pytest.raises(LabelError, match=r"labels-idx1-ubyte: .*12 samples, 5 labels"):
        load_data(str(tmp_path / "images-idx3-ubyte"))
    with pytest.raises(DataError, match=r"--x is for data that hold several arrays"):
        load_data(str(tmp_path / "images-idx3-ubyte"), x="a")


# ---- arrays


@pytest.mark.law
@pytest.mark.parametrize(
    ("names", "pair", "reference"),
    [
        ("y x", "x y", None),
        ("images labels other", "images labels", None),
        ("data target DESCR", "data target", None),
        ("X Y", "X Y", None),
        ("x_train y_train x_test y_test", "x_test y_test", "x_train y_train"),
        (
            "train_images train_labels val_images val_labels test_images test_labels",
            "test_images test_labels",
            "train_images train_labels",
        ),
        ("x y reference_x reference_y", "x y", "reference_x reference_y"),
        ("x_train y_train", "x_train y_train", None),
        ("features labels.npy", "features labels.npy", None),
        ("train_x train_y my_images my_labels", "my_images my_labels", None),
    ],
)
def test_arrays_are_found_by_their_names(names: str, pair: str, reference: str | None) -> None:
    found, other, _ = choose_pairs(names.split(), "d.npz")
    assert found == tuple(pair.split())
    assert other == (tuple(reference.split()) if reference else None)


@pytest.mark.law
def test_npz_as_keras_and_medmnist_write_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", test_images=BYTES, test_labels=Y[:, None].astype(np.uint8),
             train_images=BYTES[::-1], train_labels=Y[::-1, None].astype(np.uint8),
             class_names=np.array(["cat", "dog", "eel"]))  # fmt: skip
    data = load_data(str(tmp_path / "d.npz"))
    assert data.x.shape == (12, 5, 4)
    assert data.class_names == ("cat", "dog", "eel")
    assert torch.equal(data.reference_x.flip(0), data.x)
    assert data.split == "test_images may be attacked (12 samples); train_images is reference (12)"
    named = load_data(str(tmp_path / "d.npz"), x="train_images", y="test_labels")
    assert torch.equal(whole(named)[0], data.reference_x)


@pytest.mark.law
@pytest.mark.parametrize(
    "labels",
    [
        Y.astype(float),
        Y[:, None],
        Y.astype(np.int8),
        Y > 0,
        np.array(["c", "a", "b"])[Y],
        np.array([b"c", b"a", b"b"])[Y],
    ],
)
def test_labels_of_any_kind_become_class_numbers(labels: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=BYTES / 255, y=labels)
    data = load_data(str(tmp_path / "d.npz"))
    words = labels.dtype.kind in "US"
    assert data.class_names == (("a", "b", "c") if words else None)
    expected = np.array([2, 0, 1])[Y] if words else labels.reshape(-1).astype(int)
    assert whole(data)[1].tolist() == expected.tolist()


@pytest.mark.law
def test_words_of_both_parts_make_one_list_of_classes(tmp_path: Path) -> None:
    words = np.array(["dog", "cat", "eel"])[Y]
    np.savez(
        tmp_path / "d.npz", x=BYTES[Y > 0], y=words[Y > 0], reference_x=BYTES, reference_y=words
    )
    data = load_data(str(tmp_path / "d.npz"))
    assert data.class_names == ("cat", "dog", "eel")
    assert set(data.y.tolist()) == {0, 2}
    np.savez(tmp_path / "d.npz", x=BYTES, y=words, reference_x=BYTES, reference_y=Y)
    with pytest.raises(LabelError, match=r"y in d.npz and reference_y in d.npz differ"):
        load_data(str(tmp_path / "d.npz"))


@pytest.mark.law
def test_npy_beside_its_labels_and_a_folder_of_them(tmp_path: Path) -> None:
    for name, array in (
        ("x_test", BYTES),
        ("y_test", Y),
        ("x_train", BYTES[:6]),
        ("y_train", Y[:6]),
    ):
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "classes.txt").write_text("cat\ndog\neel\n")
    data = load_data(str(tmp_path / "x_test.npy"))
    assert whole(data)[1].tolist() == Y.tolist()
    assert data.class_names == ("cat", "dog", "eel")
    assert "The classes are named by classes.txt, which lies beside the data." in data.notes
    folder = load_data(str(tmp_path))
    assert (len(folder.x), len(folder.reference_x)) == (12, 6)
    named = load_data(str(tmp_path / "x_train.npy"), y="y_train.npy")
    assert len(named.x) + len(named.reference_x) == 6


@pytest.mark.message
@pytest.mark.parametrize(
    ("arrays", "options", "words"),
    [
        ({"a": BYTES, "b": Y}, {}, r"usual names.*it holds a, b. Name them with --x and --y"),
        ({"x": BYTES}, {}, r"it holds x\. Name"),
        ({"x": BYTES, "y": Y}, {"x": "z"}, "--x z is not in d.npz; it holds x, y"),
        ({"x": BYTES, "y": Y[:4]}, {}, "y in d.npz: .*12 samples, 4 labels"),
        ({"x": BYTES, "y": np.eye(3)[Y]}, {}, r"y in d.npz: .*one-hot. Pass y.argmax\(1\)"),
        ({"x": BYTES, "y": Y + 0.5}, {}, "y in d.npz: .*label 0 is 0.5"),
        ({"x": BYTES, "y": Y, "class_names": np.array(["a"])}, {}, "there are 1 class names: a"),
        ({"x": BYTES, "y": np.array(["a"] * 12, object)}, {}, r"array.astype\(str\)"),
        ({"x": BYTES.astype(str), "y": Y}, {}, "x in d.npz must hold numbers; its dtype is <U3"),
        ({"x": BYTES / 10, "y": Y}, {}, r"x in d.npz: Input range \[0, 25.5\] is outside"),
    ],
)
def test_arrays_that_do_not_fit_are_told(
    arrays: dict[str, np.ndarray], options: dict[str, str], words: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(InputError, match=words):
        load_data(str(tmp_path / "d.npz"), **options)


@pytest.mark.message
def test_a_hostile_npy_is_a_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", Y)
    np.save(tmp_path / "x.npy", np.array([{}], object))
    with pytest.raises(DataError, match=r"x.npy cannot be read as plain arrays: .* pickle"):
        load_data(str(tmp_path / "x.npy"))
    np.save(tmp_path / "x.npy", BYTES)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-9])
    with pytest.raises(DataError, match=r"x.npy declares shape .* 240 bytes, but 231 are there"):
        load_data(str(tmp_path / "x.npy"))
    (tmp_path / "x.npy").write_bytes(content.replace(b"(12, 5, 4)", b"(-2, 5, 4)"))
    with pytest.raises(DataError, match=r"impossible shape"):
        load_data(str(tmp_path / "x.npy"))
    (tmp_path / "y.npy").unlink()
    with pytest.raises(DataError, match=r"Beside x.npy there are no labels by the usual names"):
        load_data(str(tmp_path / "x.npy"))
    with pytest.raises(DataError, match=r"There is no data file '.*none.npy'"):
        load_data(str(tmp_path / "none.npy"))


# ---- tables


def table_of(bunch: object) -> pa.Table:
    columns = dict(zip(bunch.feature_names, bunch.data.T, strict=True))
    return pa.table({**columns, "kind": bunch.target_names[bunch.target]})


@pytest.mark.oracle
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_real_tables_are_what_scikit_learn_says(load, kind: str, tmp_path: Path) -> None:
    bunch, path = load(), tmp_path / f"t.{kind}"
    (pa.csv.write_csv if kind == "csv" else pq.write_table)(table_of(bunch), path)
    data = load_data(str(path), bounds=(0.0, 5000.0))
    x, y = whole(data)
    np.testing.assert_allclose(x, bunch.data, rtol=1e-6)  # float32
    names = np.array(data.class_names)
    assert names[y].tolist() == bunch.target_names[bunch.target].tolist()
    assert "The label is the last column of t." in data.notes[0]
    one = load_data(str(path), x=bunch.feature_names[2], y="kind", bounds=(0.0, 5000.0))
    np.testing.assert_allclose(whole(one)[0][:, 0], bunch.data[:, 2], rtol=1e-6)


@pytest.mark.law
@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a,b,label\n0.5,1,0\n0.25,0,1\n0.5,1,0\n", 2),
        ("label;a;b\n0;0.5;1\n1;0.25;0\n0;0.5;1\n", 2),
        ("0.5,1,cat\n0.25,0,dog\n0.5,1,cat\n", 2),  # no names, as UCI's iris.data
        (",a,b,y\n0,0.5,1,0\n1,0.25,0,1\n2,0.5,1,0\n", 2),  # pandas' index
        ("\ufeffa,b,target\n0.5,true,0\n0.25,false,1\n0.5,true,0\n", 2),
        ("0,1,2\n0.5,1,0\n0.25,0,1\n0.5,1,0\n", 2),  # pandas' counted columns
    ],
)
def test_csv_as_people_write_it(text: str, columns: int, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text, "utf-8")
    x, y = whole(load_data(str(tmp_path / "t.csv")))
    assert x.tolist() == [[0.5, 1], [0.25, 0], [0.5, 1]]
    assert y.tolist() == [0, 1, 0]


@pytest.mark.message
@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("sex,age,y\nm,0.3,0\nf,0.2,1\n", {}, r"hold string: sex.*get_dummies.*--x age\."),
        ("age,y\n0.3,0\n,1\n", {}, "Column 'age' of t.csv has 1 empty cells, the first in row 1"),
        ("a,y\n0.3,\n0.1,1\n", {}, r"Column 'y' of t.csv .*is empty in row 0"),
        ("a,y\n0.3,1\n", {"y": "z"}, "--y must name one column of t.csv; 'z' .* none. Its .* a, y"),
        ("a,a,y\n1,1,1\n", {"x": "a"}, "'a' is the name of 2"),
        (
            "a,price\n0.3,1.7\n0.1,1.2\n",
            {},
            r"Column 'price' of t.csv \(--y names another\): .*regression",
        ),
        ("a,y\n0.3,1,5\n", {}, r"t.csv cannot be read as CSV: .*2 columns, got 3"),
        ("a\n1\n", {}, "1 columns; at least one row, a column of inputs and one of labels"),
        ("a,y\n", {}, "t.csv has 0 rows"),
        ("", {}, "t.csv cannot be read as CSV"),
        ("a\0,y\n1,1\n", {}, "is not text"),
    ],
)
def test_tables_that_do_not_fit_are_told(
    text: str, options: dict[str, str], words: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(text, "utf-8")
    with pytest.raises(InputError, match=words):
        load_data(str(tmp_path / "t.csv"), **options)


@pytest.mark.law
@pytest.mark.parametrize("name", ["t.csv.gz", "t.tsv.gz"])
def test_a_packed_table_is_the_table(name: str, tmp_path: Path) -> None:
    text = "a,b,kind\n" + "\n".join(f"0.{it},0.5,{'ab'[it % 2]}" for it in range(8))
    text = text.replace(",", "\t") if "tsv" in name else text
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    (tmp_path / name[:-3]).write_text(text)
    packed, plain = (load_data(str(tmp_path / it)) for it in (name, name[:-3]))
    assert torch.equal(packed.x, plain.x)
    assert packed.feature_names == ("a", "b")
    assert packed.class_names == ("a", "b")
    (tmp_path / "test.csv.gz").write_bytes((tmp_path / name).read_bytes()[:-9])
    with pytest.raises(DataError, match=r"test.csv.gz cannot be unpacked"):
        load_data(str(tmp_path / "test.csv.gz"))


@pytest.mark.message
def test_a_packed_table_is_no_bomb(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("worldline.loading.tables.BOMB_SIZE", 1000)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"0,1\n" * 10**5))
    with pytest.raises(DataError, match="unpacks to more than"):
        load_data(str(tmp_path / "t.csv.gz"))


@pytest.mark.law
def test_columns_of_an_npz_have_their_names(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((12, 3), np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=Y, feature_names=["a", "b", "c"])
    assert load_data(str(tmp_path / "d.npz")).feature_names == ("a", "b", "c")
    np.savez(tmp_path / "d.npz", x=x, y=Y, feature_names=["a", "b"])
    with pytest.raises(DataError, match=r"feature_names in d.npz are 2 names; x has shape"):
        load_data(str(tmp_path / "d.npz"))


@pytest.mark.message
def test_hostile_tables_are_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(",".join("x" * 10**7) + "\n")
    with pytest.raises(DataError, match=r"first line of t.csv is longer than 16.8 MB"):
        load_data(str(path))
    path.write_text("," * 10**7 + "\n")
    with pytest.raises(DataError, match=r"t.csv has 10,000,001 columns; at most 100,000 are read"):
        load_data(str(path))
    path.write_text("a,y\n" + "1,1\n" * 1000)
    with pytest.raises(DataError, match=r"The rows of t.csv need 32 kB, more than the 10 kB"):
        load_data(str(path), limit=10_000)
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [0.0] * 10**6, "y": [0] * 10**6}), path)  # 2 kB for 16 MB
    with pytest.raises(DataError, match=r"t.parquet need 24 MB, more than the 10 MB"):
        load_data(str(path), limit=10**7)
    content = path.read_bytes()
    for spoilt in (
        content[: len(content) // 2],
        content[:200] + bytes(50) + content[250:],
        b"PAR1",
    ):
        path.write_bytes(spoilt)
        with pytest.raises(DataError, match=r"t.parquet"):
            load_data(str(path))


@pytest.mark.law
def test_a_folder_of_tables_has_its_reference(tmp_path: Path) -> None:
    for name, rows in (("train-00000-of-00002", 4), ("train-00001-of-00002", 6), ("test", 6)):
        table = pa.table(
            {"image": [[0.0, i / 9] for i in range(rows)], "label": [0, 1] * (rows // 2)}
        )
        pq.write_table(table, tmp_path / f"{name}.parquet")
    data = load_data(str(tmp_path))
    assert (data.x.shape, data.reference_x.shape) == ((6, 2), (10, 2))
    assert data.split == "test may be attacked (6 samples); train is reference (10)"


# ---- Hugging Face's datasets on disk


def save_to_disk(
    folder: Path, pictures: list[Image.Image], *, bytes_: bool = True, **options
) -> Path:
    """As ``datasets`` 5.2 writes it."""
    folder.mkdir(parents=True)
    cells = []
    for number, it in enumerate(pictures):
        it.save(folder.parent / "it.png")
        content = (folder.parent / "it.png").read_bytes()
        cells.append({"bytes": content if bytes_ else None, "path": f"{number}.png"})
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    }
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    labels = pa.array([it % 2 for it in range(len(pictures))])
    table = pa.table({"image": pa.array(cells, kind), "label": labels}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema, **options) as sink:
        sink.write_table(table)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": None})
    )
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


GREY = [Image.fromarray(it) for it in BYTES]


@pytest.mark.oracle
def test_a_saved_dataset_has_pictures_and_class_names(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "d" / "test", GREY)
    save_to_disk(tmp_path / "d" / "train", [Image.new("RGB", (4, 5), (255, 0, 0)), *GREY])
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    data = load_data(str(tmp_path / "d"), bounds=(-1.0, 1.0))
    assert data.class_names == ("cat", "dog")
    assert (data.x.shape, data.reference_x.shape) == ((12, 3, 5, 4), (13, 3, 5, 4))
    torch.testing.assert_close(data.x[:, 1], torch.from_numpy(BYTES) / 127.5 - 1)
    assert data.reference_x[0, :, 0, 0].tolist() == [1, -1, -1]
    alone = load_data(str(tmp_path / "d" / "test"))
    torch.testing.assert_close(whole(alone)[0][:, 0], torch.from_numpy(BYTES) / 255)


@pytest.mark.message
def test_hostile_saved_datasets_are_a_sentence(tmp_path: Path) -> None:
    packed = pa.ipc.IpcWriteOptions(compression="zstd")
    folder = save_to_disk(tmp_path / "packed", GREY, options=packed)
    with pytest.raises(DataError, match=r"packed buffers"):
        load_data(str(folder))
    folder = save_to_disk(tmp_path / "named", GREY, bytes_=False)
    with pytest.raises(DataError, match=r"row 0, only its name '0.png', which is not opened"):
        load_data(str(folder))
    folder = save_to_disk(tmp_path / "mixed", [*GREY, Image.new("L", (3, 3))])
    with pytest.raises(ShapeError, match=r"have 2 sizes \(3×3, 4×5\). Give --image-size"):
        load_data(str(folder))
    assert load_data(str(folder), image_size=4).x.shape[1:] == (1, 4, 4)
    arrow = folder / "data-00000-of-00001.arrow"
    content = arrow.read_bytes()
    for spoilt in (content[:700], content[:40] + bytes(60) + content[100:], b""):
        arrow.write_bytes(spoilt)
        with pytest.raises(DataError, match=r"data-00000-of-00001.arrow|mixed"):
            load_data(str(folder))
    for text in ('{"_data_files": [{"filename": "../../x"}]}', "[" * 10**5, "{}"):
        (folder / "state.json").write_text(text)
        with pytest.raises(DataError, match=r"state.json"):
            load_data(str(folder))


# ---- datasets of torch


SAMPLES = """
import numpy as np, torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

values = np.random.default_rng(0).integers(0, 256, (12, 5, 4), dtype=np.uint8)

class Items(Dataset):
    classes = ["cat", "dog", "eel"]
    def __init__(self, make): self.make = make
    def __len__(self): return 12
    def __getitem__(self, place): return self.make(torch.from_numpy(values[place]) / 255, place % 3)

class Labels: names = ["cat", "dog", "eel"]

pair = Items(lambda x, y: (x, y))
triple = Items(lambda x, y: (x, y, 7))
dicts = Items(lambda x, y: {"pixel_values": x, "label": y, "id": 3})
other = Items(lambda x, y: {"picture": x, "kind": y})
words = Items(lambda x, y: (x, pair.classes[y]))
column = Items(lambda x, y: (x, torch.tensor([float(y)])))
picture = Items(lambda x, y: (Image.fromarray((x * 255).round().byte().numpy()), y))
subset = Subset(pair, range(12))
loader = DataLoader(pair, batch_size=5)
dict_loader = lambda: DataLoader(dicts, batch_size=5)
shuffled = DataLoader(pair, batch_size=5, shuffle=True)
coloured = Items(lambda x, y: (Image.new("RGB" if y else "L", (4, 5), 255), y))
sizes = Items(lambda x, y: (Image.new("L", (4 + y, 5)), y))
batches = DataLoader(Items(lambda x, y: x), batch_size=5)
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "samples.py").write_text(SAMPLES)
    return f"{tmp_path}/samples.py:"


@pytest.mark.law
@pytest.mark.parametrize(
    "name", ["pair", "triple", "dicts", "words", "column", "picture", "subset", "loader",
             "dict_loader", "other"]
)  # fmt: skip
def test_whatever_a_dataset_gives_is_the_same(name: str, spec: str) -> None:
    options = {"x": "picture", "y": "kind"} if name == "other" else {}
    data = load_data(spec + name, **options)
    x, y = whole(data)
    torch.testing.assert_close(x.reshape(12, 5, 4), torch.from_numpy(BYTES) / 255)
    assert (y.tolist(), data.class_names) == (Y.tolist(), ("cat", "dog", "eel"))


@pytest.mark.law
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_pictures_that_a_dataset_gives_go_from_black_to_white(bounds, spec: str) -> None:
    data = load_data(f"{spec}picture", bounds=bounds)
    expected = torch.from_numpy(BYTES) / 255 * (bounds[1] - bounds[0]) + bounds[0]
    torch.testing.assert_close(whole(data)[0][:, 0], expected)


@pytest.mark.law
def test_a_shuffled_loader_is_told_and_gives_the_same_again(spec: str) -> None:
    before = torch.get_rng_state()
    one, other = (load_data(spec + "shuffled") for _ in range(2))
    assert torch.equal(one.x, other.x)
    assert "shuffle=False" in one.notes[0]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.law
def test_colour_among_grey_pictures_makes_all_coloured(spec: str) -> None:
    x, _ = whole(load_data(spec + "coloured"))
    assert x.shape == (12, 3, 5, 4)
    assert x[0].unique().tolist() == [1]


@pytest.mark.message
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sizes", r"Item 1 of .* shape \(1, 5, 5\), item 0 of \(1, 5, 4\).*Give --image-size N"),
        ("other", "Item 0 of .* has no x: it is a dict of picture, kind. Name the key with --x"),
        ("batches", r"Batch 0 of .* must be a pair \(x, y\)"),
    ],
)
def test_items_that_do_not_fit_are_told(name: str, words: str, spec: str) -> None:
    with pytest.raises(DataError, match=words):
        load_data(spec + name)


# ---- kinds


@pytest.mark.message
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("d.pt", b"PK\3\4", "can run code when it is opened; save the arrays with numpy.savez"),
        ("d.py", b"", "Name what makes the data in it: file.py:make"),
        ("d.tar", b"", "Unpack it first"),
        ("d.txt.gz", gzip.compress(b"a,y\n1,1\n", mtime=0), "when unpacked: unpack it first"),
        ("d.h5", b"\x89HDF\r\n\x1a\n", r"Save the arrays with numpy.savez\(path, x=x, y=y\)"),
        ("d.xlsx", b"PK\3\4", "Save it as .csv or .parquet"),
        ("d.dat", b"\x89DAT\r\n\x1a\n", r"begins with b'\\x89DAT.*Data is 'digits' or: an .npz"),
    ],
)
def test_an_unknown_kind_is_told_with_those_that_are_known(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        load_data(str(tmp_path / name))


@pytest.mark.message
def test_options_that_a_kind_does_not_take_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--y is for data of several arrays; 'digits' is none"):
        load_data("digits", y="label")
    with pytest.raises(DataError, match=r"There is no data file|image-size is for pictures"):
        load_data(str(tmp_path / "x.npz"), image_size=3)
    assert len({it.what for it in KINDS}) == len(KINDS)


@pytest.mark.law
def test_train_test_and_val_are_three_parts_not_three_classes(tmp_path: Path) -> None:
    for part in ("train", "test", "val"):
        for name, mode in (("cat", "L"), ("dog", "RGB" if part == "train" else "L")):
            (tmp_path / part / name).mkdir(parents=True)
            Image.new(mode, (3, 3)).save(tmp_path / part / name / "1.png")
    data = load_data(str(tmp_path))
    assert data.split == "test may be attacked (2 samples); train is reference (2)"
    assert data.x.shape == data.reference_x.shape == (2, 3, 3, 3)


# ---- the whole command


@pytest.mark.end_to_end
def test_pixels_from_0_to_255_are_judged_as_the_model_wants_them(digits, tmp_path: Path) -> None:
    """uint8 pictures and a model that wants 0…1: the accuracy is that of the scaled data."""
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(idx((digits.x[:200, 0] * 255).round().numpy()))
    )
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(digits.y[:200].numpy())))
    np.savez(tmp_path / "scaled.npz", x=(digits.x[:200] * 255).round() / 255, y=digits.y[:200])
    found = []
    for data in ("t10k-images-idx3-ubyte.gz", "scaled.npz"):
        options = ["linear", "--data", tmp_path / data, "--steps", 2, "--json"]
        result = CliRunner().invoke(
            commands, ["explore", *map(str, options), "--out", str(tmp_path / f"run {data}")]
        )
        assert result.exit_code == 0, result.output
        found.append(json.loads(result.stdout))
    assert found[0]["clean_accuracy"] == found[1]["clean_accuracy"] > 0.9
    assert any("divided by 255" in it for it in found[0]["notes"])
    assert not any("divided by 255" in it for it in found[1]["notes"])


@pytest.mark.end_to_end
def test_a_table_goes_through_the_command(tmp_path: Path) -> None:
    bunch = load_iris()
    pa.csv.write_csv(table_of(bunch), tmp_path / "iris.csv")
    (tmp_path / "nets.py").write_text("from torch import nn\nbuild = lambda: nn.Linear(4, 3)\n")
    options = [f"{tmp_path}/nets.py:build", "--data", f"{tmp_path}/iris.csv", "--y", "kind"]
    options += ["--bounds", "0,10", "--eps", "0.5", "--steps", "2", "--json"]
    result = CliRunner().invoke(commands, ["explore", *options, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["class_names"] == bunch.target_names.tolist()
    assert 'y = "kind"' in (tmp_path / "run" / "config.toml").read_text()


@pytest.mark.message
def test_the_reference_has_what_the_samples_leave(tmp_path: Path) -> None:
    for name in ("test", "train"):
        np.save(tmp_path / f"x_{name}.npy", BYTES)
        np.save(tmp_path / f"y_{name}.npy", Y)
        folder = tmp_path / "tables"
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table({"a": [0.5] * 12, "y": Y}), folder / f"{name}.parquet")
        save_to_disk(tmp_path / "saved" / name, GREY)
        for label in ("cat", "dog"):
            (tmp_path / "pictures" / name / label).mkdir(parents=True)
            GREY[0].save(tmp_path / "pictures" / name / label / "1.png")
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for place, enough in ((tmp_path, 2400), (folder, 550), (tmp_path / "pictures", 400)):
        assert len(load_data(str(place), limit=enough).reference_x)
        with pytest.raises(DataError, match=r"need .*, more than the .* that may be used"):
            load_data(str(place), limit=int(0.75 * enough))
    assert len(load_data(str(tmp_path / "saved"), limit=20_000).reference_x)
    pq.write_table(pa.table({"b": [0.5] * 12, "y": Y}), tmp_path / "tables" / "test-2.parquet")
    with pytest.raises(DataError, match="The tables of test differ"):
        load_data(str(tmp_path / "tables"))
