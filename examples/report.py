"""A report without a notebook: the page as one file, the tables for pandas, figures for a paper.

The folder holds what was found; ``worldline report FOLDER`` draws it again.
"""

import sys
import tempfile
from pathlib import Path

import worldline as wl


def main(folder: Path) -> None:
    """Explore into a folder, and say what lies there."""
    data = wl.zoo.digits()
    result = wl.explore(
        wl.zoo.load("mlp"), data.x, data.y, samples=50, steps=10, out=folder / "run"
    )
    page = result.report(folder / "report.html")
    print(f"{page.name}: {page.stat().st_size / 1e3:.0f} kB, works offline")

    samples = result.to_frame("samples")  # one row a sample
    worst = samples.groupby("label")["fooled"].mean().sort_values(ascending=False)
    print("fooled most, by class:", ", ".join(f"{k} ({v:.0%})" for k, v in worst.head(3).items()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else made))
