"""Claim: the collapse experiment takes under 3 s and `worldline encode all` under 60 s; every
number is its law's.

The collapse is timed in a fresh process on one thread, as the command runs it, without imports and
without its page; the command as a whole stands beside it, at the published and at the quick
settings, and the floor of any command: the interpreter that imports what a run needs and does
nothing else. Times are of the processor, which others on the machine do not lengthen.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
from explore import WORLDLINE, median

CLAIM = (
    "collapse (5,000 unseen vectors, five depths) ≤ 3 s, encode all ≤ 60 s of the processor; "
    "measured as the exact law says"
)
ROUNDS = 1  # the processor's time hardly varies
FLOOR = "floor: imports of the command"
NEEDED = "import worldline.commands.encode.command"
COLLAPSE = """
import time, torch
from worldline.encoder.experiments import Collapse
torch.set_num_threads(1)
start = time.process_time()
Collapse().run()
print(time.process_time() - start)
"""


def processor_seconds(command: list[str], cache: Path) -> float:
    """What a command and its children took of the processor, on one thread."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    settings = {**os.environ, "WORLDLINE_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=settings)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    measure.threads()
    times: dict[str, list[float]] = {
        "collapse": [],
        "encode collapse": [],
        FLOOR: [],
        "encode all": [],
        "encode all --setting quick": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        cache = Path(os.environ.get("WORLDLINE_CACHE", here / "cache"))
        for round_number in range(ROUNDS):
            for name in ("collapse", "all", "all --setting quick"):
                out = here / f"{name.replace(' ', '')}{round_number}"
                command = [*WORLDLINE, "encode", *name.split(), "--quiet", "--out", str(out)]
                times[f"encode {name}"].append(processor_seconds(command, cache))
            done = subprocess.run(
                [sys.executable, "-c", COLLAPSE], check=True, capture_output=True, text=True
            )
            times["collapse"].append(float(done.stdout))
            times[FLOOR].append(processor_seconds([sys.executable, "-c", NEEDED], cache))
        summary = json.loads((here / "all0" / "summary.json").read_text("utf-8"))
    measured = [
        {"experiment": it["experiment"], **row}
        for it in summary["experiments"]
        for row in (
            *it["finding"]["measurements"],
            *(
                {"name": name.replace("_", " "), **found["evidence"]}
                for name, found in it["finding"]["controls"].items()
                if found and found["evidence"]
            ),
        )
    ]
    measure.write(
        "encode",
        CLAIM,
        {**{name: median(values) for name, values in times.items()}, "measured": measured},
    )


if __name__ == "__main__":
    main()
