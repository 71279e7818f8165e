"""The one place that reads and writes files: what the system says becomes a sentence.

Of a file from outside it is asked first that it is one, that it is readable, and how much of it
there is; what is written is written beside its name, flushed, and renamed, so that a kill leaves
whole files, and a failure leaves none.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from worldline.errors import InputError, WorldlineError

__all__ = [
    "available_memory",
    "check_zip",
    "read_bytes",
    "read_text",
    "reading",
    "real_file",
    "reason_of",
    "replacing",
    "shorten",
    "size_text",
    "utf8",
]

LONGEST_TEXT = 256 * 2**20  # bytes of a text that is read whole: a longer one is something else
DIRECTORY_LIMIT = 16 * 2**20  # bytes of a zip's central directory: about 200,000 members
LARGEST_RATIO = 100  # what real data reach when they are packed; deflate itself ends at 1,032
BOMB_SIZE = 64 * 2**20  # below this, what is unpacked is harmless whatever its ratio
TAIL = 65_557  # bytes in which a zip's last record must begin: 22 and the longest comment


def real_file(
    path: str | Path, kind: str, error: type[WorldlineError], *, inside: Path | None = None
) -> Path:
    """The path, if it is a regular file that can be read: no folder, pipe or device.

    Args:
        path: as the user wrote it.
        kind: what the sentence calls it, such as ``data file``.
        error: what to raise.
        inside: a folder that the file must lie in after symbolic links are followed.

    >>> import tempfile
    >>> from worldline.errors import DataError
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     real_file(folder, "data file", DataError)
    Traceback (most recent call last):
    worldline.errors.DataError: The data file '...' is a folder, not a file.
    """
    shown = shorten(str(path))
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as cause:
        raise error(f"There is no {kind} {shown!r}. Give a path that exists from here.") from cause
    except (OSError, ValueError) as cause:
        raise error(f"The {kind} {shown!r} cannot be opened: {reason_of(cause)}.") from cause
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise error(f"The {kind} {shown!r} is {what}, not a file.")
    if not os.access(path, os.R_OK):
        raise error(f"The {kind} {shown!r} may not be read by you. Change its permissions.")
    if inside is not None and not Path(path).resolve().is_relative_to(inside.resolve()):
        raise error(
            f"{shown!r} leads out of {shorten(str(inside))!r} (to "
            f"{shorten(str(Path(path).resolve()))!r}). Copy the file into the folder."
        )
    return Path(path)


@contextmanager
def reading(
    path: str | Path, kind: str, error: type[WorldlineError], *, inside: Path | None = None
) -> Iterator[BinaryIO]:
    """A regular file, open for as long as the block lasts; what the system says becomes ``error``.

    >>> from worldline.errors import DataError
    >>> with reading(__file__, "source", DataError) as stream:
    ...     len(stream.read(3))
    3
    """
    file = real_file(path, kind, error, inside=inside)
    try:
        with file.open("rb") as stream:
            yield stream
    except OSError as cause:
        shown = shorten(str(path))
        raise error(f"The {kind} {shown!r} cannot be read: {reason_of(cause)}.") from cause


def read_bytes(
    path: str | Path, kind: str, error: type[WorldlineError], *, limit: int = LONGEST_TEXT
) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    >>> from worldline.errors import RunError
    >>> read_bytes("nowhere", "summary", RunError)
    Traceback (most recent call last):
    worldline.errors.RunError: There is no summary 'nowhere'. Give a path that exists from here.
    """
    with reading(path, kind, error) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        shown = shorten(str(path))
        raise error(
            f"The {kind} {shown!r} is longer than {size_text(limit)}: it is something else."
        )
    return content


def read_text(
    path: str | Path, kind: str, error: type[WorldlineError], *, limit: int = LONGEST_TEXT
) -> str:
    """The same as text in UTF-8.

    >>> import tempfile
    >>> from worldline.errors import RunError
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(b"\\xff"), file.flush()
    ...     read_text(file.name, "note", RunError)
    Traceback (most recent call last):
    worldline.errors.RunError: The note '...' is not text in UTF-8 (at byte 0).
    """
    content = read_bytes(path, kind, error, limit=limit)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as cause:
        shown = shorten(str(path))
        raise error(
            f"The {kind} {shown!r} is not text in UTF-8 (at byte {cause.start})."
        ) from cause


@contextmanager
def replacing(target: Path, error: type[WorldlineError]) -> Iterator[Path]:
    """A name to write to, which takes the target's place when the block ends well.

    >>> import tempfile
    >>> from worldline.errors import RunError
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.txt", RunError) as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text(), len(list(Path(folder).iterdir()))
    ('whole', 1)
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except (OSError, UnicodeError) as cause:
        shown = shorten(str(target))
        raise error(f"{shown!r} cannot be written: {reason_of(cause)}.") from cause
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def reason_of(error: BaseException) -> str:
    """The first line of what a failure says, in few words; of the system's, without the file.

    >>> reason_of(ValueError("\\x1b]0;title")), reason_of(KeyError())
    ('�]0;title', 'KeyError')
    """
    try:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    except Exception:  # of a class of somebody else's
        said = ""
    return shorten((said.strip().splitlines() or [type(error).__name__])[0], 300).rstrip(".")


def shorten(text: str, longest: int = 120) -> str:
    """Text for a message: printable, and of bearable length."""
    half = longest // 2
    kept = text if len(text) <= longest else f"{text[:half]}…{text[-half // 2 :]}"
    return "".join(letter if letter.isprintable() else "�" for letter in kept)


def utf8(name: str) -> str:
    """A name as UTF-8 can hold it: bytes of a file system that are no text become �.

    >>> utf8("caf\\udce9")
    'caf�'
    """
    return "".join("�" if "\ud800" <= letter <= "\udfff" else letter for letter in name)


def size_text(count: int) -> str:
    """Bytes for people, in powers of ten.

    >>> size_text(972_000)
    '972 kB'
    """
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return (
                f"{count / 10**power:,.3g} {unit}" if count < 10**12 else f"{count / 10**9:,.0f} GB"
            )
    return f"{count} bytes"


def available_memory() -> int:
    """Bytes that may be taken now: what is available, at most what the control group allows.

    >>> available_memory() > 0
    True
    """
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
        )
    except (OSError, StopIteration, ValueError):
        try:
            free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (ValueError, OSError, AttributeError):
            return 4 * 2**30  # a system that does not say
    try:
        group = Path("/sys/fs/cgroup")
        allowed = int((group / "memory.max").read_text("ascii")) - int(
            (group / "memory.current").read_text("ascii")
        )
    except (OSError, ValueError):
        return free
    return max(min(free, allowed), 0)


def check_zip(
    path: Path, kind: str, error: type[InputError], *, stored: bool = False
) -> list[zipfile.ZipInfo]:
    """The members of a zip, if what it declares can be true; nothing is unpacked.

    Args:
        path: a regular file.
        kind: what it should be, for the message.
        error: what to raise.
        stored: whether members must be there uncompressed, as torch writes them.

    Returns:
        One entry for each member: distinct plain relative names, inside the file, not encrypted.
    """
    name = shorten(path.name)
    with reading(path, kind, error) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - TAIL, 0))
        tail = file.read(TAIL)
    broken = f"Make it again: it is damaged, or was made to deceive ({size_text(size)})."
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) < place + 22:
        raise error(
            f"{name} cannot be read as {kind}: it has no directory of a zip archive at its end. "
            f"{broken}"
        )
    directory, start = struct.unpack("<II", tail[place + 12 : place + 20])
    if directory != 0xFFFFFFFF and (
        directory > DIRECTORY_LIMIT or (start != 0xFFFFFFFF and directory + start > size)
    ):
        raise error(
            f"{name} declares a zip directory of {size_text(directory)} at {start:,}, which "
            f"cannot be. {broken}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (
        zipfile.BadZipFile,
        ValueError,
        OSError,
        NotImplementedError,
        struct.error,
        OverflowError,
    ) as cause:
        raise error(f"{name} cannot be read as {kind}: {shorten(str(cause))}. {broken}") from cause
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise error(
            f"{name} holds two members of one name; which one counts is not defined. {broken}"
        )
    for member in members:
        _check_member(name, member, size, stored, error, broken)
    if sum(member.compress_size for member in members) > size:
        raise error(
            f"Members of {name} overlap: they declare more bytes than the file has. {broken}"
        )
    return members


def _check_member(
    name: str,
    member: zipfile.ZipInfo,
    size: int,
    stored: bool,
    error: type[InputError],
    broken: str,
) -> None:
    what = f"The member {shorten(member.filename, 60)!r} of {name}"
    parts = member.filename.replace("\\", "/").split("/")
    if (
        not member.filename
        or member.filename[0] in "/\\"
        or ".." in parts
        or not member.filename.isprintable()
    ):
        raise error(
            f"{what} has a name that leads out of the archive or that nobody could type. {broken}"
        )
    if member.orig_filename != member.filename or len(member.filename) > 500:
        raise error(f"{what} has a name with a null byte, or an endless one. {broken}")
    if member.flag_bits & 1:
        raise error(f"{what} is encrypted. Save it without a password.")
    if member.header_offset + member.compress_size > size:
        raise error(f"{what} ends beyond the end of the file. {broken}")
    plain = member.compress_type == zipfile.ZIP_STORED
    if (plain and member.compress_size != member.file_size) or (stored and not plain):
        raise error(
            f"{what} is declared as {size_text(member.file_size)} in "
            f"{size_text(member.compress_size)}. {broken}"
        )
    if member.file_size > BOMB_SIZE and member.file_size > LARGEST_RATIO * member.compress_size:
        raise error(
            f"{what} unpacks from {size_text(member.compress_size)} to "
            f"{size_text(member.file_size)}; data do not shrink that much, so it "
            "is taken for a zip bomb and left packed. If it is yours, save it uncompressed "
            "(numpy.savez)."
        )
