"""Pictures in a folder for each class, as torchvision's ``ImageFolder`` lays them out."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from worldline.errors import DataError
from worldline.files import real_file, reason_of, shorten, utf8
from worldline.loading.found import Asked, Found
from worldline.loading.naming import SAMPLES
from worldline.loading.pixels import FORMATS, Picture, read_pictures

__all__ = ["read_picture_folder", "split_folders"]


def read_picture_folder(asked: Asked) -> tuple[Found, Found | None]:
    """Pictures by class; of ``train`` and ``test`` (or ``val``), the first is the reference."""
    folder, other = split_folders(asked.path)
    samples = _read(folder, asked)
    reference = _read(other, asked.after(samples)) if other else None
    if reference and reference.class_names != samples.class_names:
        raise DataError(
            f"{samples.part} and {reference.part} in {asked.path.resolve().name} must hold the "
            f"same classes; got {len(samples.class_names or ())} and "
            f"{len(reference.class_names or ())}, of other names. Make the folders alike."
        )
    return samples, reference


def split_folders(folder: Path) -> tuple[Path, Path | None]:
    """The folder of the samples and that of the reference.

    These are ``test`` (or ``val``) and ``train``, if the folder holds nothing else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     for name in ("train", "val"):
    ...         (Path(place) / name).mkdir()
    ...     samples, reference = split_folders(Path(place))
    >>> samples.name, reference.name
    ('val', 'train')
    """
    names = [it.name for it in _subfolders(folder)]
    samples = [it for it in SAMPLES if it in names]
    if samples and "train" in names and not set(names) - {*SAMPLES, "train"}:
        return folder / samples[0], folder / "train"
    return folder, None


def _read(folder: Path, asked: Asked) -> Found:
    """Pictures from ``FOLDER/class_name/picture.png``, as :func:`read_pictures` reads them.

    The first of each class come first, then the second, in the order of names. Files of other
    endings, and those whose name begins with a dot, are passed over.

    Raises:
        DataError: no classes, an empty class, or a link out of the folder.
    """
    told, classes = repr(shorten(str(folder))), _subfolders(folder)
    if len(classes) < 2:
        raise DataError(
            f"{told} holds {len(classes)} subfolders; one for each of at least "
            "two classes is expected, with pictures inside: FOLDER/cat/1.png."
        )
    ranked = [
        (rank, place, file)
        for place, name in enumerate(classes)
        for rank, file in enumerate(_pictures(name, folder))
    ]
    # one of each class in turn: the first N are of all classes
    found = [(place, file) for _, place, file in sorted(ranked)]
    pictures = [
        Picture(f"{shorten(it.parent.name, 40)}/{shorten(it.name, 60)}", partial(_open, it))
        for _, it in found
    ]
    return Found(
        read_pictures(pictures, told, image_size=asked.image_size, limit=asked.limit),
        torch.tensor([place for place, _ in found]),
        f"the pictures in {told}",
        f"the classes in {told}",
        part=folder.name,
        class_names=tuple(utf8(it.name) for it in classes),
        pictures=True,
    )


def _subfolders(folder: Path) -> list[Path]:
    try:
        entries = sorted(
            it for it in folder.iterdir() if it.is_dir() and not it.name.startswith(".")
        )
    except (OSError, ValueError) as error:
        raise DataError(
            f"The folder {shorten(str(folder))!r} cannot be read: {reason_of(error)}."
        ) from error
    for entry in entries:
        if not entry.resolve().is_relative_to(folder.resolve()):
            raise DataError(
                f"{shorten(entry.name, 60)!r} in {shorten(str(folder))!r} is a link that leads out "
                f"of it (to {shorten(str(entry.resolve()))!r}). Copy the pictures into the folder."
            )
    return entries


def _pictures(folder: Path, root: Path) -> list[Path]:
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        shown = shorten(str(folder))
        raise DataError(f"The folder {shown!r} cannot be read: {reason_of(error)}.") from error
    names = [it for it in entries if Path(it).suffix.lower() in FORMATS and not it.startswith(".")]
    if not names:
        raise DataError(
            f"The class {shorten(folder.name, 60)!r} in {shorten(str(root))!r} has no pictures "
            f"({', '.join(FORMATS)}). Remove the folder, or fill it."
        )
    return [real_file(folder / name, "picture", DataError, inside=root) for name in names]


def _open(file: Path) -> Image.Image:
    return Image.open(file, formats=(FORMATS[file.suffix.lower()],))
