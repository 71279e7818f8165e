"""Claim: the collapse experiment takes under 3 s and `worldline encode all` under 60 s; every
number is its law's.

The collapse is timed in a fresh process on one thread, as the command runs it, without imports and
without its page; the command as a whole stands beside it, and the floor of any command: the
interpreter that imports what a run needs and does nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
from explore import WORLDLINE, median, seconds

CLAIM = (
    "collapse (5,000 unseen vectors, five depths) ≤ 3 s, encode all ≤ 60 s; measured as the "
    "exact law says"
)
FLOOR = "floor: imports of the command"
NEEDED = "import worldline.commands.encode.command"
COLLAPSE = """
import time, torch
from worldline.encoder.experiments import Collapse
torch.set_num_threads(1)
start = time.perf_counter()
Collapse().run()
print(time.perf_counter() - start)
"""


def main() -> None:
    measure.threads()
    times: dict[str, list[float]] = {
        "collapse": [],
        "encode collapse": [],
        FLOOR: [],
        "encode all": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        cache = Path(os.environ.get("WORLDLINE_CACHE", here / "cache"))
        for round_number in range(5):
            for name, out in (
                ("collapse", here / f"collapse{round_number}"),
                ("all", here / f"all{round_number}"),
            ):
                command = [*WORLDLINE, "encode", name, "--quiet", "--out", str(out)]
                times[f"encode {name}"].append(seconds(command, cache))
            done = subprocess.run(
                [sys.executable, "-c", COLLAPSE], check=True, capture_output=True, text=True
            )
            times["collapse"].append(float(done.stdout))
            times[FLOOR].append(seconds([sys.executable, "-c", NEEDED], cache))
        summary = json.loads((here / "all0" / "summary.json").read_text("utf-8"))
    measured = [
        {"experiment": it["experiment"], **row}
        for it in summary["experiments"]
        for row in (
            *it["finding"]["measurements"],
            *(found["evidence"] for found in it["finding"]["controls"].values() if found),
        )
        if row
    ]
    measure.write(
        "encode",
        CLAIM,
        {**{name: median(values) for name, values in times.items()}, "measured": measured},
    )


if __name__ == "__main__":
    main()
