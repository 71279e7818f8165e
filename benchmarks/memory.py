"""Claim: a ResNet-50-shaped network at 3×224×224, 512 clean samples with their noise and
adversarial twins, every leaf layer and 100 classes are traced in at most 2 GB over the model
itself, the samples included, on a CPU.

Every leaf is 159 layers of 32 million features: their class means alone would take 26 GB in
float64, and the features of all twins 198 GB. The peak is the resident memory of a process of its
own (VmHWM) less what it held when the model had been built, so the inputs (three twins of 512
samples and 200 reference samples, 1.05 GB) count. Weights and inputs are random.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import torch

import measure
import shapes
import worldline as wl
from worldline.trace import find_layers, plan_memory, trace_reference, trace_twins

CLAIM = (
    "ResNet-50 at 224×224, 512 twins, every leaf layer, 100 classes: at most 2,000 MB over "
    "the model, on CPU"
)
LIMIT, SAMPLES, REFERENCE, CLASSES = 2_000_000_000, 512, 200, 100


def resident(kind: str) -> int:
    """Bytes: ``VmRSS`` now, ``VmHWM`` at the most."""
    return int(Path("/proc/self/status").read_text("utf-8").split(f"{kind}:")[1].split()[0]) * 1024


def run(samples: int) -> dict[str, float]:
    model = shapes.resnet50(CLASSES)
    before = resident("VmRSS")
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(samples, 3, 224, 224, generator=generator)
    reference = torch.rand(min(samples, REFERENCE), 3, 224, 224, generator=generator)
    adversarial = torch.rand(clean.shape, generator=generator)
    adversarial.mul_(16 / 255).sub_(8 / 255).add_(clean).clamp_(0, 1)
    noise = wl.attacks.noise_twin(clean, adversarial, generator=generator)
    data = sum(x.numel() * x.element_size() for x in (clean, noise, adversarial, reference))
    start = time.perf_counter()
    leaves = {name for name, module in model.named_modules() if not list(module.children())}
    layers = [layer for layer in find_layers(model, clean) if layer.module in leaves | {"input"}]
    plan = plan_memory(model, clean, layers, classes=CLASSES, memory=LIMIT - data)
    labels = torch.arange(samples) % CLASSES
    means = trace_reference(
        model,
        reference,
        labels[: len(reference)],
        layers,
        classes=CLASSES,
        project_to=plan.project_to,
        settings=wl.Settings(batch_size=plan.batch_size),
    )
    trace_twins(model, clean, noise, adversarial, labels, means, layers, batch_size=plan.batch_size)
    return {
        "samples": samples,
        "layers": len(layers),
        "features": sum(layer.width for layer in layers),
        "inputs_in_a_pass": plan.batch_size,
        "projected_to": plan.project_to or 0,
        "standard_error_nats": 0.0 if plan.project_to is None else plan.project_to**-0.5,
        "inputs_megabytes": data / 1e6,
        "peak_over_model_megabytes": (resident("VmHWM") - before) / 1e6,
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    threads = measure.threads()
    child = (
        "import json, sys, torch, memory; torch.set_num_threads(int(sys.argv[1])); "
        "print(json.dumps(memory.run(int(sys.argv[2]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", child, str(threads), str(SAMPLES)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    measure.write("memory", CLAIM, {"resnet50": json.loads(done.stdout.splitlines()[-1])})


if __name__ == "__main__":
    main()
