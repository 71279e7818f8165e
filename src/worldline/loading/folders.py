"""Pictures in a folder for each class, as torchvision's ``ImageFolder`` lays them out."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from worldline.errors import DataError, ShapeError
from worldline.files import available_memory, real_file, shorten, size_text

__all__ = ["Pictures", "read_folders", "split_folders"]

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF"}
FORMATS |= {".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".ppm": "PPM", ".pgm": "PPM"}
GREY = ("1", "L")
COLOURED = ("P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "PA", "RGBX")
LARGEST_SIDE = 20_000  # pixels of one picture's side, before it is made smaller
LARGEST_PICTURE = 10**8  # pixels of one picture


@dataclass(frozen=True)
class Pictures:
    """What a folder held.

    Attributes:
        x: (N, C, H, W) float32 in [0, 1]; one channel if every picture is grey, else three.
        y: (N,) places in ``class_names``.
        class_names: the subfolders' names, sorted.
    """

    x: Tensor
    y: Tensor
    class_names: tuple[str, ...]


def split_folders(folder: Path) -> tuple[Path, Path | None]:
    """The folder of the samples and that of the reference.

    These are ``test`` (or ``val``) and ``train``, if the folder holds just these two.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     for name in ("train", "val"):
    ...         (Path(place) / name).mkdir()
    ...     samples, reference = split_folders(Path(place))
    >>> samples.name, reference.name
    ('val', 'train')
    """
    names = {it.name for it in _subfolders(folder)}
    for test in ("test", "val", "valid"):
        if names == {"train", test}:
            return folder / test, folder / "train"
    return folder, None


def read_folders(folder: Path, *, image_size: int = 0, limit: int | None = None) -> Pictures:
    """Pictures by class from ``FOLDER/class_name/picture.png``.

    The first of each class come first, then the second, in the order of names.

    Every picture's size is read from its header, and the sum compared with the limit, before one is
    decoded. Pixels come as float32 in [0, 1]; transparency is dropped, palettes and CMYK become
    RGB; of moving pictures the first frame is taken. Files of other endings, and those whose name
    begins with a dot, are passed over.

    Args:
        folder: holds one subfolder for each class and nothing deeper.
        image_size: 0 if all pictures have one size; else the shorter side is resized to it
            (bilinear, antialiased) and the centre is cut out.
        limit: bytes that the pixels may take as float32; default: half of the memory that is
            available.

    Raises:
        DataError: no classes, an empty class, what is no picture, a picture bomb, a link out of the
            folder, or more than the limit.
        ShapeError: different sizes and no ``image_size``.

    Cost: one decoded picture beside the result.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     for name, grey in (("cat", 0), ("dog", 255)):
    ...         (Path(place) / name).mkdir()
    ...         Image.new("L", (4, 3), grey).save(Path(place) / name / "1.png")
    ...     found = read_folders(Path(place))
    >>> found.x.shape, found.y.tolist(), found.class_names, float(found.x.max())
    (torch.Size([2, 1, 3, 4]), [0, 1], ('cat', 'dog'), 1.0)
    """
    limit = available_memory() // 2 if limit is None else limit
    classes = _subfolders(folder)
    if len(classes) < 2:
        raise DataError(
            f"{shorten(str(folder))!r} holds {len(classes)} subfolders; one for each of at least "
            "two classes is expected, with pictures inside: FOLDER/cat/1.png."
        )
    ranked = [
        (rank, place, file)
        for place, name in enumerate(classes)
        for rank, file in enumerate(_pictures(name, folder))
    ]
    # one of each class in turn: the first N are of all classes
    found = [(place, file) for _, place, file in sorted(ranked)]
    headers = [_header(file) for _, file in found]
    sizes = {size for size, _ in headers}
    if len(sizes) > 1 and not image_size:
        told = ", ".join(f"{width}×{height}" for width, height in sorted(sizes)[:4])
        raise ShapeError(
            f"The pictures in {shorten(str(folder))!r} have {len(sizes)} sizes "
            f"({told}{', …' if len(sizes) > 4 else ''}). Give --image-size N: it resizes and cuts "
            "out the centre."
        )
    width, height = (image_size, image_size) if image_size else next(iter(sizes))
    channels = 1 if all(mode in GREY for _, mode in headers) else 3
    if (needed := 4 * len(found) * channels * width * height) > limit:
        raise DataError(
            f"{len(found):,} pictures of {width}×{height} need {size_text(needed)} as float32, "
            f"more than the {size_text(limit)} that may be used. Give a smaller --image-size, or "
            "fewer pictures."
        )
    x = torch.empty(len(found), channels, height, width)
    for row, (_, file) in enumerate(found):
        x[row] = _decoded(file, "L" if channels == 1 else "RGB", image_size)
    return Pictures(
        x, torch.tensor([place for place, _ in found]), tuple(it.name for it in classes)
    )


def _subfolders(folder: Path) -> list[Path]:
    try:
        entries = sorted(
            it for it in folder.iterdir() if it.is_dir() and not it.name.startswith(".")
        )
    except (OSError, ValueError) as error:
        raise DataError(
            f"The folder {shorten(str(folder))!r} cannot be read: {shorten(str(error))}."
        ) from error
    for entry in entries:
        if not entry.resolve().is_relative_to(folder.resolve()):
            raise DataError(
                f"{shorten(entry.name, 60)!r} in {shorten(str(folder))!r} is a link that leads out "
                f"of it (to {shorten(str(entry.resolve()))!r}). Copy the pictures into the folder."
            )
    return entries


def _pictures(folder: Path, root: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = sorted(
            it.name
            for it in entries
            if Path(it.name).suffix.lower() in FORMATS and not it.name.startswith(".")
        )
    if not names:
        raise DataError(
            f"The class {shorten(folder.name, 60)!r} in {shorten(str(root))!r} has no pictures "
            f"({', '.join(FORMATS)}). Remove the folder, or fill it."
        )
    return [real_file(folder / name, "picture", DataError, inside=root) for name in names]


def _open(file: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of Pillow, about sizes that are judged here and damage that raises later
        return Image.open(file, formats=(FORMATS[file.suffix.lower()],))


def _header(file: Path) -> tuple[tuple[int, int], str]:
    shown = f"{shorten(file.parent.name, 40)}/{shorten(file.name, 60)}"
    try:
        with _open(file) as image:
            size, mode = image.size, image.mode
    except Exception as error:
        raise DataError(
            f"{shown} cannot be read as a {file.suffix} picture: {_reason(error)}. Remove it, or "
            "save it again."
        ) from error
    if max(size) > LARGEST_SIDE or size[0] * size[1] > LARGEST_PICTURE or min(size) < 1:
        raise DataError(
            f"{shown} declares {size[0]:,}×{size[1]:,} pixels; at most {LARGEST_PICTURE:,} in all "
            f"and {LARGEST_SIDE:,} a side are decoded. Make it smaller."
        )
    if mode not in GREY + COLOURED:
        raise DataError(
            f"{shown} has the mode {mode}, whose white is not known. Convert it to 8 bits a "
            "channel (mode L or RGB)."
        )
    return size, mode


def _decoded(file: Path, mode: str, image_size: int) -> Tensor:
    shown = f"{shorten(file.parent.name, 40)}/{shorten(file.name, 60)}"
    try:
        with warnings.catch_warnings(), _open(file) as image:
            warnings.simplefilter("ignore")
            picture = image.convert(mode)
    except Exception as error:  # decoders of damaged pictures raise anything
        raise DataError(
            f"{shown} cannot be decoded: {_reason(error)}. Remove it, or save it again."
        ) from error
    if image_size:
        scale = image_size / min(picture.size)
        width, height = (max(round(scale * side), image_size) for side in picture.size)
        left, top = (width - image_size) // 2, (height - image_size) // 2
        box = (
            left / scale,
            top / scale,
            min((left + image_size) / scale, picture.size[0]),
            min((top + image_size) / scale, picture.size[1]),
        )
        picture = picture.resize((image_size, image_size), Image.Resampling.BILINEAR, box=box)
    pixels = torch.from_numpy(np.array(picture, dtype=np.float32) / 255)
    return pixels.unsqueeze(0) if mode == "L" else pixels.permute(2, 0, 1)


def _reason(error: BaseException) -> str:
    return shorten(str(error).splitlines()[0] if str(error) else type(error).__name__, 200).rstrip(
        "."
    )
