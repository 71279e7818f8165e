"""Run by sandbox.py as a process of its own: opens what comes on standard input, under limits.

When that went well it says ``opened``.

It imports nothing of Worldline, so that it starts fast and holds little.
"""

from __future__ import annotations

import io
import json
import os
import sys

__all__ = ["forbid", "main"]

EVENTS = (
    "subprocess. os.system os.exec os.posix_spawn os.spawn os.fork os.startfile os.kill pty. "
    "os.remove os.rename os.mkdir os.rmdir os.link os.symlink os.chmod os.chown os.truncate "
    "os.putenv shutil. socket. ftplib. smtplib. urllib. webbrowser. ctypes.dlopen"
)
FORBIDDEN = tuple(EVENTS.split())
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def forbid(event: str, arguments: tuple[object, ...]) -> None:
    """The audit hook: end the process where an event is forbidden."""
    if event == "open":
        _, mode, flags = arguments
        writes = isinstance(mode, str) and bool(set(mode) & set("wax+"))
        if not writes and not (isinstance(flags, int) and flags & WRITING):
            return
    elif not event.startswith(FORBIDDEN):
        return
    os.write(2, f"\nit tried {event} {str(arguments)[:200]!r}, which no model needs\n".encode())
    os._exit(9)


def main(order: dict[str, object], content: bytes) -> None:
    """Open the file and run its program once on zeros."""
    sys.dont_write_bytecode = True  # a write that would look like any other
    {"pt2": _run_exported, "onnx": _run_onnx}[str(order["kind"])](order, content)


def _run_onnx(order: dict[str, object], content: bytes) -> None:
    import numpy as np  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    _limit(order)
    sys.addaudithook(forbid)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    kinds = {"tensor(double)": "float64", "tensor(float16)": "float16"}
    session.run(None, {entry.name: np.zeros(order["shape"], kinds.get(entry.type, "float32"))})  # type: ignore[call-overload]


def _run_exported(order: dict[str, object], content: bytes) -> None:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    # what torch imports late writes temporary files
    torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(2, 2),)).module()
    _limit(order)
    sys.addaudithook(forbid)
    loaded = torch.export.load(io.BytesIO(content))
    module = loaded.module()
    with torch.no_grad():
        module(torch.zeros(order["shape"]))  # type: ignore[call-overload]


def _limit(order: dict[str, object]) -> None:
    try:
        import resource  # noqa: PLC0415

        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
    except (ImportError, FileNotFoundError):  # no such limits here; the parent's on time remains
        return
    memory, seconds = order["memory"], order["seconds"]
    assert isinstance(memory, int)
    assert isinstance(seconds, int)
    for limit, value in (
        (resource.RLIMIT_AS, taken + memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        _, highest = resource.getrlimit(limit)
        resource.setrlimit(
            limit, (value if highest == resource.RLIM_INFINITY else min(value, highest), highest)
        )


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]), sys.stdin.buffer.read())
    except BaseException as error:
        text = str(error).strip().splitlines() or [""]
        os.write(2, f"\n{type(error).__name__}: {text[0][:300]}\n".encode())
        os._exit(1)
    os.write(1, b"opened")
    os._exit(0)
