"""Whole modules as pickles or TorchScript: opening them can run anything, so only on demand."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import nn

from worldline.errors import ModelError
from worldline.files import reading, real_file, shorten
from worldline.loading.imports import user_code

__all__ = ["is_script", "load_pickled"]

SAFER = (
    "The safe way, once, where the model is at home: "
    "safetensors.torch.save_file(model.state_dict(), 'w.safetensors'); then --model "
    "file.py:factory --weights w.safetensors, where factory() builds the untrained model."
)


def load_pickled(path: Path, *, unsafe_pickle: bool = False) -> nn.Module:
    """A module from ``torch.save(model, path)``, a pickle, or TorchScript.

    Opening such a file runs what it says. It is opened only if ``unsafe_pickle``, without any
    check: do that for files that you trust as you trust a program. Its classes must be importable.

    Args:
        path: ``.pt``, ``.pth``, ``.pkl`` or ``.pickle``.
        unsafe_pickle: whether it may be opened.

    Raises:
        ModelError: it may not be, or it cannot be opened, or holds no module; says why and what to
            do instead.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(nn.Linear(2, 2), f"{folder}/m.pt")
    ...     load_pickled(Path(folder) / "m.pt", unsafe_pickle=True)
    Linear(in_features=2, out_features=2, bias=True)
    """
    real_file(path, "model file", ModelError)
    name, script = shorten(path.name), is_script(path)
    what = (
        "a TorchScript archive, whose code is run"
        if script
        else "a pickle, of a whole module or of weights, and opening it can run any code"
    )
    if not unsafe_pickle:
        raise ModelError(
            f"{name} is {what}; it is not opened. If you trust it as you trust a program, add "
            f"--unsafe-pickle. {SAFER}"
        )
    with user_code(f"{name} cannot be opened: it", f"Its classes must be importable. {SAFER}"):
        model = (
            torch.jit.load(path, map_location="cpu")
            if script
            else torch.load(path, map_location="cpu", weights_only=False)
        )
    if not isinstance(model, nn.Module):
        hint = (
            " It looks like a state dict: give it as --weights, beside a factory."
            if isinstance(model, dict)
            else ""
        )
        raise ModelError(f"{name} holds {type(model).__name__}, not a module.{hint}")
    return model.eval()


def is_script(path: Path) -> bool:
    """Whether a file is an archive of TorchScript: a zip with a folder of code.

    >>> is_script(Path(__file__))
    False
    """
    try:
        with reading(path, "model file", ModelError) as file, zipfile.ZipFile(file) as archive:
            return any("/code/" in member for member in archive.namelist())
    except (zipfile.BadZipFile, ModelError, ValueError, NotImplementedError):
        return False
