"""A child process in which a file is opened first, with little memory, time and rights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

from worldline.errors import ModelError
from worldline.files import shorten

__all__ = ["tried_in_child"]

SECONDS = 120
SPARE = 2 * 2**30  # bytes beside four copies of the file: what torch takes to build and run a graph
CHILD = Path(__file__).with_name("child.py")


def tried_in_child(
    content: bytes,
    shape: list[int],
    name: str,
    *,
    kind: Literal["pt2", "onnx"] = "pt2",
    seconds: float = SECONDS,
    spare: int = SPARE,
) -> None:
    """Open an exported program or an ONNX graph in a child process and run it once.

    It returns if that went well.

    The child (``child.py``) gets the bytes through a pipe. Its memory and processor time are
    limited by the system (on Linux and macOS), and an audit hook ends it when anything tries to
    start a program, connect, or open a file for writing. An audit hook is no wall: native code
    could get around it. It is a second net under the check of the archive, not in place of it.

    Args:
        content: the archive, or the graph.
        shape: of the zeros.
        name: the file, for the message.
        kind: which of the two.
        seconds: how long the child may take.
        spare: bytes of memory beyond what the idle library has and four copies of the content.

    Raises:
        ModelError: it failed, and how.

    >>> tried_in_child(b"no archive", [1, 2], "m.pt2", seconds=0.01)
    Traceback (most recent call last):
    worldline.errors.ModelError: m.pt2 took more than 0.01 seconds to open in a child process, and
        is not opened here.
    """
    order = json.dumps(
        {"kind": kind, "shape": shape, "memory": spare + 4 * len(content), "seconds": int(seconds)}
    )
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(CHILD), order],
            input=content,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{name} took more than {seconds:g} seconds to open in a child process, and is not "
            "opened here."
        ) from error
    if done.returncode == 0 and done.stdout.endswith(b"opened"):
        return
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    reason = lines[-1] if lines else f"it ended with {done.returncode}"
    raise ModelError(
        f"{name} was opened in a child process first, and failed there: {shorten(reason, 400)}. It "
        "is not opened here. Export it again."
    )
