"""Tracing: names, order, in-place and reused modules, and the model left as it was."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.errors import LayerError, ShapeError
from worldline.trace import (
    choose_layers,
    collect,
    find_layers,
    trace_reference,
    trace_twins,
    tracing,
    untouched,
)


class Residual(nn.Module):
    """In-place and reused ReLU, a residual sum, a tuple on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 8)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        x = self.relu(self.second(x) + x)
        return self.head(x)


def oracle(model: Residual, x: Tensor) -> dict[str, Tensor]:
    first = model.first(x)
    one = first.clone().relu()
    second = model.second(one)
    two = (second + one).relu()
    return {
        "input": x,
        "first": first,
        "relu#0": one,
        "second": second,
        "relu#1": two,
        "head": model.head(two),
    }


@pytest.mark.oracle
def test_values_are_what_each_module_returned_despite_in_place_successors() -> None:
    torch.manual_seed(0)
    model, x = Residual(), torch.randn(7, 6)
    with torch.no_grad():
        expected = oracle(model, x)
    found = collect(model, x, ["*"], batch_size=3)
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert (found["first"] < 0).any()


@pytest.mark.law
def test_names_order_and_default_layers(cnn: nn.Module) -> None:
    layers = find_layers(cnn, torch.rand(2, 1, 8, 8))
    names = ["input", "conv1", "relu1", "conv2", "relu2", "pool", "hidden", "relu3", "logits"]
    assert [layer.name for layer in layers] == names
    assert [layer.name for layer in choose_layers(layers)] == [
        "input",
        "relu1",
        "relu2",
        "relu3",
        "logits",
    ]
    assert [layer.name for layer in choose_layers(layers, ["conv*", "logits"])] == [
        "conv1",
        "conv2",
        "logits",
    ]
    assert [(layer.kind, layer.width) for layer in layers[:3]] == [
        ("Input", 64),
        ("Conv2d", 2048),
        ("ReLU", 2048),
    ]


@pytest.mark.law
def test_default_layers_of_a_vision_transformer_are_its_blocks() -> None:
    layers = choose_layers(find_layers(wl.zoo.load("vit"), torch.rand(2, 1, 8, 8)))
    assert [layer.name for layer in layers][:4] == [
        "input",
        "blocks.0.0",
        "blocks.0.1.act",
        "blocks.0.1",
    ]
    assert layers[-1].name == "logits"


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.drop, self.b = nn.Linear(4, 5), nn.Dropout(), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.drop(nn.functional.relu(self.a(x))))


class Bundle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, object]:
        return {"steps": 3, "out": (self.inner(x), torch.zeros(1))}


@pytest.mark.law
def test_functional_activations_containers_and_bundles() -> None:
    x = torch.rand(2, 4)
    assert [layer.name for layer in choose_layers(find_layers(Functional(), x))] == [
        "input",
        "a",
        "drop",
        "b",
    ]
    nested = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Identity(), nn.Flatten(), nn.Linear(4, 2)
    )
    assert [layer.name for layer in find_layers(nested, x)] == ["input", "0.0", "0.1", "3"]
    assert [layer.name for layer in find_layers(Bundle(), x)] == ["input", "inner"]
    assert [layer.name for layer in find_layers(lambda x: x + 1, x)] == ["input", "output"]
    assert torch.equal(collect(lambda x: x + 1, x)["output"], x + 1)


@pytest.mark.message
def test_unknown_layers_are_named_with_those_that_ran(cnn: nn.Module) -> None:
    layers = find_layers(cnn, torch.rand(2, 1, 8, 8))
    with pytest.raises(
        LayerError,
        match=r"No layer matches 'block\*'\. The layers that ran, in order: input, conv1",
    ):
        choose_layers(layers, ["block*"])


class Sometimes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.always, self.rarely = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.always(x)
        return self.rarely(x) if len(x) > 1 else x


@pytest.mark.message
def test_a_layer_that_did_not_run_is_an_error() -> None:
    model = Sometimes()
    layers = find_layers(model, torch.rand(3, 2))
    with (
        tracing(model, layers) as run,
        pytest.raises(LayerError, match=r"'rarely' never ran.*ran: input, always"),
    ):
        run(torch.rand(1, 2), lambda _position, _features: None)


def everything(model: nn.Module) -> dict[str, object]:
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "grad objects": [id(p.grad) for p in model.parameters()],
        "needs": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),
        "python": random.getstate(),
    }


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(
            after[name], value, rtol=0, atol=0, msg=lambda text, n=name: f"{n}: {text}"
        )


class Restless(nn.Module):
    """Everything a forward pass can disturb: batch statistics, a counter, random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.out = nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(2))
        self.fail = False

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.replaced = torch.ones(2)
        random.random()
        np.random.rand()
        noise = torch.randn(())
        if self.fail:
            raise RuntimeError("on purpose")
        return self.out(self.drop(self.norm(x))) + 0 * noise


USES = {
    "find_layers": lambda model, x, y: find_layers(model, x),
    "collect": lambda model, x, y: collect(model, x, ["*"]),
    "PGD": wl.attacks.PGD(epsilon=0.1, steps=2),
    "FGSM": wl.attacks.FGSM(epsilon=0.1),
    "careless attack": lambda model, x, y: wl.attacks.adversarial_twin(careless, model, x, y),
    "predict": lambda model, x, y: wl.attacks.predict(model, x),
    "twins": lambda model, x, y: wl.explain.twins(model, x, x, y),
    "check": lambda model, x, y: wl.checks.check_evaluation(
        model, x, x, x, y, attack=wl.attacks.PGD(epsilon=0.1, steps=2), epsilon=0.1
    ),
    "untrained": lambda model, x, y: wl.explain.untrained(model),
}


def careless(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    model.train()
    torch.manual_seed(3)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    nn.functional.cross_entropy(model(x), y).backward()
    return x


@pytest.mark.law
@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("fail", [False, True])
def test_the_model_is_left_bit_for_bit_as_it_was(name: str, fail: bool) -> None:
    torch.manual_seed(0)
    model = Restless().train()
    model.norm.eval()
    model.out.bias.requires_grad_(False)
    x, y = torch.rand(12, 4), torch.arange(12) % 3
    model(x).sum().backward()
    model.out.register_forward_hook(lambda *_: None)
    model.fail = fail and name != "untrained"
    before = everything(model)
    inputs = x.clone()
    if model.fail:
        with pytest.raises(Exception, match="on purpose"):
            USES[name](model, x, y)
    else:
        USES[name](model, x, y)
    assert_same(before, everything(model))
    assert torch.equal(x, inputs)
    assert not x.requires_grad


@pytest.mark.law
def test_untouched_restores_after_an_interrupt() -> None:
    model = Restless().train()
    before = everything(model)

    def interrupted() -> None:
        with untouched(model):
            model(torch.rand(3, 4))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert_same(before, everything(model))


def slow_rapidities(
    features: dict[str, Tensor], means: Tensor, y: Tensor, wrong: Tensor
) -> dict[str, Tensor]:
    """From the formulas, in float64 and one pair at a time."""

    def phi(a: Tensor, b: Tensor) -> Tensor:
        return torch.atanh((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)))

    return {
        "adversarial_clean": phi(features["adversarial"], features["clean"]),
        "noise_clean": phi(features["noise"], features["clean"]),
        "adversarial_true": phi(features["adversarial"], means[y]),
        "adversarial_wrong": phi(features["adversarial"], means[wrong]),
        "noise_true": phi(features["noise"], means[y]),
        "noise_wrong": phi(features["noise"], means[wrong]),
        "clean_true": phi(features["clean"], means[y]),
        "clean_wrong": phi(features["clean"], means[wrong]),
    }


@pytest.mark.oracle
@pytest.mark.parametrize("frame", ["raw", "centered", "whitened"])
@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet"])
def test_twin_rapidities_against_the_slow_formula(frame, name: str, digits, monkeypatch) -> None:
    # several blocks, the last one shorter
    monkeypatch.setattr("worldline.trace.twins.BLOCK", 10_000)
    model = wl.zoo.load(name)
    x, y = digits.x[:40], digits.y[:40]
    generator = torch.Generator().manual_seed(0)
    noise, adversarial = (x + 0.1 * torch.randn(x.shape, generator=generator) for _ in range(2))
    layers = tuple(
        layer for layer in find_layers(model, x) if frame != "whitened" or layer.width <= 600
    )  # eigh is slow
    reference_x, reference_y = digits.reference_x[:300], digits.reference_y[:300]
    settings = wl.Settings(frame=frame, batch_size=77)
    references = trace_reference(
        model, reference_x, reference_y, layers, classes=10, settings=settings
    )
    found = trace_twins(model, x, noise, adversarial, y, references, layers, batch_size=50)
    logits = model(adversarial).detach()
    logits[torch.arange(40), y] = -torch.inf
    assert torch.equal(found.wrong, logits.argmax(1))
    inputs = {"clean": x, "noise": noise, "adversarial": adversarial}
    exact = wl.zoo.load(name).double()
    reference_features = collect(exact, reference_x.double(), ["*"])
    features = {twin: collect(exact, value.double(), ["*"]) for twin, value in inputs.items()}
    for index, layer in enumerate(layers):
        moments = wl.geometry.Moments(layer.width, scatter=frame == "whitened")
        moments.update(reference_features[layer.name])
        fitted = moments.frame(frame)
        seen = {twin: fitted(value[layer.name]) for twin, value in features.items()}
        table = fitted(reference_features[layer.name])
        means = torch.stack([table[reference_y == label].mean(0) for label in range(10)])
        for comparison, expected in slow_rapidities(seen, means, y, found.wrong).items():
            value = found.rapidity[comparison][:, index]
            torch.testing.assert_close(
                value, expected, rtol=3e-3 if frame == "whitened" else 2e-4, atol=2e-4
            )


@pytest.mark.law
def test_close_twins_keep_their_accuracy_in_float32(mlp: nn.Module, digits) -> None:
    """At the input, where the displacement is exact, float32 agrees with float64."""
    x, y = digits.x[:30] * 0.5 + 0.25, digits.y[:30]
    layers = find_layers(mlp, x)[:1]
    references = trace_reference(mlp, digits.reference_x, digits.reference_y, layers, classes=10)
    for closeness in (2.0**-4, 2.0**-8, 2.0**-12, 2.0**-20):
        step = torch.randint(-1, 2, x.shape, generator=torch.Generator().manual_seed(0)) * closeness
        found = trace_twins(mlp, x, x, x + step, y, references, layers).rapidity[
            "adversarial_clean"
        ][:, 0]
        origin = references[0].frame.origin
        clean = x.flatten(1).double() - origin
        exact = wl.rapidity_of_displacement(clean, ((x + step) - x).flatten(1).double())
        torch.testing.assert_close(found, exact, rtol=1e-5, atol=0)


@pytest.mark.law
def test_identical_twins_have_infinite_rapidity(mlp: nn.Module, digits) -> None:
    x, y = digits.x[:5], digits.y[:5]
    layers = find_layers(mlp, x)
    references = trace_reference(mlp, digits.reference_x, digits.reference_y, layers, classes=10)
    found = trace_twins(mlp, x, x, x, y, references, layers)
    assert torch.isposinf(found.rapidity["adversarial_clean"]).all()


@pytest.mark.law
def test_batch_size_does_not_matter(cnn: nn.Module, digits) -> None:
    x, y = digits.x[:50], digits.y[:50]
    layers = find_layers(cnn, x)
    results = []
    for size in (7, 256):
        references = trace_reference(
            cnn,
            digits.reference_x,
            digits.reference_y,
            layers,
            classes=10,
            settings=wl.Settings(batch_size=size),
        )
        results.append(trace_twins(cnn, x, 1 - x, x.sqrt(), y, references, layers, batch_size=size))
    for name, value in results[0].rapidity.items():
        torch.testing.assert_close(value, results[1].rapidity[name], rtol=1e-3, atol=1e-4)


@pytest.mark.message
def test_whitening_a_wide_layer_is_refused() -> None:
    model, x = nn.Linear(5000, 2), torch.rand(3, 5000)
    with pytest.raises(
        ShapeError, match="5000×5000 matrix at layer 'input', over the limit of 4096"
    ):
        trace_reference(
            model,
            x,
            torch.tensor([0, 1, 0]),
            find_layers(model, x),
            classes=2,
            settings=wl.Settings(frame="whitened"),
        )


MEMORY = """
import sys, torch
from torch import nn
import worldline as wl
from worldline.trace import find_layers, trace_reference, trace_twins
torch.set_num_threads(1)
samples = int(sys.argv[1])
head = nn.Linear(64 * 256, 10)
model = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), head)
x, y = torch.rand(60, 1, 16, 16).repeat(samples // 60, 1, 1, 1), torch.arange(samples) % 10
layers = find_layers(model, x)
settings = wl.Settings(batch_size=60)
references = trace_reference(model, x, y, layers, classes=10, settings=settings)
trace_twins(model, x, x, x, y, references, layers, batch_size=60)
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.law
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_peak_memory_does_not_grow_with_the_number_of_samples() -> None:
    peak = []
    for samples in (120, 1200):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(samples)], capture_output=True, text=True, check=True
        )
        peak.append(int(done.stdout))
    features = 1080 * 2 * 64 * 256 * 4 / 1024  # KiB that keeping those of the others would take
    assert peak[1] - peak[0] < 0.25 * features
