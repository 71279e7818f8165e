"""Objects named as ``package.module:name`` or ``file.py:name``."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from worldline.errors import InputError, ModelError
from worldline.files import real_file, reason_of, shorten

__all__ = ["ARGUMENTS", "import_object", "user_code"]


ARGUMENTS = r"TypeError: .*\(\) .*argument"
"""What is raised where a function is called without what it needs."""
OURS = Path(__file__).parents[1]
LIBRARIES = ("site-packages", "dist-packages", str(Path(traceback.__file__).parent), "<frozen")


@contextmanager
def user_code(
    what: str, advice: str = "", *, fits: str = "", error: type[InputError] = ModelError
) -> Iterator[None]:
    """Run code of the user's: whatever it raises but the user's own interrupt is ``error``.

    Args:
        what: ran, for the sentence.
        advice: what to do.
        fits: a regular expression of the failures (as ``Type: message``) that the advice fits; of
            any other, the place in the user's code is told instead.
        error: what to raise.

    >>> from worldline.loading.imports import user_code
    >>> with user_code("The factory build", "It takes no arguments.", fits="argument"):
    ...     raise TypeError("build() missing 1 required positional argument: 'width'")
    Traceback (most recent call last):
    worldline.errors.ModelError: The factory build raised TypeError: build() missing 1 required
        positional argument: 'width'. It takes no arguments.
    """
    try:
        yield
    except (KeyboardInterrupt, InputError):
        raise
    except BaseException as cause:
        raised = f"{what} raised {shorten(type(cause).__name__, 60)}: {reason_of(cause)}."
        fitting = re.search(fits, f"{type(cause).__name__}: {reason_of(cause)}")
        helps = advice if advice and fitting else _place(cause)
        raise error(f"{raised} {helps}".rstrip()) from cause


def _place(cause: BaseException) -> str:
    """Where it happened: the last line that is neither a library's nor ours."""
    for frame in reversed(traceback.extract_tb(cause.__traceback__)):
        library = any(it in frame.filename for it in LIBRARIES)
        if not library and OURS not in Path(frame.filename).parents:
            return f"It happened in {shorten(Path(frame.filename).name)}, line {frame.lineno}."
    return ""


_files: dict[Path, tuple[tuple[int, int], ModuleType]] = {}
"""Files that were run: when they were changed and their size, and the module."""


def import_object(spec: str, *, error: type[InputError] = ModelError) -> object:
    """The object that ``package.module:name`` or ``file.py:name`` names; its module's code is run.

    What is named so is code, and is run, with all that you may do; a file once in a process, until
    it is changed.

    Args:
        spec: what to import.
        error: what to raise.

    Raises:
        ModelError (or ``error``): no such file, module or name, or the module raises on import;
            says which.

    >>> from worldline.loading import import_object
    >>> import_object("math:tau")
    6.283185307179586
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise error(f"Expected 'package.module:name' or 'file.py:name'; got {spec!r}.")
    module = (
        _from_file(Path(place), error) if place.endswith(".py") else _from_package(place, error)
    )
    if not hasattr(module, name):
        offered = ", ".join(sorted(key for key in vars(module) if not key.startswith("_"))[:12])
        raise error(f"{place} has no {name!r}; it has {offered or 'nothing public'}.")
    return getattr(module, name)


def _from_file(path: Path, failure: type[InputError]) -> ModuleType:
    """The module of a file, which is run once, and again when it was changed."""
    real_file(path, "file", failure)
    about = path.stat()
    stamp = about.st_mtime_ns, about.st_size
    place = path.resolve()
    if place in _files and _files[place][0] == stamp:
        return _files[place][1]
    loader = importlib.util.spec_from_file_location(f"_worldline_user_{path.stem}", path.resolve())
    if loader is None or loader.loader is None:
        raise failure(f"{str(path)!r} cannot be imported as Python.")
    module = importlib.util.module_from_spec(loader)
    sys.modules[loader.name] = module  # dataclasses and pickling look their module up
    said = f"On import {shorten(str(path))!r}"
    with _on_path(path.resolve().parent), user_code(said, error=failure):
        loader.loader.exec_module(module)
    _files[place] = stamp, module
    return module


def _from_package(name: str, failure: type[InputError]) -> ModuleType:
    advice, missing = "Run from the folder that holds it, or install it.", name.split(".", 1)[0]
    fits = rf"ModuleNotFoundError: No module named '{re.escape(missing)}[.\w]*'"
    with _on_path(_here()), user_code(f"The import of {name!r}", advice, fits=fits, error=failure):
        return importlib.import_module(name)


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError:  # the working folder is gone
        return Path()


class _on_path:  # noqa: N801
    """Let the user's module import its neighbours, for the time of the import."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __enter__(self) -> None:
        sys.path.insert(0, self.folder)

    def __exit__(self, *_: object) -> None:
        sys.path.remove(self.folder)
