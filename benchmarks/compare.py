"""Claim: predicting all pairs of 48 models is 100 times cheaper than measuring them with PGD-20,
and grows with M, not M².

Also: 200 models, by default, in under 60 s and 300 MB beyond the library itself;
all-pairs unbiased CKA of ten layers (widest 16,384; 2,000 × 3×32×32) beside torch-cka, if it is
installed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import measure
import transfer_models as zoo
import worldline as wl
from worldline.geometry.population import CKA
from worldline.trace import choose_layers, find_layers, tracing

CLAIM = (
    "predicting all pairs of 48 models at least 100 times cheaper than measuring them with PGD-20"
)
BATCH = 100

MANY = """
import torch, worldline as wl
torch.set_num_threads(1)
wl.compare.predict, wl.attacks.PGD
x = torch.rand(2000, 64, generator=torch.Generator().manual_seed(0))
def load(seed):
    torch.manual_seed(seed)
    return torch.nn.Linear(64, 10)
if {run}:
    models = {{str(seed): wl.compare.Loader(lambda seed=seed: load(seed)) for seed in range(200)}}
    wl.compare.predict(models, x)
"""


def seconds(run: Callable[[], object], rounds: int = 3) -> dict[str, float]:
    times = []
    for _ in range(rounds):
        gc.collect()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    times.sort()
    return {"seconds": times[len(times) // 2], "low": times[0], "high": times[-1], "rounds": rounds}


def predicting() -> dict[str, Any]:
    data = wl.zoo.digits()
    models = {zoo.label(*name): zoo.load("development", *name) for name in zoo.names("development")}
    quick = seconds(lambda: wl.compare.predict(models, data.x), 5)
    thorough = seconds(lambda: wl.compare.predict(models, data.x, samples=len(data.x)), 2)
    black = seconds(lambda: wl.compare.predict(models, data.x, gradients=False), 2)
    gradients = seconds(lambda: wl.compare.baselines(models, data.x, data.y), 1)
    pgd = seconds(
        lambda: wl.compare.measure(models, data.x, data.y, wl.attacks.PGD(epsilon=0.1)), 1
    )
    return {
        "measuring with PGD-20": pgd,
        "all baselines": gradients,
        "predicting, gradients, all samples": thorough,
        "predicting, gradients (default)": quick,
        "predicting, without gradients": black,
    }


def growing() -> dict[str, float]:
    """Seconds for each model, as models are added: the same small network at other weights."""

    def network(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, 10),
        )

    x = wl.zoo.digits().x
    out = {}
    for count in (10, 50, 100, 200):
        models = {str(seed): network(seed) for seed in range(count)}
        out[str(count)] = (
            seconds(lambda models=models: wl.compare.predict(models, x))["seconds"] / count
        )
    return out


def wide_network() -> nn.Module:
    torch.manual_seed(0)

    def block(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]

    return nn.Sequential(
        *block(3, 16),
        nn.MaxPool2d(2),
        *block(16, 32),
        nn.MaxPool2d(2),
        *block(32, 64),
        nn.Flatten(),
        nn.Linear(4096, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    ).eval()


LAYERS = ("0", "1", "2", "3", "4", "5", "6", "7", "9", "10")


def streaming(model: nn.Module, x: Tensor) -> Tensor:
    layers = choose_layers(find_layers(model, x), LAYERS)
    sums = CKA()
    rows = torch.empty(len(layers), BATCH * BATCH)
    with tracing(model, layers) as run:
        for batch in x.split(BATCH):
            run(batch, lambda position, features: rows[position].copy_(sums.gram(features)))
            sums.add(rows)
    return sums.matrix()


def kept(model: nn.Module, x: Tensor) -> Tensor:
    """The obvious way: keep all features, one Gram matrix of all samples for each layer."""
    features = wl.trace.collect(model, x, LAYERS)
    sums = CKA()
    sums.update(list(features.values()))
    return sums.matrix()


def torch_cka(model: nn.Module, x: Tensor) -> Callable[[], object] | None:
    try:
        import torch_cka as peer
    except ImportError:
        return None
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, torch.zeros(len(x))), batch_size=BATCH
    )
    rival = peer.CKA(
        model, model, model1_layers=list(LAYERS), model2_layers=list(LAYERS), device="cpu"
    )
    return lambda: rival.compare(loader)


PEAK = """
import sys, torch
sys.path.insert(0, {folder!r})
import compare
torch.set_num_threads(1)
x = torch.rand(2000, 3, 32, 32, generator=torch.Generator().manual_seed(0))
model = compare.wide_network()
with torch.no_grad():
    model(x[:100])
{call}
"""


def main() -> None:
    measure.threads()
    x = torch.rand(2000, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model = wide_network()

    def forward() -> None:
        with torch.no_grad():
            for batch in x.split(BATCH):
                model(batch)

    contestants: dict[str, Callable[[], object]] = {
        "streaming": lambda: streaming(model, x),
        "forward passes alone": forward,
    }
    if (rival := torch_cka(wide_network(), x)) is not None:
        contestants["torch-cka"] = rival
    tables = {"CKA of ten layers": measure.side_by_side(contestants, "streaming", rounds=2)}
    folder = str(measure.RESULTS.parent)
    base = measure.peak_mebibytes(PEAK.format(folder=folder, call=""))
    peaks = {
        f"CKA, {name}, beyond model and data": measure.peak_mebibytes(
            PEAK.format(folder=folder, call=call)
        )
        - base
        for name, call in (
            ("streaming", "compare.streaming(model, x)"),
            ("features kept", "compare.kept(model, x)"),
        )
    }
    library = measure.peak_mebibytes(MANY.format(run="False"))
    start = time.perf_counter()
    peaks["200 models, beyond the library"] = (
        measure.peak_mebibytes(MANY.format(run="True")) - library
    )
    whole = time.perf_counter() - start
    result = predicting()
    ratio = (
        result["measuring with PGD-20"]["seconds"]
        / result["predicting, gradients (default)"]["seconds"]
    )
    measure.write(
        "compare",
        CLAIM,
        {
            "tables": tables,
            "peak_mebibytes": peaks,
            "times_cheaper": ratio,
            "seconds_a_model": growing(),
            "200 linear models, the whole process": {
                "seconds": whole,
                "low": whole,
                "high": whole,
                "rounds": 1,
            },
            **result,
        },
    )


if __name__ == "__main__":
    main()
