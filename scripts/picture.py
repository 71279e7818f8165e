"""Draw docs/pictures/report.png, the picture in README.md: the top of a real report.

    make picture

A small network learns Fashion-MNIST (Debian: apt-get install dataset-fashion-mnist), is explored at
ε = 8/255, and the top of its page is photographed by headless Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import nn

import worldline as wl

ROOT = Path(__file__).parents[1]
FOLDERS = ("/usr/share/datasets/fashion-mnist", "/usr/share/datasets/FashionMNIST/raw")
CLASSES = (
    *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Boot"),
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def network() -> nn.Sequential:
    """Three blocks of convolution, BatchNorm, ReLU and pooling, and a linear layer."""
    torch.manual_seed(0)
    widths = (1, 16, 32, 64)
    blocks = {
        f"block{n}": nn.Sequential(
            nn.Conv2d(widths[n - 1], widths[n], 3, padding=1),
            nn.BatchNorm2d(widths[n]),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        for n in (1, 2, 3)
    }
    head = nn.Linear(widths[-1] * 3 * 3, len(CLASSES))
    return nn.Sequential(OrderedDict(blocks, flatten=nn.Flatten(), head=head))


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, passes: int) -> None:
    """Adam on the cross-entropy, with a rate that falls to nothing."""
    batches = [
        part
        for seed in range(passes)
        for part in torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).split(128)
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, len(batches))
    for rows in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        schedule.step()
    model.eval()


def photograph(page: Path, picture: Path, *, width: int, height: int) -> None:
    """The first screen of a page, in few colours, as a PNG."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit("picture: no Chromium on this machine (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        flags = f"--headless=new --no-sandbox --hide-scrollbars --window-size={width},{height}"
        command = [browser, *flags.split(), f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.open(shot).convert("RGB").quantize(96).save(picture, optimize=True)


def main() -> None:
    """Train, explore, photograph."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--training", type=int, default=20_000, help="training pictures")
    options.add_argument("--passes", type=int, default=3, help="over them")
    options.add_argument("--samples", type=int, default=300)
    options.add_argument("--width", type=int, default=1200)
    options.add_argument("--height", type=int, default=720)
    given = options.parse_args()

    place = next((folder for folder in FOLDERS if Path(folder).is_dir()), None)
    if place is None:
        sys.exit("picture: no Fashion-MNIST (Debian: apt-get install dataset-fashion-mnist)")
    data = wl.loading.load_data(place)
    model = network()
    x, y = data.reference_x, data.reference_y
    train(model, x[: given.training], y[: given.training], passes=given.passes)
    shown = replace(
        data, name="Fashion-MNIST", class_names=CLASSES, reference_x=x[:2000], reference_y=y[:2000]
    )
    result = wl.explore(
        model, shown, name="A small CNN", eps="8/255", steps=100, samples=given.samples
    )
    picture = ROOT / "docs" / "pictures" / "report.png"
    photograph(result.report(), picture, width=given.width, height=given.height)
    print(result)
    print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
