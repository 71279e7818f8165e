"""Objects named as ``package.module:name`` or ``file.py:name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from worldline.errors import InputError, ModelError
from worldline.files import real_file, reason_of, shorten

__all__ = ["import_object", "user_code"]


@contextmanager
def user_code(
    what: str, advice: str = "", *, error: type[InputError] = ModelError
) -> Iterator[None]:
    """Run code of the user's: whatever it raises but the user's own interrupt is ``error``.

    >>> from worldline.loading.imports import user_code
    >>> with user_code("The factory build", "It is called without arguments."):
    ...     raise SystemExit(3)
    Traceback (most recent call last):
    worldline.errors.ModelError: The factory build raised SystemExit: 3. It is called without ...
    """
    try:
        yield
    except (KeyboardInterrupt, InputError):
        raise
    except BaseException as cause:
        raised = f"{what} raised {shorten(type(cause).__name__, 60)}: {reason_of(cause)}."
        raise error(f"{raised} {advice}".rstrip()) from cause


def import_object(spec: str, *, error: type[InputError] = ModelError) -> object:
    """The object that ``package.module:name`` or ``file.py:name`` names; its module's code is run.

    What is named so is code, and is run, with all that you may do.

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
    real_file(path, "file", failure)
    loader = importlib.util.spec_from_file_location(f"_worldline_user_{path.stem}", path.resolve())
    if loader is None or loader.loader is None:
        raise failure(f"{str(path)!r} cannot be imported as Python.")
    module = importlib.util.module_from_spec(loader)
    sys.modules[loader.name] = module  # dataclasses and pickling look their module up
    said = f"On import {shorten(str(path))!r}"
    with _on_path(path.resolve().parent), user_code(said, error=failure):
        loader.loader.exec_module(module)
    return module


def _from_package(name: str, failure: type[InputError]) -> ModuleType:
    advice = "Run from the folder that holds it, or install it."
    with _on_path(_here()), user_code(f"The import of {name!r}", advice, error=failure):
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
