"""Data from a name: files and folders of many kinds, the digits, or a factory of a Dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldline import zoo
from worldline.errors import BoundsError, DataError, InputError, LabelError, ShapeError
from worldline.files import available_memory, read_text, shorten, utf8
from worldline.inputs import Data, labels_of, named_labels, samples_of, set_apart
from worldline.loading.archive import read_npy, read_npz
from worldline.loading.datasets import read_dataset
from worldline.loading.folders import read_picture_folder
from worldline.loading.found import Asked, Found, names_in
from worldline.loading.idx import first_bytes, is_idx, read_idx_file, read_idx_folder
from worldline.loading.saved import MARKS, read_saved
from worldline.loading.tables import TABLES, read_table_file, read_table_folder
from worldline.settings import Bounds

__all__ = ["Held", "beside", "divided", "load_data", "shaded"]

Reader = Callable[[Asked], tuple[Found, Found | None]]
NAMES = ("x", "y")
PICTURES = ("image_size",)


@dataclass(frozen=True)
class Kind:
    """A kind of data: how it is recognised, which reader opens it, which options it takes.

    Attributes:
        what: as refusals call it.
        files: whether it is this, from a file's name (in lower case) and its first bytes.
        folder: whether it is this, from the names of the files in a folder.
    """

    what: str
    read: Reader
    takes: tuple[str, ...]
    files: Callable[[str, bytes], bool] = lambda name, head: False
    folder: Callable[[list[str]], bool] = lambda names: False


KINDS = (  # the first that fits is it
    Kind(
        "an .npz of x and y (images and labels, x_test and y_test, …)",
        read_npz,
        NAMES,
        files=lambda name, head: name.endswith(".npz") or head[:4] == b"PK\3\4",
    ),
    Kind(
        "x.npy beside y.npy",
        read_npy,
        NAMES,
        files=lambda name, head: name.endswith(".npy") or head[:6] == b"\x93NUMPY",
        folder=lambda names: any(it.endswith(".npy") for it in names),
    ),
    Kind(
        "a .csv, .csv.gz or .parquet with a label column",
        read_table_file,
        (*NAMES, *PICTURES),
        files=lambda name, head: name.endswith(TABLES) or head[:4] == b"PAR1",
    ),
    Kind(
        "an IDX file of images beside that of labels (MNIST's format, .gz or not)",
        read_idx_file,
        NAMES,
        files=lambda name, head: is_idx(head) or "idx" in name,
    ),
    Kind(
        "a folder by save_to_disk",
        read_saved,
        (*NAMES, *PICTURES),
        folder=lambda names: bool(set(names) & set(MARKS)),
    ),
    Kind(
        "a folder of IDX files",
        read_idx_folder,
        NAMES,
        folder=lambda names: any("idx" in it for it in names),
    ),
    Kind(
        "a folder of tables called train and test",
        read_table_folder,
        (*NAMES, *PICTURES),
        folder=lambda names: any(it.endswith(TABLES) for it in names),
    ),
    Kind(
        "a folder with a subfolder of pictures for each class",
        read_picture_folder,
        PICTURES,
        folder=lambda names: True,
    ),
)
FACTORY = Kind(
    "file.py:factory of a torch Dataset or DataLoader", read_dataset, (*NAMES, *PICTURES)
)
ADVICE = {
    "Name what makes the data in it: file.py:make returns a Dataset or DataLoader.": (".py",),
    "It can run code when it is opened; save the arrays with numpy.savez(path, x=x, y=y).": (
        ".pt",
        ".pth",
        ".pkl",
        ".pickle",
    ),
    "Save the arrays with numpy.savez(path, x=x, y=y).": (".h5", ".hdf5", ".mat", ".tfrecord"),
    "Save it as .csv or .parquet, for instance with pandas.": (
        ".xlsx",
        ".xls",
        ".json",
        ".jsonl",
        ".feather",
        ".arrow",
        ".arff",
        ".sqlite",
        ".db",
    ),
    "Unpack it first.": (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst"),
}
CLASS_FILES = ("class_names.txt", "classes.txt")


@dataclass(frozen=True)
class Held:
    """Inputs and labels, the classes' and columns' names, and what was done to the inputs."""

    x: Tensor
    y: Tensor
    class_names: tuple[str, ...] | None = None
    conversions: tuple[str, ...] = ()
    feature_names: tuple[str, ...] | None = None


def load_data(
    spec: str,
    *,
    bounds: Bounds = (0.0, 1.0),
    image_size: int = 0,
    x: str = "",
    y: str = "",
    limit: int | None = None,
) -> Data:
    """Samples by name.

    Args:
        spec: ``digits``, or one of the kinds of :data:`KINDS`, where it stands how each is
            recognised:

            * an ``.npz`` with ``x`` (N, …) and ``y`` (N,), or under other usual names
              (:func:`worldline.loading.naming.choose_pairs`), and optionally ``class_names``;
            * ``x.npy`` beside ``y.npy``; an IDX file of images beside that of labels, packed or
              not; or a folder of such, where ``train`` becomes the reference of ``test``;
            * a ``.csv``, ``.tsv`` or ``.parquet`` with a label column
              (:func:`worldline.loading.columns.samples_in`), or a folder of them;
            * what ``datasets`` saved with ``save_to_disk``;
            * a folder with a subfolder of pictures for each class, or with ``train`` and ``test``
              (or ``val``) that are laid out so: then ``train`` is the reference;
            * ``package.module:make`` or ``file.py:make``, code that is run and returns a torch
              ``Dataset`` or ``DataLoader`` (:func:`worldline.loading.datasets.read_dataset`).

            Labels are taken as by :func:`worldline.inputs.named_labels`, inputs as by
            :func:`worldline.inputs.samples_of`. Where no reference comes with them, every second
            sample of each class becomes the reference for frames and class means. Of files, no
            pickle is opened, nothing is run, and declared sizes are checked first.
        bounds: lowest and highest legal value of x: an ε has no meaning without them. Pictures are
            scaled to them.
        image_size: pictures are resized and cut to this many pixels a side; 0 leaves them.
        x, y: the array, file, columns (``a,b,c``) or key that hold inputs and labels.
        limit: bytes that the samples may take; default: half of the memory that is available.

    Raises:
        DataError: no such data, damaged, deceiving or too large. ShapeError, BoundsError,
            LabelError: samples that do not fit.

    >>> import worldline as wl
    >>> len(wl.loading.load_data("digits").x)
    600
    """
    low, high = bounds
    if not (np.isfinite(bounds).all() and low < high):
        raise BoundsError(f"Bounds must be two finite numbers, low < high; got {low:g}, {high:g}.")
    given = {"x": x, "y": y, "image_size": image_size}
    if spec == "digits":
        _check_options(given, (), "'digits'")
        data = zoo.digits()
        if bounds != data.bounds:
            raise BoundsError(
                f"The digits lie in (0, 1); bounds ({low:g}, {high:g}) are not theirs. Leave "
                "--bounds out."
            )
        return data
    kind = _kind(spec)
    _check_options(given, kind.takes, f"{shorten(spec)!r} ({kind.what})")
    limit = available_memory() // 2 if limit is None else limit
    found, reference = kind.read(Asked(spec, x, y, image_size, limit))
    if reference is not None:
        found, reference = _alike(found, reference)
    if kind is FACTORY:
        name = spec.rpartition(":")[2]
    else:
        name = Path(spec).name or Path(spec).resolve().name
        found = _with_class_names(found, Path(spec))
    held = _held(found, bounds)
    if reference is None:
        return divided(spec, name, held, bounds)
    other = _held(replace(reference, class_names=held.class_names), bounds)
    split = (
        f"{found.part} may be attacked ({len(held.x):,} samples); {reference.part} is reference "
        f"({len(other.x):,})"
    )
    return replace(beside(name, held, other, bounds), split=split)


def _check_options(given: dict[str, object], takes: tuple[str, ...], what: str) -> None:
    for name, value in given.items():
        if value and name not in takes:
            use = "for pictures" if name == "image_size" else "for data of several arrays"
            raise DataError(f"--{name.replace('_', '-')} is {use}; {what} is none. Leave it out.")


def _kind(spec: str) -> Kind:
    """The kind of data that a name has."""
    path = Path(spec)
    if _is_there(path, Path.is_dir):
        names = [it.lower() for it in names_in(path)]
        return next(it for it in KINDS if it.folder(names))
    suffix = "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:])
    suffix = suffix.lower()
    named = next((it for it in KINDS if it.files(f"_{suffix}" if suffix else "", b"")), None)
    if named is not None:
        return named
    if ":" in spec:
        return FACTORY
    for advice, suffixes in ADVICE.items():
        if suffix in suffixes:
            raise DataError(f"{shorten(spec)!r} is no data that Worldline opens. {advice}")
    head = first_bytes(path) if _is_there(path, Path.is_file) else b""
    found = next((it for it in KINDS if it.files(path.name.lower(), head)), None)
    if found is not None:
        return found
    what = f"a file that begins with {head!r}" if head else "no file or folder"
    packed = " when unpacked: unpack it first" if suffix.endswith(".gz") and head else ""
    kinds = "; ".join(it.what for it in (*KINDS, FACTORY))
    raise DataError(f"{shorten(spec)!r} is {what}{packed}. Data is 'digits' or: {kinds}.")


def _is_there(path: Path, test: Callable[[Path], bool]) -> bool:
    try:
        return test(path)
    except (OSError, ValueError):
        return False


def _alike(found: Found, reference: Found) -> tuple[Found, Found]:
    """Words and pictures of both parts told in one way: grey beside coloured ones is coloured."""
    if found.pictures and isinstance(found.x, Tensor) and isinstance(reference.x, Tensor):
        channels = max(found.x.shape[1], reference.x.shape[1])
        found, reference = (
            replace(it, x=it.x.expand(-1, channels, -1, -1) if it.x.shape[1] == 1 else it.x)  # type: ignore[union-attr]
            for it in (found, reference)
        )
    if found.class_names is None:
        words = [_told(it)[1] for it in (found, reference)]
        if words[0] is not None and words[1] is not None:
            found = replace(found, class_names=tuple(sorted({*words[0], *words[1]})))
        elif words[0] is not words[1]:
            raise LabelError(
                f"Labels must be numbers in both parts or names in both; {found.y_told} and "
                f"{reference.y_told} differ."
            )
    return found, reference


def _with_class_names(found: Found, path: Path) -> Found:
    """With the names of a text file in the folder, or beside the file: one a line."""
    folder = path if path.is_dir() else path.parent
    file = next((it for it in CLASS_FILES if (folder / it).is_file()), None)
    if found.class_names is not None or file is None or _told(found)[1] is not None:
        return found
    lines = read_text(folder / file, "list of class names", DataError, limit=2**20).splitlines()
    names = tuple(utf8(it.strip()) for it in lines if it.strip())
    said = f"The classes are named by {file}, which lies beside the data."
    return replace(found, class_names=names, notes=(*found.notes, said))


def _told(found: Found) -> tuple[Tensor, tuple[str, ...] | None]:
    try:
        return named_labels(found.y, found.class_names)
    except LabelError as error:
        raise LabelError(f"{found.y_told}: {error}") from None


def _held(found: Found, bounds: Bounds) -> Held:
    """Through the one door of inputs and labels; of pictures, from [0, 1] to the bounds."""
    x = found.x
    done: tuple[str, ...] = ()
    if found.pictures:
        inputs = shaded(torch.as_tensor(x), bounds)
    else:
        if isinstance(x, np.ndarray):
            if x.dtype.kind not in "fiub":
                raise DataError(f"{found.x_told} must hold numbers; its dtype is {x.dtype}.")
            with np.errstate(all="ignore"):  # what overflows is not finite, and told as that
                x = x if x.dtype == np.uint8 else x.astype(np.float32)
        try:
            inputs, done = samples_of(x, bounds)
        except InputError as error:
            raise type(error)(f"{found.x_told}: {error}") from None
    labels, names = _told(found)
    try:
        labels = labels_of(labels, len(inputs))
    except LabelError as error:
        raise LabelError(f"{found.y_told}: {error}") from None
    if names is not None and len(names) <= int(labels.max()):
        raise LabelError(
            f"{found.y_told} goes up to {int(labels.max())}, but there are {len(names)} class "
            f"names: {shorten(', '.join(names))}."
        )
    names = names and tuple(shorten(it, 200) for it in names)  # and printable
    return Held(inputs, labels, names, (*found.notes, *done), found.feature_names)


def shaded(pixels: Tensor, bounds: Bounds) -> Tensor:
    """Pictures of bytes from black, the lower bound, to white, the upper one.

    >>> import torch
    >>> shaded(torch.tensor([0, 255], dtype=torch.uint8), (-1, 1))
    tensor([-1.,  1.])
    """
    return pixels / 255 * (bounds[1] - bounds[0]) + bounds[0]


def beside(name: str, held: Held, reference: Held, bounds: Bounds) -> Data:
    """Samples with a reference that came with them."""
    if held.x.shape[1:] != reference.x.shape[1:]:
        raise ShapeError(
            f"Inputs of the reference have shape {tuple(reference.x.shape[1:])}, those to explain "
            f"{tuple(held.x.shape[1:])}; they must be alike."
        )
    return Data(
        name=name,
        x=held.x,
        y=held.y,
        rows=torch.arange(len(held.x)),
        reference_x=reference.x,
        reference_y=reference.y,
        bounds=bounds,
        split=f"{len(held.x):,} samples may be attacked; {len(reference.x):,} reference samples "
        "come with them",
        class_names=held.class_names,
        feature_names=held.feature_names,
        conversions=tuple(dict.fromkeys((*held.conversions, *reference.conversions))),
    )


def divided(spec: str, name: str, held: Held, bounds: Bounds) -> Data:
    """Half of each class set apart as the reference."""
    x, y = held.x, held.y
    rows, apart = set_apart(y)
    if len(apart) == 0:
        raise DataError(
            f"{spec} has too few samples ({len(x)}) to set some apart as the reference; give "
            "reference_x and reference_y (in Python reference=(x, y))."
        )
    split = (
        f"every second sample of each class is reference ({len(apart):,}), the others may be "
        f"attacked ({len(rows):,})"
    )
    return Data(
        name=name,
        x=x[rows],
        y=y[rows],
        rows=rows,
        reference_x=x[apart],
        reference_y=y[apart],
        bounds=bounds,
        split=split,
        class_names=held.class_names,
        feature_names=held.feature_names,
        reference_rows=apart,
        conversions=held.conversions,
    )
