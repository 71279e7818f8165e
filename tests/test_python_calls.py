"""The seven commands as calls in Python: the same records, from whatever people hold."""

from __future__ import annotations

import functools
import gc
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from selenium.webdriver.support.ui import WebDriverWait
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import worldline as wl
from worldline import commands
from worldline.calls import options
from worldline.commands import base
from worldline.errors import (
    BoundsError,
    DataError,
    InputError,
    LabelError,
    ModelError,
    ShapeError,
    UsageError,
)
from worldline.runs.codec import to_json
from worldline.runs.config import options_of

SAMPLES = 60
QUICK = {"samples": SAMPLES, "steps": 4}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, Tensor, str]:
    """Samples as tensors, and the same ones in a file."""
    data = wl.zoo.digits()
    x, y = data.reference_x[:240].clone(), data.reference_y[:240].clone()
    file = tmp_path_factory.mktemp("data") / "held.npz"
    np.savez(file, x=x.numpy(), y=y.numpy())
    return x, y, str(file)


class Normed(nn.Module):
    """Behaves otherwise in training: its statistics move, and it drops features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def plain(result: Any, **renamed: object) -> str:
    """A record as text, but for the names of data."""
    return to_json(replace(result.record, **renamed))


NAMED = {
    "explore": ({"model": "mlp", **QUICK}, {}),
    "carriers": ({"model": "mlp", **QUICK}, {}),
    "doctor": ({"model": "mlp", **QUICK, "attack_selftest": False}, {}),
    "complexity": ({"models": ("mlp", "linear"), **QUICK, "eps": "0.1"}, {}),
    "distant": ({"model": "mlp", "samples": 120, "pairs": 3, "nulls": 1}, {}),
    "compare": ({"models": ("mlp", "linear"), **QUICK, "probed_samples": 20, "measure": True}, {}),
}


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", NAMED)
def test_a_call_gives_the_record_of_the_command(
    name: str, held: tuple[Tensor, Tensor, str], tmp_path: Path
) -> None:
    x, y, file = held
    given = dict(NAMED[name][0])
    config = commands.config_of(name)(data=file, **given)
    expected = commands.load(name)(config, tmp_path / "run")
    models = [wl.zoo.load(it) for it in given.pop("models", (given.pop("model", ""),))]
    names = config.models if hasattr(config, "models") else (config.model,)
    if "models" not in NAMED[name][0]:
        found = getattr(wl, name)(models[0], x, y, name=names[0], **given)
    else:
        call = wl.compare_models if name == "compare" else wl.complexity
        found = call(dict(zip(names, models, strict=True)), x.numpy(), y.tolist(), **given)
    assert type(found.record) is type(expected.record)
    assert plain(found, data="here") == plain(expected, data="here")
    for table in expected.folder.path.glob("*.parquet"):
        assert found.folder.read_table(table.name).equals(expected.folder.read_table(table.name))


@pytest.mark.end_to_end
def test_encode_gives_the_record_of_the_command(tmp_path: Path) -> None:
    a = torch.randn(50, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    np.savez(tmp_path / "pairs.npz", a=a.numpy(), b=(a + 0.1).numpy())
    config = commands.config_of("encode")(name="pairs", data=str(tmp_path / "pairs.npz"))
    expected = commands.load("encode")(config, tmp_path / "run").record
    found = wl.encode("pairs", data=(a, (a + 0.1).numpy())).record
    assert found.headline == expected.headline
    assert found.experiments[0].finding == expected.experiments[0].finding
    assert found.experiments[0].input == "50 pairs of the given data"
    assert wl.encode("pairs", data=str(tmp_path / "pairs.npz")).record == expected
    picture = wl.zoo.picture()
    drawn = wl.encode("reconcile", image=picture, depth=20).record
    assert drawn.headline == wl.encode("reconcile", depth=20).record.headline
    small = picture[:8, :8]
    held = wl.encode("pictures", image=small, receiver=small.T, setting="quick").to_frame()
    assert held["held"].max() == 1
    assert len(held) == 64
    assert "--image FILE" in drawn.experiments[0].command


class Mine(Dataset):
    """A data set that names its classes."""

    classes = tuple("abcdefghij")

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.x[place], int(self.y[place])


def loader(data: Dataset) -> DataLoader:
    return DataLoader(data, batch_size=7)


HOLDING: dict[str, Callable[[Tensor, Tensor], tuple[Any, ...]]] = {
    "arrays": lambda x, y: (x.numpy(), y.numpy()),
    "float labels in a column": lambda x, y: (x, y.float()[:, None]),
    "lists": lambda x, y: (x.tolist(), y.tolist()),
    "dataset": lambda x, y: (TensorDataset(x, y),),
    "own dataset": lambda x, y: (Mine(x, y),),
    "list of pairs": lambda x, y: (list(zip(x, y, strict=True)),),
    "loader": lambda x, y: (loader(TensorDataset(x, y)),),
    "loader of a subset": lambda x, y: (loader(Subset(Mine(x, y), range(len(x)))),),
    "batches": lambda x, y: (zip(x.split(9), y.split(9), strict=True),),
    "result": lambda x, y: (wl.attacks.FGSM(epsilon=0.0001)(nn.Flatten(), x, y), y),
}


@pytest.mark.law
@pytest.mark.parametrize("kind", HOLDING)
def test_data_is_taken_as_people_hold_it(kind: str, held: tuple[Tensor, Tensor, str]) -> None:
    x, y = held[0][:80], held[1][:80]
    expected = wl.loading.hold_data(x, y)
    found = wl.loading.hold_data(*HOLDING[kind](x, y))
    assert torch.equal(found.y, expected.y)
    assert torch.equal(found.rows, expected.rows)
    assert torch.equal(found.reference_rows, expected.reference_rows)
    far = 2e-4 if kind == "result" else 0
    torch.testing.assert_close(found.x.float(), expected.x, atol=far, rtol=0)
    named = kind in ("own dataset", "loader of a subset")
    assert found.class_names == (Mine.classes if named else None)


@pytest.mark.end_to_end
def test_a_loader_that_shuffles_does_so_by_the_seed(held: tuple[Tensor, Tensor, str]) -> None:
    x, y, _ = held
    shuffled = DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)
    state = torch.get_rng_state()
    first = wl.explore("linear", shuffled, **QUICK).record
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert wl.explore("linear", shuffled, **QUICK).record == first
    assert wl.explore("linear", shuffled, seed=1, **QUICK).record != first


@pytest.mark.end_to_end
def test_names_data_and_reference_are_taken(held: tuple[Tensor, Tensor, str]) -> None:
    x, y, file = held
    words = np.array(Mine.classes)[y.numpy()]
    found = wl.explore("linear", x, words, reference=(x[:100], words[:100]), **QUICK).record
    assert found.class_names == Mine.classes
    assert "100 reference samples come with them" in found.data_split
    assert found.model == "linear"
    assert wl.explore("linear", file, **QUICK).record.data == "held.npz"
    data = wl.zoo.digits()
    assert wl.explore("linear", data, **QUICK).record.data == data.name
    named = wl.explore("linear", x, y, class_names=[f"digit {it}" for it in range(10)], **QUICK)
    assert named.record.class_names[3] == "digit 3"


def _but_for_the_mode(found: Any) -> object:
    """The mode decides nothing; the doctor says which it was."""
    if not hasattr(found.record, "selftest"):
        return found.record
    checks = tuple(it for it in found.record.checks if it.name != "mode")
    return replace(found.record, checks=checks)


@pytest.mark.law
@pytest.mark.parametrize(
    "kind", ["explore", "carriers", "doctor", "complexity", "distant", "compare"]
)
def test_the_model_and_the_data_are_left_as_they_were(
    kind: str, held: tuple[Tensor, Tensor, str]
) -> None:
    x, y, model = held[0].clone().requires_grad_(), held[1], Normed().train()
    model.head[1].weight.grad = torch.ones_like(model.head[1].weight)
    content = {name: value.clone() for name, value in model.state_dict().items()}
    state, random = dict(vars(model)), torch.get_rng_state()
    more: dict[str, Any] = {"nulls": 1, "pairs": 2} if kind == "distant" else {"steps": 2}
    more |= {"eps": 0.9} if kind == "carriers" else {}  # something must be fooled
    if kind in ("complexity", "compare"):
        call = wl.compare_models if kind == "compare" else wl.complexity
        found = call({"a": model, "b": wl.zoo.load("linear")}, x, y, samples=40, **more)
    else:
        found = getattr(wl, kind)(model, x, y, samples=40, **more)
        calm = getattr(wl, kind)(Normed().eval(), x, y, samples=40, **more)
        assert _but_for_the_mode(found) == _but_for_the_mode(calm)
        assert found.record.model == "Normed"
    assert model.training
    assert model.head.training
    assert vars(model) == state
    assert all(torch.equal(value, content[name]) for name, value in model.state_dict().items())
    assert bool((model.head[1].weight.grad == 1).all())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(x, held[0])
    assert x.grad is None


@pytest.mark.law
@pytest.mark.parametrize("kind", ["tensor", "result", "array"])
def test_twins_that_were_made_already_stand_for_their_attack(
    kind: str, held: tuple[Tensor, Tensor, str]
) -> None:
    x, y, _ = held
    x = torch.cat([x, x[:10]])  # some inputs twice
    y = torch.cat([y, y[:10]])
    model = wl.zoo.load("linear")
    attack = wl.attacks.PGD(epsilon=0.12, steps=4, seed=3)
    found = attack(model, x, y)
    data = wl.loading.hold_data(x, y)
    twins = found.x[data.rows]
    own = wl.explore(model, x, y, attack=lambda *_: twins, eps=0.12)
    adversarial = {"tensor": found.x, "result": found, "array": found.x.numpy()}[kind]
    result = wl.explore(model, x, y, adversarial=adversarial)
    record = result.record
    assert record.attack == "given:adversarial"
    assert record.epsilon_text == "0.12"
    kept = result.folder.read_tensors("twins.safetensors")
    assert torch.equal(kept["adversarial"], twins)
    assert record.layers == own.record.layers
    for call in (wl.doctor, wl.complexity) if kind == "tensor" else ():
        again = call(model.double(), x, y, adversarial=adversarial, samples=40).record
        assert again.attack == "given:adversarial"


@pytest.mark.end_to_end
@pytest.mark.parametrize("wrapped", [False, True])
def test_twins_of_pictures_are_turned_with_them(wrapped: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    x, y = torch.rand(80, 8, 8, 3), torch.arange(80) % 3
    twins = (x + 0.03).clamp(0, 1)
    model = functools.partial(net) if wrapped else net
    found = wl.explore(model, x, y, adversarial=twins, samples=20)
    rows = wl.loading.hold_data(x, y).rows[:20]
    kept = found.folder.read_tensors("twins.safetensors")["adversarial"]
    assert torch.equal(kept, twins[rows].movedim(3, 1))
    assert any("channels first" in note for note in found.record.notes)


TABLE = torch.rand(80, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 9, 1, 99])
KINDS = torch.arange(80) % 2


def table_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


@pytest.mark.law
@pytest.mark.parametrize("array", [torch.as_tensor, lambda it: it.numpy()])
def test_budgets_are_taken_as_arrays(array: Callable[[Tensor], Any]) -> None:
    sizes, free = 0.1 * TABLE.std(0), torch.tensor([True, False, True, True])
    box = TABLE.amin(0) - 1, TABLE.amax(0)
    given = {"eps": array(sizes), "mask": array(free), "bounds": tuple(map(array, box))}
    found = wl.explore(table_net(), TABLE, KINDS, **given, immutable=[2], steps=3)
    twins = found.folder.read_tensors("twins.safetensors")
    moved = (twins["adversarial"] - twins["clean"]).abs()
    assert torch.equal(moved.amax(0) > 0, torch.tensor([True, False, False, True]))
    assert bool((moved <= sizes * 1.0001).all())
    assert found.record.bounds == (float(box[0].min()), float(box[1].max()))
    assert any("2 of 4 entries" in note for note in found.record.notes)


@pytest.mark.law
def test_bounds_are_taken_from_arrays_of_every_command() -> None:
    found = wl.complexity(table_net(), TABLE, KINDS, bounds="auto", samples=12)
    assert found.record.bounds == (float(TABLE.min()), float(TABLE.max()))
    models = [table_net(), nn.Linear(4, 2)]
    found = wl.compare_models(models, TABLE, KINDS, bounds="auto", probed_samples=8, probes=2)
    assert found.record.bounds == (float(TABLE.min()), float(TABLE.max()))


@pytest.mark.law
@pytest.mark.parametrize(
    "x",
    [
        (TABLE, KINDS),
        {"data": TABLE.numpy(), "target": KINDS.numpy(), "target_names": ["a", "b"]},
        {"x_test": TABLE, "y_test": KINDS, "x_train": TABLE[:9], "y_train": KINDS[:9]},
    ],
)
def test_inputs_and_labels_come_together(x: Any) -> None:
    data = wl.loading.hold_data(x, bounds=(0, 99))
    rows = data.rows
    assert torch.equal(data.x, TABLE[rows])
    assert torch.equal(data.y, KINDS[rows])
    assert (data.class_names == ("a", "b")) == ("target_names" in x)
    assert (len(data.reference_x) == 9) == ("x_train" in x)


@pytest.mark.law
def test_batches_that_come_once_are_kept_while_their_bounds_are_found() -> None:
    batches = ((TABLE[it : it + 8], KINDS[it : it + 8]) for it in range(0, 80, 8))
    found = wl.distant(table_net(), batches, bounds="auto", nulls=0, pairs=1)
    assert found.record.bounds == (float(TABLE.min()), float(TABLE.max()))


@pytest.mark.law
def test_columns_of_a_table_have_their_names() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(TABLE.numpy(), columns=["age", "dose", "sex", "weight"])
    table.insert(1, "kind", ["no", "yes"] * 40)
    data = wl.loading.hold_data(table, "kind", bounds=(0, 99))
    assert data.feature_names == ("age", "dose", "sex", "weight")
    assert data.class_names == ("no", "yes")
    assert torch.equal(data.x, TABLE[data.rows])
    with pytest.raises(LabelError, match="'sort' is no column of the table; they are age, kind"):
        wl.loading.hold_data(table, "sort")


@pytest.mark.end_to_end
def test_an_attack_may_be_a_callable(held: tuple[Tensor, Tensor, str]) -> None:
    x, y, _ = held
    expected = wl.explore("mlp", x, y, eps=0.1, **QUICK).record
    attack = wl.attacks.PGD(epsilon=0.1, steps=4)
    found = wl.explore("mlp", x, y, attack=attack, eps=0.1, **QUICK).record
    assert found.attack == "worldline.attacks.pgd:PGD"
    assert found.layers == expected.layers
    assert [it.name for it in found.layers] == [it.name for it in expected.layers]


@pytest.mark.end_to_end
def test_a_call_works_inside_a_block_without_gradients(held: tuple[Tensor, Tensor, str]) -> None:
    x, y, _ = held
    expected = wl.explore("linear", x, y, **QUICK).record
    for block in (torch.no_grad, torch.inference_mode):
        with block():
            assert wl.explore("linear", x, y, **QUICK).record == expected
            assert not torch.is_grad_enabled()


@pytest.mark.end_to_end
def test_a_result_says_itself_and_gives_tables(
    held: tuple[Tensor, Tensor, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas = pytest.importorskip("pandas")
    x, y, _ = held
    found = wl.explore("linear", x, y, **QUICK)
    assert "\n" not in repr(found)
    frame = found.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["name"]) == [it.name for it in found.record.layers]
    assert len(found.to_frame("samples")) == SAMPLES
    with pytest.raises(UsageError, match="layers, pairs, samples; got 'nothing'"):
        found.to_frame("nothing")
    others = {
        "checks": wl.doctor("linear", x, y, **QUICK),
        "layers": wl.complexity(["linear", "mlp"], x, y, **QUICK),
        "pairs": wl.distant("linear", x, y, samples=120, nulls=0),
    }
    assert list(others["checks"].to_frame()["name"]) == [
        it.name for it in others["checks"].record.checks
    ]
    assert set(others["layers"].to_frame()["model"]) == {"linear", "mlp"}
    record = others["pairs"].record
    assert len(others["pairs"].to_frame()) == len(record.merged) + len(record.opposed)
    models = wl.compare_models(["linear", "mlp"], x, y, probed_samples=20, **QUICK)
    assert len(models.to_frame()) == 4
    assert len(wl.encode("dilation", pairs=5).to_frame())
    html = found._repr_html_()
    assert html.startswith("<p>")
    assert "<iframe" in html
    monkeypatch.setattr(base, "LONGEST_INLINE", 10)
    assert "<iframe" not in found._repr_html_()
    assert "<table>" in found._repr_html_()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(base, "find_spec", lambda _name: None)
    with pytest.raises(InputError, match=re.escape("pip install 'worldline[pandas]'")):
        found.to_frame()


@pytest.mark.end_to_end
def test_the_report_is_written_and_opens_also_inside_a_notebook(
    held: tuple[Tensor, Tensor, str], tmp_path: Path, browser: Any
) -> None:
    x, y, _ = held
    found = wl.explore("linear", x, y, **QUICK)
    page = found.report(tmp_path / "mine.html")
    assert page == tmp_path / "mine.html"
    assert found.report() == found.folder.path / "report.html"
    assert {it for it in browser.open(page) if not it.startswith("data:")} == {page.as_uri()}
    assert not browser.complaints()
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><body>{found._repr_html_()}</body>", "utf-8")
    browser.get(notebook.as_uri())
    ready = "return document.querySelector('iframe').contentDocument?.body?.dataset.ready"
    WebDriverWait(browser, 30).until(lambda it: it.execute_script(ready) == "true")
    browser.switch_to.frame(0)
    figure = browser.find_element("css selector", "[role=listbox]")
    figure.send_keys("\ue015")
    browser.switch_to.default_content()
    assert not browser.complaints()


@pytest.mark.law
def test_a_run_without_a_folder_lives_as_long_as_its_result(
    held: tuple[Tensor, Tensor, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y, _ = held
    found = wl.complexity("linear", x, y, samples=40)
    where = found.folder.path
    assert where.is_dir()
    del found
    gc.collect()
    assert not where.exists()
    assert not where.parent.exists()
    assert not list(tmp_path.iterdir())
    kept = wl.complexity("linear", x, y, samples=40, out="mine")
    assert (tmp_path / "mine" / "report.html").is_file()
    del kept
    gc.collect()
    assert (tmp_path / "mine" / "summary.json").is_file()


@pytest.mark.law
def test_keyword_arguments_are_the_options_of_the_commands() -> None:
    apart = {"model", "models", "data", "name", "image", "receiver", "x", "y"}
    further = {"out", "progress", "reference", "class_names", "adversarial", "name"}
    for name in commands.COMMANDS:
        known = get_type_hints(getattr(options, f"{name.capitalize()}Options"))
        expected = {it.name: it.hint for it in options_of(commands.config_of(name))}
        assert set(known) - further == set(expected) - apart, name
        for key in set(known) - further:
            assert str(expected[key]) in str(known[key]) or key in (
                "bounds",
                "immutable",
                "mask",
                "eps",
                "sigma",
                "attack",
                "layers",
                "pair",
                "layer",
            ), (name, key)


WRONG: dict[str, tuple[type[Exception], str, Callable[[Tensor, Tensor], object]]] = {
    "no y": (LabelError, "y is missing", lambda x, y: wl.explore("linear", x)),
    "length": (LabelError, "240 samples, 9 labels", lambda x, y: wl.doctor("linear", x, y[:9])),
    "x": (DataError, "x must be a tensor or an array", lambda x, y: wl.explore("linear", 3)),
    "x with y": (DataError, "where y is given", lambda x, y: wl.explore("linear", {1: 2}, y)),
    "y twice": (
        DataError,
        "comes without y",
        lambda x, y: wl.explore("linear", loader(TensorDataset(x, y)), y),
    ),
    "batch": (
        DataError,
        r"Batch 0 of the DataLoader must be a pair \(x, y\)",
        lambda x, y: wl.explore("linear", loader(TensorDataset(x))),
    ),
    "pixels": (BoundsError, "outside bounds", lambda x, y: wl.explore("linear", 255 * x, y)),
    "model": (ModelError, "A model is an nn.Module", lambda x, y: wl.explore(3, x, y)),
    "class": (ModelError, "Normed is a class", lambda x, y: wl.explore(Normed, x, y)),
    "attack": (
        ModelError,
        "raised ZeroDivisionError",
        lambda x, y: wl.explore("linear", x, y, attack=lambda *_: 1 / 0),
    ),
    "reference": (
        DataError,
        r"must be a pair \(x, y\)",
        lambda x, y: wl.explore("linear", x, y, reference=x),
    ),
    "reference's shape": (
        ShapeError,
        "must be alike",
        lambda x, y: wl.explore("linear", x, y, reference=(x[..., :4], y)),
    ),
    "names": (
        LabelError,
        "2 class names",
        lambda x, y: wl.explore("linear", x, y, class_names=["a", "b"]),
    ),
    "option": (
        UsageError,
        "no option ep. Did you mean eps?",
        lambda x, y: wl.explore("linear", x, y, ep=1),
    ),
    "value": (
        UsageError,
        "--samples must be a whole number",
        lambda x, y: wl.explore("linear", x, y, samples="many"),
    ),
    "weights": (
        UsageError,
        "weights is for the model by name",
        lambda x, y: wl.explore(Normed(), x, y, weights="w.pt"),
    ),
    "resizing": (
        UsageError,
        "image_size is for data by name",
        lambda x, y: wl.explore("linear", x, y, image_size=8),
    ),
    "twins": (
        ShapeError,
        "one adversarial twin for each input",
        lambda x, y: wl.explore("linear", x, y, adversarial=x[:5]),
    ),
    "same twins": (
        DataError,
        "are the inputs themselves",
        lambda x, y: wl.explore("linear", x, y, adversarial=x),
    ),
    "twins and attack": (
        UsageError,
        "are there already",
        lambda x, y: wl.doctor("linear", x, y, adversarial=x, attack="pgd"),
    ),
    "bounds": (
        DataError,
        "leave bounds out",
        lambda x, y: wl.explore("linear", wl.zoo.digits(), bounds=(0, 2)),
    ),
    "sizes": (
        UsageError,
        "Sizes by feature are not for complexity",
        lambda x, y: wl.complexity("linear", x, y, eps=x[0]),
    ),
    "sizes' shape": (
        UsageError,
        r"eps has shape \(9,\); expected that of one input, \(1, 8, 8\)",
        lambda x, y: wl.explore("linear", x, y, eps=torch.ones(9)),
    ),
    "bounds by feature": (
        UsageError,
        "Bounds by feature are not for compare",
        lambda x, y: wl.compare_models(["linear", "mlp"], x, y, bounds=(x[0], x[0] + 1)),
    ),
    "outside bounds by feature": (
        BoundsError,
        "outside the bounds by feature",
        lambda x, y: wl.explore("linear", x, y, bounds=(0 * x[0], x[0] + (x[0] == 0))),
    ),
    "column": (
        UsageError,
        "--immutable names columns of a table",
        lambda x, y: wl.explore("linear", x, y, immutable=[3]),
    ),
    "tokens": (
        BoundsError,
        "if they number tokens, a text model takes their embeddings",
        lambda x, y: wl.explore("linear", torch.full(x.shape, 30000), y),
    ),
    "scikit-learn": (
        ModelError,
        "Wrap it: lambda x: torch.as_tensor",
        lambda x, y: wl.explore(LogisticRegression(), x, y),
    ),
    "one model": (
        UsageError,
        "at least 2 models",
        lambda x, y: wl.compare_models(["linear"], x, y),
    ),
    "pairs": (DataError, r"must be a pair \(a, b\)", lambda x, y: wl.encode("pairs", data=x)),
    "picture": (ShapeError, "a grey picture", lambda x, y: wl.encode("image", image=x)),
    "elsewhere": (
        UsageError,
        "dilation has no --image",
        lambda x, y: wl.encode("dilation", image=wl.zoo.picture()),
    ),
}


@pytest.mark.message
@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_used_is_said_before_any_work(
    what: str, held: tuple[Tensor, Tensor, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    error, words, call = WRONG[what]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(error, match=words) as raised:
        call(held[0], held[1])
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir()), "nothing is left"


@pytest.mark.law
def test_the_import_needs_no_torch() -> None:
    code = "import sys, worldline; print('torch' in sys.modules, 'explore' in dir(worldline))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
