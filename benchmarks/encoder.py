"""Claim: a layer of the selecting encoder costs what its k kept rows cost, however many candidates
there are.

Rivals: the literal scheme of the paper (draw all n rows, read the feature, keep k), on the same
distribution; and the floor, which no sampler of dense Gaussian rows can beat: drawing k·D normals
and one matrix product with a batch.

Four measurements, one thread, float32, the rivals taking turns in one process, each timed run right
after an untimed one of its own, medians over the turns. A run is an encoder of ten layers,
streamed, unless said otherwise:

* ``literal_64``: n/k = 64, k = D = 256. Target: at least 30 times faster than the literal scheme.
* ``literal_500000``: n = 500,000, D = k = 784, one layer. Target: at least 200 times, and under 200
MB.
* ``candidates``: the exact scheme alone at n from 10³ to 10¹². Target: no dependence on n.
* ``floor``: the layers and their products with a batch, against the floor with the same batch.
Target: ≤ 1.5.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import worldline
from worldline.encoder import Encoder
from worldline.encoder.layer import draw_rows_literally

Generator = torch.Generator


def exact(encoder: Encoder, x: torch.Tensor) -> None:
    """All layers of an encoder by the exact scheme, none of them kept."""
    for _ in encoder.fit(x).weights():
        pass


def literal(encoder: Encoder, x: torch.Tensor, generator: Generator) -> None:
    """All layers by the literal scheme, none of them kept."""
    direction = x[None]
    for _ in range(encoder.depth):
        readings, _ = draw_rows_literally(direction, encoder.selection, generator=generator)
        direction = torch.nn.functional.normalize(readings)


def floor(
    encoder: Encoder, x: torch.Tensor, features: torch.Tensor, generator: Generator
) -> torch.Tensor:
    """As many normals and products, and nothing else."""
    inputs = len(x)
    for _ in range(encoder.depth):
        features = features @ torch.randn(encoder.width, inputs, generator=generator).T
        inputs = encoder.width
    return features


def feature(width: int) -> torch.Tensor:
    return torch.nn.functional.normalize(
        torch.randn(width, generator=Generator().manual_seed(0)), dim=0
    )


def streamed(candidates: int, width: int, depth: int = 10) -> Encoder:
    return Encoder(candidates=candidates, width=width, depth=depth, memory=1)


def interleaved(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Median, quartiles and extremes of the seconds of each run, the runs taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()  # nobody pays for caches and pages that its rival emptied
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    result = {}
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        result[name] = {
            "median_seconds": median,
            "quartile_low": low,
            "quartile_high": high,
            "least": min(values),
            "most": max(values),
            "rounds": rounds,
        }
    return result


def ratio(result: dict[str, dict[str, float]], slow: str, fast: str) -> float:
    return result[slow]["median_seconds"] / result[fast]["median_seconds"]


def against_literal(encoder: Encoder, inputs: int, rounds: int) -> dict[str, object]:
    x, generator = feature(inputs), Generator().manual_seed(1)
    result = interleaved(
        {"exact": lambda: exact(encoder, x), "literal": lambda: literal(encoder, x, generator)},
        rounds,
    )
    return {**setting(encoder, inputs), **result, "times_faster": ratio(result, "literal", "exact")}


def over_candidates(width: int, rounds: int) -> dict[str, object]:
    x, sizes = feature(width), [10**power for power in range(3, 13, 3)]

    def run(n: int) -> Callable[[], object]:
        encoder = streamed(n, width)
        return lambda: exact(encoder, x)

    result = interleaved({str(n): run(n) for n in sizes}, rounds)
    medians = [result[str(n)]["median_seconds"] for n in sizes]
    return {"k": width, "D": width, **result, "slowest_over_fastest": max(medians) / min(medians)}


def against_floor(encoder: Encoder, batch: int, rounds: int) -> dict[str, object]:
    x, generator = feature(encoder.width), Generator().manual_seed(3)
    features = torch.randn(batch, encoder.width, generator=generator)
    result = interleaved(
        {
            "exact": lambda: encoder.fit(x).transform(features, layers=(encoder.depth,)),
            "floor": lambda: floor(encoder, x, features, generator),
        },
        rounds,
    )
    return {
        **setting(encoder, len(x)),
        "batch": batch,
        **result,
        "over_floor": ratio(result, "exact", "floor"),
    }


def setting(encoder: Encoder, inputs: int) -> dict[str, object]:
    return {"n": encoder.candidates, "k": encoder.width, "D": inputs, "layers": encoder.depth}


def peak_megabytes(scheme: str) -> float:
    """Growth of the largest resident size by one layer at n = 500,000, D = k = 784, in its own
    process.
    """
    command = [sys.executable, __file__, "--memory-of", scheme]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def measure_memory(scheme: str) -> None:
    generator = Generator().manual_seed(1)
    exact(streamed(100, 10), feature(784))
    literal(
        streamed(100, 10), feature(784), generator
    )  # libraries are loaded before the first reading
    before, encoder = peak_resident(), streamed(500_000, 784, depth=1)
    if scheme == "exact":
        exact(encoder, feature(784))
    else:
        literal(encoder, feature(784), generator)
    print(peak_resident() - before)


def peak_resident() -> float:
    """Largest resident size of this process so far, in megabytes, as Linux tells it."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def run_all(quick: bool) -> dict[str, object]:
    rounds = 5 if quick else 21
    large = against_literal(streamed(500_000, 784, depth=1), 784, 3 if quick else 7)
    large["megabytes"] = {scheme: peak_megabytes(scheme) for scheme in ("exact", "literal")}
    floors = [
        against_floor(streamed(64 * k, k, depth=2 if k == 2500 else 10), batch, rounds)
        for k in (256, 784, 2500)
        for batch in (1, 32, 256)
    ]
    return {
        "claim": __doc__.split("\n")[0] if __doc__ else "",
        "versions": {
            "worldline": worldline.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
        },
        "literal_64": against_literal(streamed(64 * 256, 256), 256, rounds),
        "literal_500000": large,
        "candidates": over_candidates(256, 5 * rounds),
        "floor": floors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time the encoder's exact sampler against its rivals."
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "encoder.json"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--memory-of", choices=("exact", "literal"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory_of:
        measure_memory(options.memory_of)
        return
    results = run_all(options.quick)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"literal, n/k = 64:      {results['literal_64']['times_faster']:8.1f} times faster")
    large = results["literal_500000"]
    print(
        f"literal, n = 500,000:   {large['times_faster']:8.1f} times faster, megabytes "
        f"{large['megabytes']}"
    )
    print(
        f"n from 1e3 to 1e12:     {results['candidates']['slowest_over_fastest']:8.2f} slowest "
        f"over fastest"
    )
    for row in results["floor"]:
        print(
            f"floor, k = {row['k']:4}, batch {row['batch']:3}: {row['over_floor']:8.2f} times the "
            f"floor"
        )


if __name__ == "__main__":
    main()
