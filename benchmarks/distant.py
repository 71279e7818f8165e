"""Claim: the exact search of pairs costs at most 1.25 of its products alone.

Both signs, conditions, and a running top 1,000 are included.

Speed: 20,000 × 256 beside the products of the upper triangle (the floor), those of the whole
square, FAISS (flat, two searches, top 10 a row, no conditions) and scikit-learn (cosine, one sign,
top 10); 10⁸ pairs at 512 dimensions; growth with N; memory.

Science (``--science``), on the zoo's plain and adversarially trained models, five seeds: how many
far pairs of different labels are merged or opposed beyond the best pair of five untrained networks,
by layer; whether a sample's entanglement with strangers says how small an ε fools it, beside margin
and gradient; whether collisions made for one seed hold for the next.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import measure
import worldline as wl
from worldline.explain import top_pairs
from worldline.runs.features import feature_store

CLAIM = (
    "exact search, both signs, conditions and top 1,000 over 20,000 × 256: at most 1.25 of "
    "its products"
)
TILE = 1024
ANON = """
import sys
sys.path.insert(0, {folder!r})
import distant
distant.one_search(*map(int, sys.argv[1:4]), sys.argv[4])
"""
KINDS = ("mlp", "mlp-adv", "cnn", "cnn-adv", "resnet")
SEEDS = range(5)


def clustered(samples: int, width: int, entries: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rectified features in ten clusters, labels, and inputs."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (samples,), generator=generator)
    centers = 0.7 * torch.randn(10, width, generator=generator)
    features = torch.randn(samples, width, generator=generator).add_(centers[labels]).relu_()
    return features, labels, torch.rand(samples, entries, generator=generator)


def products(units: Tensor, whole: bool) -> None:
    space = torch.empty(TILE * TILE)
    for start in range(0, len(units), TILE):
        right = units[start : start + TILE]
        for top in range(0, len(units) if whole else start + 1, TILE):
            left = units[top : top + TILE]
            torch.mm(left, right.T, out=space[: len(left) * len(right)].view(len(left), len(right)))


def contestants(samples: int, width: int, rivals: bool) -> dict[str, Any]:
    features, labels, inputs = clustered(samples, width, 64)
    least = float(torch.pdist(inputs[:2000]).median())
    units = torch.nn.functional.normalize(features - features.mean(0))
    found = {
        "products, upper triangle": lambda: products(units, whole=False),
        "worldline, labels and distance": lambda: top_pairs(
            features, 1000, labels=labels, inputs=inputs, least_distance=least
        ),
        "worldline, distance": lambda: top_pairs(
            features, 1000, inputs=inputs, least_distance=least
        ),
        "worldline, no condition": lambda: top_pairs(features, 1000),
        "products, whole square": lambda: products(units, whole=True),
    }
    if rivals:
        from sklearn.neighbors import NearestNeighbors

        found["scikit-learn, cosine, top 10, one sign"] = lambda: (
            NearestNeighbors(n_neighbors=10, algorithm="brute", metric="cosine")
            .fit(units)
            .kneighbors(units)
        )
        if importlib.util.find_spec("faiss"):
            import faiss

            faiss.omp_set_num_threads(torch.get_num_threads())

            def flat() -> None:
                index = faiss.IndexFlatIP(width)
                index.add(units.numpy())
                index.search(units.numpy(), 10)
                index.search((-units).numpy(), 10)

            found["FAISS flat, top 10, two searches"] = flat
    return found


def growth() -> dict[str, Any]:
    """Seconds and nanoseconds a pair over N."""
    table = {}
    for samples in (5_000, 10_000, 20_000, 40_000):
        features, labels, inputs = clustered(samples, 128, 64)
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            top_pairs(features, 1000, labels=labels, inputs=inputs, least_distance=3.2)
            seconds.append(time.perf_counter() - start)
        pairs = samples * (samples - 1) / 2
        table[f"N = {samples:,}"] = {
            "seconds": min(seconds),
            "nanoseconds_a_pair": 1e9 * min(seconds) / pairs,
        }
    return table


def anonymous() -> float:
    """Resident memory that is not a mapped file, in MiB."""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024


def one_search(samples: int, width: int, k: int, path: str) -> None:
    """Fill a mapped store, search it, and print seconds and the anonymous memory that it took."""
    torch.set_num_threads(1)
    store = feature_store(Path(path), samples, width)
    generator = torch.Generator().manual_seed(0)
    centers = 0.7 * torch.randn(10, width, generator=generator)
    labels = torch.arange(samples) % 10
    for start in range(0, samples, 4096):
        rows = slice(start, min(start + 4096, samples))
        store[rows] = (
            torch.randn(rows.stop - start, width, generator=generator) + centers[labels[rows]]
        ).relu_()
    before, peak = anonymous(), 0.0

    def progress(_stage: str, _done: int, _total: int, /) -> None:
        nonlocal peak
        peak = max(peak, anonymous() - before)

    clock = time.perf_counter()
    found = top_pairs(store, k, labels=labels, progress=progress)
    result = {
        "seconds": time.perf_counter() - clock,
        "mebibytes": peak,
        "best": float(found.merged.rapidity[0]),
    }
    print(json.dumps(result))


def memory(sizes: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    """Anonymous memory of a search over a mapped store, in processes of their own."""
    table = {}
    for samples, width in sizes:
        with tempfile.TemporaryDirectory() as folder:
            program = ANON.format(folder=str(measure.RESULTS.parent))
            arguments = [str(samples), str(width), "1000", str(Path(folder) / "features")]
            done = subprocess.run(
                [sys.executable, "-c", program, *arguments],
                capture_output=True,
                text=True,
                check=True,
            )
        table[f"{samples:,} × {width}"] = {
            **json.loads(done.stdout.splitlines()[-1]),
            "features_mebibytes": samples * width * 4 / 2**20,
        }
    return table


# --- science


def interval(values: list[float]) -> dict[str, float]:
    """Mean over five seeds with its 95 % t interval, lowest and highest."""
    spread = 2.776 * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.mean(values)
    return {
        "mean": mean,
        "low": mean - spread,
        "high": mean + spread,
        "lowest": min(values),
        "highest": max(values),
    }


def ranks(values: Tensor) -> Tensor:
    from scipy.stats import rankdata

    ranked = torch.from_numpy(rankdata(values.double().numpy()))
    return (ranked - ranked.mean()) / ranked.std()


def spearman(a: Tensor, b: Tensor) -> float:
    return float((ranks(a) * ranks(b)).sum() / (len(a) - 1))


def partial(a: Tensor, b: Tensor, given: Tensor) -> float:
    """Rank correlation of a and b with what the given one explains removed."""
    ab, ag, bg = spearman(a, b), spearman(a, given), spearman(b, given)
    return (ab - ag * bg) / ((1 - ag**2) * (1 - bg**2)) ** 0.5


def searched_layers(model: nn.Module, x: Tensor) -> list[str]:
    return [layer.name for layer in wl.trace.choose_layers(wl.trace.find_layers(model, x))][1:]


def beyond_nulls(models: dict[tuple[str, int], nn.Module]) -> dict[str, Any]:
    """By model kind and layer: far pairs of different labels beyond five untrained networks."""
    data = wl.zoo.digits()
    x, y = data.x, data.y
    flat = x.flatten(1)
    apart = torch.cdist(flat, flat)
    different = y[:, None] != y
    least = float(apart[different].median())
    far = int((different & (apart >= least)).sum()) // 2
    limits: dict[tuple[str, str], tuple[float, float]] = {}
    table: dict[str, Any] = {
        "far_pairs": far,
        "least_distance": least,
        "untrained_networks": 5,
        "layers": {},
    }
    counts: dict[str, dict[str, list[float]]] = {}

    def find(model: nn.Module, layer: str, k: int) -> wl.explain.TopPairs:
        features = wl.trace.collect(model, x, [layer])[layer]
        return top_pairs(features, k, labels=y, inputs=flat, least_distance=least)

    for (kind, _seed), model in models.items():
        shape = kind.removesuffix("-adv")
        prediction = wl.attacks.predict(model, x).argmax(1)
        for layer in searched_layers(model, x):
            if (shape, layer) not in limits:
                fresh = [
                    find(wl.explain.untrained(model, seed=100 + n)[0], layer, 1) for n in range(5)
                ]
                limits[shape, layer] = (
                    max(float(it.merged.rapidity[0]) for it in fresh),
                    min(float(it.opposed.rapidity[0]) for it in fresh),
                )
            high, low = limits[shape, layer]
            found = find(model, layer, 20_000)
            merged = found.merged.rapidity > high
            first, second = found.merged.first[merged], found.merged.second[merged]
            right = (prediction[first] == y[first]) & (prediction[second] == y[second])
            row = counts.setdefault(f"{kind}, {layer}", {})
            for name, value in (
                ("merged", int(merged.sum())),
                ("opposed", int((found.opposed.rapidity < low).sum())),
                ("merged_both_right", int(right.sum())),
                ("largest", float(found.merged.rapidity[0])),
                ("smallest", float(found.opposed.rapidity[0])),
            ):
                row.setdefault(name, []).append(float(value))
            row["null_largest"], row["null_smallest"] = [high], [low]
    for name, row in counts.items():
        table["layers"][name] = {
            key: values[0] if key.startswith("null") else interval(values)
            for key, values in row.items()
        }
    return table


def smallest_epsilon(model: nn.Module, x: Tensor, y: Tensor, levels: int = 7) -> Tensor:
    """(N,) L∞ ε of the smallest successful PGD, by bisection in [0, 0.5].

    Samples with the same ε are attacked together.
    """
    low, high = torch.zeros(len(x)), torch.full((len(x),), 0.5)
    for _ in range(levels):
        middle = (low + high) / 2
        for epsilon in middle.unique().tolist():
            rows = (middle == epsilon).nonzero().flatten()
            won = wl.attacks.PGD(epsilon=epsilon, steps=15, random_start=False)(
                model, x[rows], y[rows]
            ).success
            high[rows[won]] = epsilon
            low[rows[~won]] = epsilon
    return (low + high) / 2


def stranger_scores(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """By sample, larger is thought more fragile: entanglement with strangers, and the baselines."""
    layer = wl.trace.one_layer(model, x).name
    features = wl.trace.collect(model, x, [layer])[layer].double()
    units = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    different = y[:, None] != y
    apart = torch.cdist(x.flatten(1), x.flatten(1))
    far = different & (apart >= apart[different].median())
    value = torch.atanh((units @ units.T).clamp(-1 + 1e-12, 1 - 1e-12))
    point = x.clone().requires_grad_(True)
    logits = model(point)
    margin = logits.gather(1, y[:, None])[:, 0] - logits.scatter(1, y[:, None], -torch.inf).amax(1)
    slope = torch.autograd.grad(margin.sum(), point)[0].flatten(1).abs().sum(1)
    margin = margin.detach()
    return {
        "φ to the nearest stranger": value.masked_fill(~different, -torch.inf).amax(1),
        "φ to the nearest far stranger": value.masked_fill(~far, -torch.inf).amax(1),
        "−φ to the most opposed far stranger": -value.masked_fill(~far, torch.inf).amin(1),
        "mean |φ| with far strangers": (value.abs() * far).sum(1) / far.sum(1),
        "margin (baseline)": -margin,
        "gradient norm of the margin (baseline)": slope,
        "linearised margin (baseline)": -margin / slope,
    }


def fragility(models: dict[tuple[str, int], nn.Module]) -> dict[str, Any]:
    """Spearman of each score with −(smallest ε), by kind and seed, over samples that are right."""
    data = wl.zoo.digits()
    x, y = data.x[:300], data.y[:300]
    found: dict[str, dict[str, list[float]]] = {}
    for (kind, _seed), model in models.items():
        right = wl.attacks.predict(model, x).argmax(1) == y
        scores = {name: value[right] for name, value in stranger_scores(model, x, y).items()}
        fragile = -smallest_epsilon(model, x[right], y[right])
        row = found.setdefault(kind, {})
        for name, value in scores.items():
            row.setdefault(name, []).append(spearman(value, fragile))
        for name in ("φ to the nearest stranger", "φ to the nearest far stranger"):
            given = partial(scores[name], fragile, scores["margin (baseline)"])
            row.setdefault(f"{name}, given the margin", []).append(given)
        row.setdefault("median smallest ε", []).append(float(-fragile.median()))
    return {
        kind: {name: interval(values) for name, values in row.items()}
        for kind, row in found.items()
    }


def carried_over(models: dict[tuple[str, int], nn.Module]) -> dict[str, Any]:
    """Collisions made at one seed and looked at in the next.

    Controls: the noise twin of the same change, and the point of the straight line from input to
    stranger that is as far from the stranger as the collision is.
    """
    data = wl.zoo.digits()
    reference = (data.reference_x, data.reference_y)
    generator = torch.Generator().manual_seed(0)
    x, y = data.x[:64], data.y[:64]
    stranger = torch.stack(
        [
            data.x[64:][
                (data.y[64:] != label)
                .nonzero()
                .flatten()[int(torch.randint(400, (1,), generator=generator))]
            ]
            for label in y
        ]
    )
    found: dict[str, dict[str, list[float]]] = {}
    for kind in KINDS:
        for epsilon in (0.3, None):
            row = found.setdefault(f"{kind}, ε = {epsilon or 'none'}", {})
            for seed in SEEDS:
                model, other = models[kind, seed], models[kind, (seed + 1) % len(SEEDS)]
                made = wl.attacks.entangle(
                    model, x, stranger, reference=reference, epsilon=epsilon, steps=100
                )
                noise = wl.attacks.noise_twin(x, made.x, generator=generator)
                shares = {
                    "success": made.success,
                    "prediction": made.prediction == made.stranger_prediction,
                }
                left = made.input_distance / torch.linalg.vector_norm(
                    (x - stranger).flatten(1), dim=1
                )
                line = stranger + (x - stranger) * left.to(x)[:, None, None, None].clamp(max=1.0)
                for name, inputs, model_seen in (
                    ("other seed", made.x, other),
                    ("noise, other seed", noise, other),
                    ("unmoved, other seed", x, other),
                    ("straight line, same seed", line, model),
                    ("straight line, other seed", line, other),
                ):
                    seen = wl.attacks.entangle(
                        model_seen,
                        inputs,
                        stranger,
                        made.layer.name,
                        reference=reference,
                        epsilon=0.0,
                        steps=1,
                    )
                    shares[f"success, {name}"] = seen.success
                    shares[f"prediction, {name}"] = seen.prediction == seen.stranger_prediction
                    row.setdefault(f"φ, {name}", []).append(float(seen.rapidity.median()))
                for name, flags in shares.items():
                    row.setdefault(name, []).append(float(flags.double().mean()))
                row.setdefault("φ", []).append(float(made.rapidity.median()))
                for name in ("input_closer", "nearest_data"):
                    row.setdefault(name, []).append(float(getattr(made, name).median()))
    return {
        kind: {name: interval(values) for name, values in row.items()}
        for kind, row in found.items()
    }


def invariances(models: dict[tuple[str, int], nn.Module]) -> dict[str, Any]:
    """How far an input goes with its features in place, beside a random direction."""
    data = wl.zoo.digits()
    reference = (data.reference_x, data.reference_y)
    found: dict[str, dict[str, list[float]]] = {}
    for (kind, _seed), model in models.items():
        it = wl.attacks.invariance(model, data.x[:64], reference=reference, steps=150)
        row = found.setdefault(kind, {})
        for name in ("change", "noise_change", "input_closer", "nearest_data"):
            row.setdefault(name, []).append(float(getattr(it, name).median()))
    return {
        kind: {name: interval(values) for name, values in row.items()}
        for kind, row in found.items()
    }


def science() -> dict[str, Any]:
    models = {}
    for kind in KINDS:
        for seed in SEEDS:
            start = time.perf_counter()
            models[kind, seed] = wl.zoo.load(kind, seed=seed)
            print(kind, seed, f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    found = {}
    for part in (beyond_nulls, fragility, invariances, carried_over):
        start = time.perf_counter()
        found[part.__name__] = part(models)
        print(part.__name__, f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    return found


def main() -> None:
    threads = int(sys.argv[sys.argv.index("--threads") + 1]) if "--threads" in sys.argv else 2
    parts = {part for part in ("speed", "memory", "science") if f"--{part}" in sys.argv} or {
        "speed",
        "memory",
        "science",
    }
    torch.set_num_threads(threads)
    path = measure.RESULTS / "distant.json"
    document = json.loads(path.read_text("utf-8")) if path.exists() else {}
    result = {
        key: document[key] for key in ("tables", "growth", "memory", "science") if key in document
    }
    if "speed" in parts:
        result["tables"] = {
            "20,000 × 256, top 1,000": measure.side_by_side(
                contestants(20_000, 256, rivals=False), "products, upper triangle", rounds=9
            ),
            "20,000 × 256, top 1,000, beside rivals": measure.side_by_side(
                contestants(20_000, 256, rivals=True), "products, upper triangle", rounds=5
            ),
            "14,143 × 512 (10⁸ pairs), top 1,000": measure.side_by_side(
                contestants(14_143, 512, rivals=False), "products, upper triangle", rounds=5
            ),
        }
        result["growth"] = growth()
    if "memory" in parts:
        result["memory"] = memory(((25_000, 64), (100_000, 64), (200_000, 512)))
    if "science" in parts:
        result["science"] = science()
    measure.write("distant", CLAIM, result)


if __name__ == "__main__":
    main()
