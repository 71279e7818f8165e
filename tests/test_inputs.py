"""The one door: labels and inputs as people hold them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import worldline as wl
from worldline.cli import commands as command_line
from worldline.errors import BoundsError, LabelError, ShapeError
from worldline.inputs import labels_of, logits_of, named_labels, samples_of

NUMBERS = [2, 0, 1, 1]
SAME = {
    **{str(it): torch.tensor(NUMBERS).to(it) for it in (torch.int8, torch.uint8, torch.float64)},
    **{it: np.array(NUMBERS, dtype=it) for it in ("int16", "uint16", "uint64", ">i4", "f4", "O")},
    "a column": torch.tensor(NUMBERS)[:, None],
    "a column of floats": np.array(NUMBERS, dtype="f8")[:, None],
    "a list": NUMBERS,
    "numbers as words": ["2", "0", "1", "1"],
}


@pytest.mark.law
@pytest.mark.parametrize("kind", SAME)
def test_whole_numbers_of_any_kind_are_class_numbers(kind: str) -> None:
    found = labels_of(SAME[kind], 4, classes=3)
    assert found.dtype == torch.int64
    assert found.tolist() == NUMBERS


@pytest.mark.law
def test_words_are_the_class_names() -> None:
    found, names = named_labels(np.array(["shirt", "bag", "shirt"]))
    assert (found.tolist(), names) == ([1, 0, 1], ("bag", "shirt"))
    assert named_labels([b"bag"], ("shirt", "bag"))[0].tolist() == [1]
    assert labels_of([True, False], 2, classes=2).tolist() == [1, 0]


REFUSED = [
    (np.eye(3), r"\(3, 3\) torch.float64, which looks one-hot. Pass y.argmax\(1\)"),
    (torch.tensor([[1, 1, 0], [0, 0, 0], [0, 1, 0]]), "looks multi-label: 2 samples have none or"),
    (torch.full((3, 4), 0.25), r"looks like probabilities. Pass y.argmax\(1\)"),
    (torch.tensor([[3, 1], [2, 2], [0, 5]]), "several columns. Pass the one that holds the class"),
    (torch.tensor([0, 1.5, 2]), "label 1 is 1.5. A regression target has no class"),
    (torch.tensor([0, torch.nan, 2]), "label 1 is nan"),
    (
        torch.tensor([1, 2, 3]),
        r"0…2, as the model has 3 outputs; got 1…3. They seem to count from 1",
    ),
    (torch.tensor([-1, 1, 1]), r"got -1…1. They seem to be signs: pass y > 0"),
    (torch.tensor([0, 1]), "3 samples, 2 labels"),
    (torch.zeros(3, 1, 1), r"class numbers \(N,\); got \(3, 1, 1\)"),
    (object(), "class numbers or names, one for each sample; got object"),
    ([[1], [2, 3], []], "class numbers or names, one for each sample; got list"),
]


@pytest.mark.message
@pytest.mark.parametrize(("y", "words"), REFUSED)
def test_labels_that_are_none_are_told_what_to_do(y: object, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        labels_of(y, 3, classes=3)


@pytest.mark.message
def test_a_word_that_is_no_class() -> None:
    with pytest.raises(LabelError, match="Label 'hat' is none of the 2 classes: bag, shirt"):
        named_labels(["bag", "hat"], ("bag", "shirt"))


@pytest.mark.law
def test_inputs_as_people_hold_them() -> None:
    pixels = np.array([[0, 51, 255]], dtype=np.uint8)
    found, notes = samples_of(pixels, (0.0, 1.0))
    assert found.tolist() == [[0.0, pytest.approx(0.2), 1.0]]
    assert "divided by 255" in notes[0]
    found, notes = samples_of(pixels, (0.0, 255.0))
    assert (found.tolist(), found.dtype, notes) == ([[0.0, 51.0, 255.0]], torch.float32, ())
    assert samples_of(np.ones((2, 3), dtype=">f8"), (0, 1))[0].dtype == torch.float64
    assert samples_of([[1, 0]], (0, 1))[0].dtype == torch.float32


@pytest.mark.message
def test_inputs_that_are_none_are_told_what_to_do() -> None:
    with pytest.raises(BoundsError, match="look like pixels: divide them by 255"):
        samples_of(torch.tensor([[0.0, 250.0]]), (0, 1))
    with pytest.raises(BoundsError, match="pass the bounds of your data"):
        samples_of(torch.tensor([[-3.0, 2.0]]), (0, 1))
    for odd in ("words", [["a"]], None):
        with pytest.raises(ShapeError, match="tensor or an array of numbers"):
            samples_of(odd, (0, 1))


@pytest.mark.law
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_model_gets_inputs_in_its_own_dtype_from_every_public_function(dtype) -> None:
    model = torch.nn.Linear(6, 3).to(dtype)
    x = torch.rand(40, 6, generator=torch.Generator().manual_seed(0))
    y = logits_of(model, x).argmax(1)
    y[:3] = torch.arange(3)
    adversarial = wl.attacks.PGD(epsilon=0.1, steps=2)(model, x, y).x
    assert adversarial.dtype == x.dtype
    assert wl.explain.twins(model, x, adversarial, y.int()[:, None]).layers
    assert wl.explain.distant(model, x, y.float(), nulls=0).counts.pairs > 0
    assert wl.explain.complexity(model, x, y=y.to(torch.int8), null=False).layers


def run(command: str, data: Path, model: str, *more: str) -> dict:
    found = CliRunner().invoke(
        command_line, [command, model, "--data", str(data), "--json", "--quiet", *more]
    )
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@pytest.mark.end_to_end
def test_bytes_are_scaled_and_channels_turned_where_the_model_wants_it(
    tmp_path: Path, monkeypatch, digits
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = digits.x[:120], digits.y[:120]
    np.savez("floats.npz", x=x.numpy(), y=y.numpy())
    last = (x * 255).round().to(torch.uint8).movedim(1, 3)
    np.savez("bytes.npz", x=last.numpy(), y=y.to(torch.float32).numpy()[:, None])
    quick = ("--samples", "60", "--steps", "2")
    plain, turned = (
        run("explore", tmp_path / f"{it}.npz", "cnn", *quick) for it in ("floats", "bytes")
    )
    assert turned["clean_accuracy"] == pytest.approx(plain["clean_accuracy"], abs=0.02)
    assert "divided by 255" in turned["notes"][0]
    assert "(8, 8, 1) were turned to channels first" in turned["notes"][1]
    compared = run("compare", tmp_path / "bytes.npz", "cnn", "linear", "--samples", "60")
    assert any("turned to channels first" in it for it in compared["notes"])
