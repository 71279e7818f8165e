"""Claim: `worldline encode collapse` takes under 3 s and `worldline encode all` under 60 s; every number is its law's.

The floor of a command is the interpreter that imports what any run needs and does nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import measure
from explore import WORLDLINE, median, seconds

CLAIM = "encode collapse (5,000 unseen vectors, five depths) ≤ 3 s, encode all ≤ 60 s; measured as the exact law says"


def main() -> None:
    measure.threads()
    times: dict[str, list[float]] = {"encode collapse": [], "floor: import worldline.runs": [], "encode all": []}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        cache = Path(os.environ.get("WORLDLINE_CACHE", here / "cache"))
        for round_number in range(5):
            for name, out in (("collapse", here / f"collapse{round_number}"), ("all", here / f"all{round_number}")):
                command = [*WORLDLINE, "encode", name, "--quiet", "--out", str(out)]
                times[f"encode {name}"].append(seconds(command, cache))
            times["floor: import worldline.runs"].append(
                seconds([sys.executable, "-c", "import worldline.runs"], cache)
            )
        summary = json.loads((here / "all0" / "summary.json").read_text("utf-8"))
    measured = [
        {"experiment": document["experiment"], **row}
        for document in summary["experiments"]
        for row in (*document["measurements"], *(it for it in document["controls"].values() if it["applies"]))
    ]
    measure.write("encode", CLAIM, {**{name: median(values) for name, values in times.items()}, "measured": measured})


if __name__ == "__main__":
    main()
