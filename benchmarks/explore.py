"""Claim: a stranger waits seconds: `worldline explore` under 30 s with an empty cache and 15 s
after; `--help` 100 ms.

On a ResNet with batch normalisation and 500 pictures of Fashion-MNIST (where its IDX files are
found; else of the digits, and the result says so) everything but the attack takes at most half of
the attack's time.

Also the default report: at most 2.5 MB, first paint under 1 s in headless Chromium. The floor of
`--help` is the interpreter that imports click and does nothing else.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import measure
import worldline as wl
from worldline import commands
from worldline.commands.explore import run as stages
from worldline.commands.rendering import write_report

CLAIM = (
    "explore ≤ 30 s (cache empty), ≤ 15 s (cached); --help ≤ 0.1 s; report ≤ 2.5 MB, first "
    "paint ≤ 1 s; on a ResNet with batch normalisation the rest is at most half of the attack"
)
FASHION = (
    Path("/usr/share/datasets/fashion-mnist"),
    Path("/usr/share/dataset-fashion-mnist"),
    Path(os.environ.get("FASHION_MNIST", "fashion-mnist")),
)
SAMPLES, TRAINED, ROUNDS = 500, 6000, 3
WORLDLINE = [str(Path(sys.executable).parent / "worldline")]


def seconds(command: list[str], cache: Path) -> float:
    start = time.perf_counter()
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "WORLDLINE_CACHE": str(cache)}
    )
    return time.perf_counter() - start


def median(values: list[float]) -> dict[str, float]:
    return {
        "seconds": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "rounds": len(values),
    }


def first_paint(page: Path) -> float | None:
    """Milliseconds from navigation to the first contentful paint; None without a browser."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        return None
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
    ):
        options.add_argument(flag)
    window = webdriver.Chrome(options=options, service=Service(driver))
    try:
        paints = []
        for _ in range(5):
            window.get(page.resolve().as_uri())
            time.sleep(2)
            script = "return performance.getEntriesByName('first-contentful-paint')[0].startTime"
            paints.append(float(window.execute_script(script)))
        return statistics.median(paints)
    finally:
        window.quit()


def idx(path: Path) -> Tensor:
    """The numbers of an IDX file, gzipped or not."""
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    sizes = [int.from_bytes(raw[4 + 4 * axis :][:4], "big") for axis in range(raw[3])]
    return torch.frombuffer(bytearray(raw[4 + 4 * raw[3] :]), dtype=torch.uint8).view(*sizes)


def pictures() -> tuple[str, dict[str, tuple[Tensor, Tensor]]]:
    """The data's name, and pictures with labels to train on and to attack."""
    for folder in FASHION:
        kinds = {"train": "train", "test": "t10k"}
        files = {
            (part, what): next(iter(sorted(folder.glob(f"{kind}-{what}*"))), None)
            for part, kind in kinds.items()
            for what in ("images", "labels")
        }
        if all(files.values()):
            read = {key: idx(path) for key, path in files.items() if path is not None}
            return "Fashion-MNIST", {
                part: (read[part, "images"][:, None] / 255, read[part, "labels"].long())
                for part in kinds
            }
    data = wl.zoo.digits()
    return "digits", {"train": (data.reference_x, data.reference_y), "test": (data.x, data.y)}


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.down = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu2(inner + self.down(x))
        return out


def resnet() -> nn.Module:
    """Six blocks in three stages; the factory that the command is given."""
    torch.manual_seed(0)
    widths = [16, 16, 16, 32, 32, 64, 64]
    blocks = [Block(one, other, 1 + (one < other)) for one, other in itertools.pairwise(widths)]
    stem = nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def rest_over_attack(here: Path) -> dict[str, Any]:
    """Seconds of the attack and of all the rest, page included, and their ratio in each round."""
    name, parts = pictures()
    model, (x, y) = resnet(), tuple(it[:TRAINED] for it in parts["train"])
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(2):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    weights, data = here / "weights.pt", here / "data.npz"
    torch.save(model.state_dict(), weights)
    (a, b), (c, d) = parts["test"], parts["train"]
    np.savez(
        data,
        **{"x": a[:1000].numpy(), "y": b[:1000].numpy()},
        **{"reference_x": c[:1000].numpy(), "reference_y": d[:1000].numpy()},
    )
    config = commands.config_of("explore")(
        model=f"{Path(__file__).resolve()}:resnet",
        weights=str(weights),
        data=str(data),
        eps="8/255",
        samples=SAMPLES,
    )
    attack: list[tuple[float, float]] = []
    inner = stages._attack_in_shards

    def now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def since(start: tuple[float, float]) -> tuple[float, float]:
        return time.perf_counter() - start[0], time.process_time() - start[1]

    @functools.wraps(inner)
    def timed(*given: Any) -> Tensor:
        start = now()
        twins = inner(*given)
        attack.append(since(start))
        return twins

    rest = []
    stages._attack_in_shards = timed
    try:
        for number in range(ROUNDS):
            start = now()
            write_report(commands.load("explore")(config, here / f"r{number}").folder)
            wall, cpu = since(start)
            rest.append((wall - attack[-1][0], cpu - attack[-1][1]))
    finally:
        stages._attack_in_shards = inner
    pairs = list(zip(rest, attack, strict=True))
    ratios = [one[0] / other[0] for one, other in pairs]
    return {
        "data": name,
        "samples": SAMPLES,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "attack_seconds": statistics.median(wall for wall, _ in attack),
        "rest_seconds": statistics.median(wall for wall, _ in rest),
        "processor_ratio": statistics.median(one[1] / other[1] for one, other in pairs),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
    }


def main() -> None:
    measure.threads()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        empty = [
            seconds([*WORLDLINE, "explore", "--out", str(here / f"e{i}")], here / f"cache{i}")
            for i in range(3)
        ]
        cached = [
            seconds([*WORLDLINE, "explore", "--out", str(here / f"c{i}")], here / "cache0")
            for i in range(3)
        ]
        help_times, floor = [], []
        for _ in range(21):
            help_times.append(seconds([*WORLDLINE, "--help"], here))
            floor.append(seconds([sys.executable, "-c", "import click"], here))
        page = here / "c0" / "report.html"
        result = {
            "explore, cache empty": median(empty),
            "explore, cached": median(cached),
            "--help": median(help_times),
            "floor of --help: import click": median(floor),
            "report_bytes": page.stat().st_size,
            "first_paint_milliseconds": first_paint(page),
            "rest_over_attack": rest_over_attack(here),
        }
    measure.write("explore", CLAIM, result)


if __name__ == "__main__":
    main()
