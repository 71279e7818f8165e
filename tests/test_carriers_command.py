"""What carries an attack, from the command line to the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

import worldline as wl
from worldline.cli import commands as command_line
from worldline.commands import config_of, load
from worldline.commands.base import Result as Found
from worldline.commands.carriers.measuring import asked_of
from worldline.commands.carriers.record import CarriersReport, ModelCarriers
from worldline.commands.carriers.words import finding, headline, verdict, words
from worldline.commands.explore.record import Exploration
from worldline.commands.explore.words import words as words_of_explore
from worldline.commands.rendering import render_report, write_formats
from worldline.explain import Concentration, Curve, Cut, LayerFinding, UnitKind
from worldline.report.images import effect_map
from worldline.runs.store import RunFolder
from worldline.statistics import Share

QUICK = ("--samples", "80", "--steps", "5")
NETS = """
import torch
from torch import nn

class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)
    def forward(self, x):
        return self.head(self.block(x).mean(1))

def text():
    torch.manual_seed(0)
    return Text()

def planted():
    model = nn.Linear(3, 2)
    model.weight.data = torch.tensor([[0.0, 4.0, 0.0], [0.0, -4.0, 0.0]])
    model.bias.data = torch.tensor([-2.0, 2.0])
    return model

class Steps(nn.Module):
    def forward(self, x):
        x = (x.flatten(1) * 8).round() / 8
        return torch.stack([x[:, :32].sum(1), x[:, 32:].sum(1)], 1)

def steps():
    return Steps()
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command_line, ["carriers", *map(str, arguments)])


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    (folder / "nets.py").write_text(NETS)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(60, 9, 8, generator=generator)
    scope: dict[str, object] = {}
    exec(NETS, scope)
    with torch.no_grad():
        y = scope["text"]().eval()(x).argmax(1)  # type: ignore[operator]
    np.savez(folder / "text.npz", x=x.numpy(), y=y.numpy())
    rows = torch.rand(120, 3, generator=generator)
    table = [f"{a:.4f},{b:.4f},{c:.4f},{'no' if b > 0.5 else 'yes'}" for a, b, c in rows.tolist()]
    (folder / "table.csv").write_text("\n".join(["age,dose,weight,outcome", *table]))
    digits = torch.rand(80, 1, 8, 8, generator=generator)
    sides = digits.flatten(1).mul(8).round().div(8)
    label = (sides[:, 32:].sum(1) > sides[:, :32].sum(1)).long()
    np.savez(folder / "steps.npz", x=digits.numpy(), y=label.numpy())
    return folder


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("carriers") / "run"
    result = run("cnn", *QUICK, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert {**json.loads(result.stdout), "report": ""} == {
        **json.loads((out / "summary.json").read_text()),
        "report": "",
    }
    return out


@pytest.fixture(scope="module")
def record(found: Path) -> CarriersReport:
    return RunFolder(found).read_record(CarriersReport)


@pytest.mark.oracle
def test_the_tables_agree_with_the_record_and_effects_add_up(
    found: Path, record: CarriersReport
) -> None:
    layers = pq.read_table(found / "layers.parquet")
    assert layers.schema.metadata[b"worldline_schema"] == b"worldline.carriers/1"
    rows = layers.to_pylist()
    assert len(rows) == sum(len(it.counts) for it in record.found.layers)
    for row in rows:
        layer = record.found.layers[row["index"]]
        place = layer.counts.index(row["exchanged"])
        for order in ("carriers", "random", "change", "noise"):
            curve = layer.curve(order)
            assert curve is not None
            assert row[f"{order}_value"] == curve.repaired[place].value
    samples = pq.read_table(found / "samples.parquet").to_pandas()
    assert len(samples) == record.found.used == record.found.fooled
    change = (samples.margin_clean - samples.margin_adversarial).mean()
    units = pq.read_table(found / "units.parquet").to_pandas()
    for name, own in units.groupby("layer"):
        assert own.effect.sum() == pytest.approx(change, rel=0.03), name
    assert [it.name for it in record.found.layers] == ["input", "relu1", "relu2", "relu3"]


@pytest.mark.oracle
def test_what_is_shown_of_a_sample_is_what_the_model_says_of_it(
    found: Path, record: CarriersReport
) -> None:
    tensors, model, data = (
        load_file(found / "shown.safetensors"),
        wl.zoo.load("cnn"),
        wl.zoo.digits(),
    )
    pairs = [(it.label, it.wrong) for it in record.found.shown]
    assert len(pairs) == len(set(pairs)) == 6
    for place, it in enumerate(record.found.shown):
        clean, attacked, given = (
            tensors[name][place] for name in ("clean", "adversarial", "exchanged")
        )
        assert torch.equal(clean, data.x[data.place(it.sample)])
        back = given == clean
        assert torch.equal(given[~back], attacked[~back])
        order = tensors["map-00"][place].flatten().argsort(descending=True, stable=True)
        assert set(order[: it.units].tolist()) <= set(back.flatten().nonzero()[:, 0].tolist())
        with torch.no_grad():
            said = model(torch.stack([clean, attacked, given])).argmax(1).tolist()
        assert said == [it.label, it.wrong, it.answer]
    assert [(it.layer, it.by, it.grid) for it in record.found.maps] == [
        ("input", "pixel", (8, 8)),
        ("relu1", "position", (8, 8)),
        ("relu2", "position", (8, 8)),
    ]


@pytest.mark.end_to_end
def test_the_page_and_the_formats_say_the_verdict(found: Path, record: CarriersReport) -> None:
    page = render_report(RunFolder(found))
    said = words(record)
    for text in (said.headline, *said.findings):
        assert text.replace("'", "&#39;").replace(">", "&gt;") in page
    assert page.count('class="sample"') == 6 * (4 + 2)
    for name in ("spread", "repair", "gallery", "units"):
        assert f'id="{name}-title"' in page
    write_formats(RunFolder(found), ("md", "png"))
    assert verdict(record.found) in (found / "report.md").read_text().replace("\\", "")
    assert {"concentration.png", "repair-00.png", "units-03.png"} <= {
        it.name for it in (found / "figures").iterdir()
    }


@pytest.mark.end_to_end
def test_tokens_and_heads_of_a_transformer(nets: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = (
        f"{nets / 'nets.py'}:text",
        "--data",
        nets / "text.npz",
        "--eps",
        "0.3",
        "--steps",
        "8",
    )
    result = run(*given, "--out", out)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines()[:20])) <= 80
    record = RunFolder(out).read_record(CarriersReport)
    kinds = {it.name: (it.by, it.units) for it in record.found.layers}
    assert kinds["input"] == ("token", 9)
    assert kinds["block.norm2"] == ("token", 9)
    assert kinds["block.self_attn.out_proj.input"] == ("head", 2)
    assert "head" not in kinds, "two logits always carry all"
    assert not record.found.maps
    assert all(entry.name.startswith("token ") for it in record.found.shown for entry in it.entries)
    page = render_report(RunFolder(out))
    assert "Heads of the attentions" in page
    assert "block.self_attn: heads" in page


@pytest.mark.end_to_end
def test_columns_of_a_table_are_called_by_their_names(nets: Path, tmp_path: Path) -> None:
    """Only one of them moves the planted model, and it is the first in every sample."""
    given = (f"{nets / 'nets.py'}:planted", "--data", nets / "table.csv", "--eps", "0.4")
    result = run(*given, "--pair", "no>yes", "--direction", "noise", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    record = RunFolder(tmp_path / "run").read_record(CarriersReport)
    assert {it.entries[0].name for it in record.found.shown} == {"dose"}
    assert record.found.layers[0].top[0].among.value == 1.0
    assert headline(record).startswith(f"{record.model}: 1 of 3 features fools half of the samples")
    assert "taken from the attacked twin" in verdict(record.found)
    assert record.pairs is not None
    assert (record.pairs.pairs[0].true, record.pairs.pairs[0].wrong) == (0, 1)
    assert "no → yes" in " ".join(words(record).findings)
    assert "dose" in render_report(RunFolder(tmp_path / "run"))


@pytest.mark.message
@pytest.mark.parametrize(
    ("given", "said", "code"),
    [
        (("mlp", "--pair", "bag>shirt"), "there is no class 'bag'; they are 0 to 9", 2),
        (("mlp", "--pair", "3>11"), "there is no class '11'; they are 0 to 9", 2),
        (("mlp", "--pair", "3>3"), "--pair is of two classes; '3>3' is one and the same", 2),
        (("mlp", "--pair", "3-8"), "such as 'bag>shirt' or '8>6'", 2),
        (("mlp", "--by", "head"), "No attention was found", 3),
        (("mlp", "--layer", "relu1", "--by", "position"), "has no units of kind 'position'", 3),
        (("mlp", "--layer", "relu9"), "relu9", 3),
        (("mlp", "--eps", "0.000001", *QUICK), "No sample is fooled: of 80 the model gets", 3),
        (("NETS:steps", "--data", "steps.npz"), "--attack square", 3),
        (("NETS:steps", "--data", "steps.npz", "--attack", "square"), "With --exact", 3),
    ],
)
def test_what_cannot_be_answered_is_one_sentence_and_leaves_no_folder(
    given: tuple[str, ...], said: str, code: int, nets: Path, tmp_path: Path
) -> None:
    places = {"NETS:steps": f"{nets / 'nets.py'}:steps", "steps.npz": str(nets / "steps.npz")}
    result = run(*(places.get(it, it) for it in given), "--out", tmp_path / "run")
    assert result.exit_code == code, result.output
    assert said in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.end_to_end
def test_a_model_without_gradients_is_looked_at_exactly(nets: Path, tmp_path: Path) -> None:
    given = (f"{nets / 'nets.py'}:steps", "--data", nets / "steps.npz", "--attack", "square")
    result = run(*given, "--exact", "--eps", "0.3", "--samples", "30", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    record = RunFolder(tmp_path / "run").read_record(CarriersReport)
    assert record.found.points is None
    assert "Each part was exchanged alone (exact)." in words(record).notes


@pytest.mark.end_to_end
def test_explore_looks_briefly_at_what_carries_the_attack(tmp_path: Path) -> None:
    config = config_of("explore")(model="mlp", samples=60, steps=5)
    result: Found[Exploration] = load("explore")(config, tmp_path / "run")
    carried = result.record.carriers
    assert carried is not None
    assert result.record.carriers_status == "measured"
    assert [it.name for it in carried.layers] == ["input", "relu1", "relu2"]
    assert carried.used == 16 < carried.fooled == result.record.fooled
    assert verdict(carried) in words_of_explore(result.record).findings
    places = [result.page.index(f'<section id="{it}"') for it in ("trust", "carriers", "layers")]
    assert places == sorted(places)
    assert "carriers spread" in load("explore").views(result)
    weak = load("explore")(replace(config, eps="0.000001"), tmp_path / "weak")
    assert weak.record.carriers is None
    assert weak.record.carriers_status == "No sample is fooled, so nothing carries the attack."
    assert weak.record.carriers_status in weak.page


@pytest.mark.end_to_end
def test_exact_effects_stand_beside_the_path_s(tmp_path: Path) -> None:
    given = ("mlp", "--samples", "30", "--steps", "5", "--layer", "relu2", "--exact")
    result = run(*given, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    (layer,) = RunFolder(tmp_path / "run").read_record(CarriersReport).found.layers
    assert layer.curve("path") is not None
    assert layer.agreement is not None
    assert layer.agreement.median is not None
    assert layer.agreement.median > 0.9


@pytest.mark.law
def test_a_kind_of_unit_leaves_out_the_layers_that_have_none() -> None:
    """The embedding has no tokens, and nobody named it."""
    model, x = wl.zoo.load("vit"), torch.rand(3, 1, 8, 8)
    every = [layer.name for layer in wl.trace.pick_layers(model, x, None)]
    (asked,) = asked_of(model, x, (), "token")
    left_out = set(every) - set(asked.layers)
    assert asked.layers[0] == "input"
    assert every[-2] in left_out
    assert len(asked.layers) > 2


@pytest.mark.law
def test_stages_are_the_ends_of_the_parts_of_a_model() -> None:
    model, x = wl.zoo.load("vit"), torch.rand(3, 1, 8, 8)
    stages = ("blocks.0.1", "blocks.1.1", "blocks.2.1", "logits.input")
    (asked,) = asked_of(model, x, (), "auto", brief=True)
    assert asked.layers == ("input", *stages)
    wrapped = torch.nn.Sequential(torch.nn.Sequential(model))
    (asked,) = asked_of(wrapped, x, (), "auto", brief=True)
    assert asked.layers == ("input", *(f"0.0.{it}" for it in stages))


@pytest.mark.law
def test_the_options_are_those_of_the_library() -> None:
    kinds = get_type_hints(config_of("carriers"))["by"]
    assert set(get_args(kinds)) == set(get_args(UnitKind))


# What is said


def share(middle: float, reach: float = 0.05) -> Share:
    return Share(middle, (max(0.0, middle - reach), min(1.0, middle + reach)), 100)


def layer(
    name: str, units: int, *, carriers: float, random: float, full: bool = True
) -> LayerFinding:
    """One of 64 channels of which ``units`` are enough, and do so much."""
    shares = {"carriers": carriers, "random": random, "change": 0.3, "noise": 0.2}
    return LayerFinding(
        index=0,
        name=name,
        aliases=(),
        kind="Conv2d",
        by="channel",
        units=64,
        grid=(64,),
        counts=(units, 64),
        curves=tuple(Curve(order, (share(it), share(1.0))) for order, it in shares.items()),
        concentration=Concentration(units / 64, units, (units / 64, units / 64)),
        completeness=None,
        completeness_largest=None,
        cut=Cut(full, share(1.0 if full else 0.7), 1.0, ()),
        agreement=None,
        trust="ok",
        top=(),
    )


def model_of(*layers: LayerFinding, direction: str = "denoise") -> ModelCarriers:
    return ModelCarriers(
        samples=200,
        fooled=100,
        used=100,
        direction=direction,  # type: ignore[arg-type]
        exact=False,
        points=10,
        layers=layers,
        features=None,
        shown=(),
        maps=(),
        notes=(),
    )


@pytest.mark.message
@pytest.mark.parametrize("random", [0.05, 0.38, 0.42, 0.5])
def test_parts_are_named_only_where_they_surely_do_more_than_by_lot(random: float) -> None:
    it = model_of(layer("layer3", 4, carriers=0.5, random=random))
    apart = random + 0.05 < 0.5 - 0.05
    assert ("4 of 64 channels of layer3 undo half of the attack" in finding(it)) == apart
    assert ("At no layer" in finding(it)) != apart
    assert ("4 of 64" in verdict(it)) == apart


@pytest.mark.message
def test_the_verdict_is_of_a_layer_through_which_everything_passes() -> None:
    around = layer("inside", 2, carriers=0.6, random=0.1, full=False)
    cut = layer("after", 8, carriers=0.6, random=0.1)
    assert "8 of 64 channels of after" in finding(model_of(around, cut))
    assert "2 of 64 channels of inside" in finding(model_of(around))
    noised = finding(model_of(cut, direction="noise"))
    assert noised == "8 of 64 channels of after fool half of the samples; as many by lot 10%"


@pytest.mark.message
@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (2, 16, "with depth the attack spreads over more of them"),
        (16, 2, "with depth the attack gathers in fewer of them"),
        (4, 4, "the first and the last are not told apart"),
    ],
)
def test_the_way_with_depth_follows_the_intervals(first: int, last: int, said: str) -> None:
    layers = (
        layer(name, units, carriers=0.6, random=0.1)
        for name, units in (("one", first), ("two", last))
    )
    from worldline.commands.carriers.views.spread import spread_words

    assert said in spread_words(model_of(*layers))


@pytest.mark.oracle
def test_a_map_of_effects_is_red_where_it_helps_and_keeps_its_squares() -> None:
    import base64
    import io

    from PIL import Image

    effects = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    content = re.sub(
        "^data:image/png;base64,", "", effect_map(torch.zeros(4, 4), effects, (0, 1), 1.0)
    )
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))), float)
    red, blue = pixels[:2, :2].reshape(-1, 3), pixels[2:, 2:].reshape(-1, 3)
    assert (red == red[0]).all()
    assert red[0, 0] > 2 * red[0, 2]
    assert (blue == blue[0]).all()
    assert blue[0, 2] > 2 * blue[0, 0]
    assert np.ptp(pixels[:2, 2:]) == 0
    large = effect_map(torch.zeros(96, 96), torch.ones(96, 96), (0, 1), 4.0)
    shown = Image.open(io.BytesIO(base64.b64decode(large.partition(",")[2])))
    assert shown.size == (48, 48)
    assert shown.getpixel((0, 0)) == tuple(red[0].astype(int)), "four pixels are summed"
