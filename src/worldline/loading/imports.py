"""Objects named as ``package.module:name`` or ``file.py:name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from worldline.errors import ModelError

__all__ = ["import_object"]


def import_object(spec: str) -> object:
    """The object that ``package.module:name`` or ``path/file.py:name`` names. Importing runs that module's code.

    Raises:
        ModelError: no such file, module or name, or the module raises on import; says which.

    >>> from worldline.loading import import_object
    >>> import_object("math:tau")
    6.283185307179586
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise ModelError(f"Expected 'package.module:name' or 'file.py:name'; got {spec!r}.")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_package(place)
    if not hasattr(module, name):
        offered = ", ".join(sorted(key for key in vars(module) if not key.startswith("_"))[:12])
        raise ModelError(f"{place} has no {name!r}; it has {offered or 'nothing public'}.")
    return getattr(module, name)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"There is no file {str(path)!r}. Give a path that exists from here, or package.module:name.")
    loader = importlib.util.spec_from_file_location(f"_worldline_user_{path.stem}", path.resolve())
    if loader is None or loader.loader is None:
        raise ModelError(f"{str(path)!r} cannot be imported as Python.")
    module = importlib.util.module_from_spec(loader)
    sys.modules[loader.name] = module  # dataclasses and pickling look their module up
    with _on_path(path.resolve().parent):
        try:
            loader.loader.exec_module(module)
        except Exception as error:
            raise ModelError(f"{str(path)!r} raised {type(error).__name__} on import: {error}.") from error
    return module


def _from_package(name: str) -> ModuleType:
    with _on_path(Path.cwd()):
        try:
            return importlib.import_module(name)
        except Exception as error:
            raise ModelError(
                f"The module {name!r} cannot be imported: {type(error).__name__}: {error}. Run from the folder that holds it, "
                "or install it."
            ) from error


class _on_path:  # noqa: N801
    """Let the user's module import its neighbours, for the time of the import."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __enter__(self) -> None:
        sys.path.insert(0, self.folder)

    def __exit__(self, *_: object) -> None:
        sys.path.remove(self.folder)
