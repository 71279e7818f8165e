"""Objects named as ``package.module:name`` or ``file.py:name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from worldline.errors import InputError, ModelError
from worldline.files import real_file

__all__ = ["import_object"]


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
    with _on_path(path.resolve().parent):
        try:
            loader.loader.exec_module(module)
        except Exception as error:
            raise failure(
                f"{str(path)!r} raised {type(error).__name__} on import: {error}."
            ) from error
    return module


def _from_package(name: str, failure: type[InputError]) -> ModuleType:
    with _on_path(Path.cwd()):
        try:
            return importlib.import_module(name)
        except Exception as error:
            raise failure(
                f"The module {name!r} cannot be imported: {type(error).__name__}: {error}. Run "
                "from the folder that holds it, or install it."
            ) from error


class _on_path:  # noqa: N801
    """Let the user's module import its neighbours, for the time of the import."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __enter__(self) -> None:
        sys.path.insert(0, self.folder)

    def __exit__(self, *_: object) -> None:
        sys.path.remove(self.folder)
