"""``check_model``: what it finds in strange models, and that nothing they do ends it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import worldline as wl

FUZZ = Path(__file__).parents[2] / "fuzz" / "models.py"


class Does(nn.Module):
    """A linear classifier whose forward is bent by a function."""

    def __init__(self, bend) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.bend = nn.Linear(6, 4), bend

    def forward(self, x: Tensor) -> object:
        return self.bend(self, x)


def check(
    model: object, x: Tensor | None = None, y: Tensor | None = None, **options
) -> dict[str, wl.checks.Check]:
    x = torch.rand(30, 6, generator=torch.Generator().manual_seed(0)) if x is None else x
    return {it.name: it for it in wl.check_model(model, x, y, **options).checks}


def warns(found: dict) -> set[str]:
    return {name for name, it in found.items() if it.status == "warned"}


def write(self: Does, x: Tensor) -> Tensor:
    x.clamp_(0.2, 0.8)
    return self.layer(x)


def forget(self: Does, x: Tensor) -> Tensor:
    self.calls = getattr(self, "calls", 0) + 1
    return self.layer(x) * self.calls


BENT = {  # what the model does → the checks that must warn, words that must be there
    "random": (
        lambda m, x: m.layer(x) + torch.randn(len(x), 4),
        {"deterministic", "batch"},
        "random at test time",
    ),
    "writes": (write, {"unchanged"}, "writes into its input"),
    "of the batch": (
        lambda m, x: m.layer(x - x.mean(0)),
        {"batch"},
        "with the others in its batch",
    ),
    "forgets": (forget, {"deterministic"}, "random at test time"),
    "nan": (lambda m, x: m.layer(x) / 0 * 0, {"finite", "gradient"}, "NaN or infinite outputs"),
    "detached": (lambda m, x: m.layer(x).detach(), {"gradient"}, "zero, not finite or missing"),
    "probabilities": (lambda m, x: m.layer(x).softmax(1), {"logits"}, "look like probabilities"),
    "rounded": (
        lambda m, x: (4 * m.layer(x)).round() / 4,
        {"rounded", "gradient"},
        "rounded or quantised",
    ),
    "half": (lambda m, x: m.layer(x).half(), {"precision"}, "float16 (3 digits)"),
    "two logits": (lambda m, x: (m.layer(x), -m.layer(x)), {"runs"}, "that could be them"),
    "none": (lambda m, x: None, {"runs"}, "it returned NoneType"),
    "two dimensions": (
        lambda m, x: m.layer(x)[:, :2, None].tile(2),
        {"runs"},
        "or one logit a sample",
    ),
    "raises": (lambda m, x: 1 / 0, {"runs"}, "ZeroDivisionError was raised: division by zero"),
    "exits": (lambda m, x: sys.exit(3), {"runs"}, "SystemExit was raised: 3"),
}


@pytest.mark.message
@pytest.mark.parametrize("kind", BENT)
def test_what_a_strange_model_does_is_named(kind: str) -> None:
    bend, names, words = BENT[kind]
    found = check(Does(bend))
    assert warns(found) >= names
    assert any(words in found[name].sentence for name in names), [
        found[name].sentence for name in names
    ]
    good = check(Does(lambda m, x: m.layer(x)))
    assert warns(good) == set()
    assert list(good) == [
        *(
            "inputs",
            "runs",
            "finite",
            "unchanged",
            "traceable",
            "deterministic",
            "batch",
            "mode",
            "gradient",
            "logits",
        ),
        *("rounded", "precision", "bounds", "chance"),
    ]


@pytest.mark.message
def test_bounds_and_modes_that_are_not_honest() -> None:
    model = nn.Sequential(nn.Linear(6, 4))
    normal = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    found = check(model, normal)
    assert warns(found) == {"bounds"}
    assert "look normalised: move the normalisation into the model" in found["bounds"].sentence
    assert warns(check(model, normal, bounds=(-6, 6))) == set()
    assert (
        "less than a twentieth of the declared bounds"
        in check(model, torch.rand(9, 6), bounds=(0, 255))["bounds"].sentence
    )
    assert "outside the declared bounds" in check(model, 255 * torch.rand(9, 6))["bounds"].sentence
    noisy = nn.Sequential(nn.Linear(6, 4), nn.Dropout()).train()
    found = check(noisy)
    assert warns(found) == {"mode"}
    assert "left in training mode, where the outputs differ" in found["mode"].sentence
    assert noisy[1].training
    assert warns(check(nn.Sequential(nn.Linear(6, 4)).train())) == set()


@pytest.mark.message
@pytest.mark.parametrize("model", [None, 7, "model", nn.Linear, [], object()])
def test_what_is_no_model_is_one_check(model: object) -> None:
    report = wl.check_model(model, torch.rand(4, 6))
    assert not report.sound
    assert (report.classes, report.layers, report.dtype) == (None, (), None)
    assert "WARN runs: " in str(report)


@pytest.mark.message
@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (None, None, "floating tensor (N, …); got NoneType"),
        (torch.zeros(3, 6, dtype=torch.long), None, "Convert with x.float()"),
        (torch.zeros(0, 6), None, "at least one sample"),
        (torch.rand(3, 6) / 0, None, "3 samples hold NaN or infinity"),
        (torch.rand(3, 6), torch.zeros(2, dtype=torch.long), "3 samples, 2 labels"),
        (torch.rand(3, 6), torch.eye(4)[:3], "looks one-hot"),
        (torch.rand(3, 6), torch.tensor([0, -1, 2]), "got -1…2"),
        (torch.rand(3, 6), torch.tensor([0, 1, 9]), "as the model has 4 outputs; got 0…9"),
    ],
)
def test_inputs_that_do_not_fit_are_named(x: object, y: object, words: str) -> None:
    found = wl.check_model(nn.Linear(6, 4), x, y)
    assert any(words in it.sentence for it in found.checks if it.status == "warned"), str(found)


@pytest.mark.law
def test_the_report_holds_what_was_learnt(cnn: nn.Module, digits) -> None:
    report = wl.check_model(cnn, digits.x, digits.y)
    assert report.sound
    assert (report.classes, report.dtype) == (10, "float32")
    assert report.layers == ("input", "relu1", "relu2", "relu3", "logits")
    assert {it.name: it for it in report.checks}["chance"].value == pytest.approx(
        float((cnn(digits.x).argmax(1) == digits.y).double().mean())
    )
    assert "ok   gradient: Each of 64 inputs has a finite gradient" in str(report)


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz_models", FUZZ)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.law
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "seed", [784, 1890, 2241]
)  # wrote into the inputs through a check that did not copy them
def test_what_the_fuzzer_found_stays_fixed(seed: int, fuzz) -> None:
    assert fuzz.once(seed) is None


@pytest.mark.law
@pytest.mark.filterwarnings("ignore")
@given(seed=st.integers(0, 2**31))
@settings(max_examples=150)
def test_no_model_ends_the_examination(seed: int, fuzz) -> None:
    assert fuzz.once(seed) is None
