"""Time rivals side by side, and write what was measured."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def side_by_side(
    contestants: dict[str, Callable[[], object]], floor: str, *, rounds: int = 9
) -> dict[str, dict[str, Any]]:
    """Run all contestants in turn, round by round, and give each one's time and its ratio to the
    floor of the same round.

    Machines drift; a ratio inside one round does not. The first round warms up and is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            gc.collect()
            start = time.perf_counter()
            run()
            if number:
                times[name].append(time.perf_counter() - start)
    table = {}
    for name, seconds in times.items():
        ratios = [mine / base for mine, base in zip(seconds, times[floor], strict=True)]
        table[name] = {
            "seconds": statistics.median(seconds),
            "ratio": statistics.median(ratios),
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
            "rounds": rounds,
        }
    return table


def peak_mebibytes(script: str, *arguments: str) -> float:
    """Peak resident memory of a Python script in a process of its own, in MiB."""
    program = f"{script}\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1]) / 1024


def threads() -> int:
    """Benchmarks use the processors that there are, unless ``--threads`` says otherwise."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    number: int = parser.parse_args().threads
    torch.set_num_threads(number)
    return number


def write(name: str, claim: str, result: dict[str, Any]) -> None:
    """Write one benchmark's JSON, with the versions and the machine."""
    document = {
        "benchmark": name,
        "claim": claim,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        **result,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    print(json.dumps(document, indent=2))
