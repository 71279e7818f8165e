"""The command: end to end, its files, its documents, and every bad input it may be given."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

import worldline as wl
from worldline.cli import commands

QUICK = ["--model", "linear", "--samples", "80", "--steps", "5"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "mlp"
    result = run("explore", "--model", "mlp", "--steps", "10", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    (out / "stdout.json").write_text(result.stdout)
    return out


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A user's folder with a model file, weights and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(
        textwrap.dedent("""
        import torch
        from torch import nn
        from helper import WIDTH

        def build():
            return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH,
            10))

        def pair():
            class Pair(nn.Module):
                def forward(self, x):
                    return x, x
            return Pair()

        def narrow():
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))

        def needs_argument(width):
            return nn.Linear(width, 10)

        def explodes():
            raise RuntimeError("no licence")

        def returns_number():
            return 3

        def away(model, x, y):
            return (x + 0.1).clamp(0, 1)

        constant = 7
        """)
    )
    (tmp_path / "helper.py").write_text("WIDTH = 32\n")
    data = wl.zoo.digits()
    np.savez(tmp_path / "data.npz", x=data.x[:200].numpy(), y=data.y[:200].numpy())
    trained = wl.zoo.load("mlp")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    )
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "w.pt")
    save_file(trained.state_dict(), tmp_path / "other.safetensors")
    return tmp_path


SUMMARY_KEYS = [
    *(
        "schema",
        "model",
        "data",
        "epsilon",
        "norm",
        "attack",
        "samples",
        "clean_accuracy",
        "adversarial_accuracy",
    ),
    *("noise_accuracy", "swap_layer", "layers", "proper_depth", "report"),
]


@pytest.mark.end_to_end
def test_explore_writes_what_it_says(finished: Path) -> None:
    document = json.loads((finished / "stdout.json").read_text())
    stored = json.loads((finished / "summary.json").read_text())
    assert {**document, "report": "report.html"} == stored
    assert Path(document["report"]) == finished / "report.html"
    assert set(SUMMARY_KEYS) <= set(document)
    assert document["samples"] == 600
    assert (
        document["adversarial_accuracy"] < document["noise_accuracy"] <= document["clean_accuracy"]
    )
    assert set(document["swap_layer"]) == {"name", "index", "interval"}
    assert [layer["index"] for layer in document["layers"]] == [0, 1, 2, 3]
    for layer in document["layers"]:
        assert {"index", "name", "kind", "width", "rapidity", "untrained_rapidity"} <= set(layer)
        for side in ("wrong_side", "clean_wrong_side", "moved_share"):
            low, high = layer[side]["interval"]
            assert low <= layer[side]["value"] <= high
        for name in ("adversarial_clean", "noise_clean", "adversarial_true", "adversarial_wrong"):
            assert (
                layer["rapidity"][name]["q10"]
                <= layer["rapidity"][name]["median"]
                <= layer["rapidity"][name]["q90"]
            )
    files = {
        "config.toml",
        "summary.json",
        "layers.parquet",
        "samples.parquet",
        "pairs.parquet",
        "twins.safetensors",
    }
    assert files | {"report.html"} <= {path.name for path in finished.iterdir()}
    assert not list(finished.glob(".*")) + list(finished.glob("shards"))


@pytest.mark.end_to_end
def test_the_tables_agree_with_the_summary(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    samples = pq.read_table(finished / "samples.parquet")
    pairs = pq.read_table(finished / "pairs.parquet")
    layers = pq.read_table(finished / "layers.parquet").to_pylist()
    assert samples.schema.metadata[b"worldline_schema"] == b"worldline.explore/3"
    fooled = samples["fooled"].to_numpy()
    assert fooled.sum() == summary["fooled"]
    right = samples["clean_prediction"].to_numpy() == samples["label"].to_numpy()
    assert right.mean() == pytest.approx(summary["clean_accuracy"])
    phi = pairs["adversarial_clean"].to_numpy().reshape(600, 4)
    for row, layer in zip(layers, summary["layers"], strict=True):
        median = np.median(phi[fooled, row["index"]])
        assert (
            row["rapidity_adversarial_clean_median"]
            == layer["rapidity"]["adversarial_clean"]["median"]
        )
        assert median == pytest.approx(layer["rapidity"]["adversarial_clean"]["median"])
    twins = load_file(finished / "twins.safetensors")
    assert float((twins["adversarial"] - twins["clean"]).abs().max()) <= 0.15 + 1e-6
    said = wl.attacks.predict(wl.zoo.load("mlp"), twins["adversarial"]).argmax(1).numpy()
    assert (said == samples["adversarial_prediction"].to_numpy()).all()


@pytest.mark.end_to_end
def test_the_resolved_configuration_runs_again_to_the_same_numbers(
    finished: Path, tmp_path: Path
) -> None:
    config = tomllib.loads((finished / "config.toml").read_text())["explore"]
    assert (config["model"], config["eps"], config["steps"]) == ("mlp", "0.15", 10)
    result = run(
        "explore", "--config", finished / "config.toml", "--out", tmp_path / "again", "--json"
    )
    again, first = json.loads(result.stdout), json.loads((finished / "stdout.json").read_text())
    assert {**again, "report": ""} == {**first, "report": ""}


@pytest.mark.end_to_end
def test_the_words_on_the_terminal(tmp_path: Path) -> None:
    result = run("explore", "--model", "mlp", "--out", tmp_path / "run")
    assert result.exit_code == 0
    for words in (
        "median similarity (rapidity φ, nats)",
        "mlp gets 9",
        "upper bound on its robustness",
        "The tipping layer (swap layer) is",
        "none warns",
        "Report: ",
    ):
        assert words in result.stdout
    assert result.stderr == ""
    assert run("explore", *QUICK, "--out", tmp_path / "quiet", "--quiet").output == ""


@pytest.mark.end_to_end
def test_a_run_within_memory_says_what_it_did(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--samples", "60", "--steps", "3", "--tokens", "mean", "--memory", "8MB", "--json"]
    done = run("explore", "vit", *options, "--layers", "*", "--out", out)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert (summary["memory"], summary["tokens"]) == ("8MB", "mean")
    assert summary["batch_size"] < 256
    blocks = {layer["name"]: layer for layer in summary["layers"]}
    assert blocks["blocks.0.1"]["tokens"] == "mean"
    assert blocks["logits"]["tokens"] is None
    assert any(f"batches of {summary['batch_size']} inputs" in note for note in summary["notes"])
    again = run("explore", "--config", out / "config.toml", "--out", tmp_path / "again", "--json")
    assert json.loads(again.stdout)["layers"] == summary["layers"]
    bad = run("explore", "--memory", "lots")
    assert bad.exit_code == 2
    assert "--memory must be a size with its unit" in bad.stderr
    bad = run("explore", "vit", "--memory", "20kB", "--out", tmp_path / "none")
    assert bad.exit_code == 2
    assert "20,000 bytes of memory are too few" in bad.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.end_to_end
def test_an_epsilon_that_cannot_be_meant_is_warned_of(tmp_path: Path) -> None:
    """Old: --eps 8 on data in [0, 1] passed all checks."""
    for eps, words in (("8", "Did you mean 8/255?"), ("0.001", "less than one grey level")):
        out = tmp_path / f"eps{eps}"
        done = run("explore", *QUICK, "--eps", eps, "--out", out, "--strict")
        assert done.exit_code == 4, done.output
        assert words in " ".join(done.stderr.split())


@pytest.mark.end_to_end
def test_with_nothing_fooled_nothing_is_said_of_those_that_fool(tmp_path: Path) -> None:
    """Old: "100.0% of the twins that fool no longer do"."""
    done = run("explore", *QUICK, "--eps", "0.00001", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "No sample was fooled, so there is no story to tell" in done.stdout
    assert "100.0%" not in done.output.replace("100.0% of 80 samples", "")
    assert "tipping layer" not in done.stdout
    assert "fools 0 of 0" not in done.output


@pytest.mark.end_to_end
def test_own_model_weights_data_and_attack(here: Path) -> None:
    result = run(
        "explore",
        "--model",
        "nets.py:build",
        "--weights",
        "w.safetensors",
        "--data",
        "data.npz",
        "--eps",
        "16/255",
        "--norm",
        "l2",
        "--steps",
        "3",
        "--layers",
        "1",
        "--layers",
        "3",
        "--frame",
        "whitened",
        "--json",
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["epsilon"] == pytest.approx(16 / 255)
    assert [layer["name"] for layer in document["layers"]] == ["1", "3"]
    assert 100 <= document["samples"] <= 105  # every second sample of each class is the reference
    assert Path("runs/nets-data-1/report.html").is_file()
    again = run(
        "explore",
        "--model",
        "nets:build",
        "--weights",
        "w.pt",
        "--data",
        "data.npz",
        "--attack",
        "nets.py:away",
    )
    assert again.exit_code == 0, again.output
    assert "Warning: " in again.stderr
    strict = run(
        "explore",
        "--model",
        "nets:build",
        "--data",
        "data.npz",
        "--attack",
        "nets.py:away",
        "--strict",
        "--quiet",
    )
    assert strict.exit_code == 4


BAD = [
    (["--model", "cn"], 3, "no model 'cn'. Did you mean 'cnn'?"),
    (["--model", "missing.py:build"], 3, "no file 'missing.py'"),
    (["--model", "nets.py:nothing"], 3, "nets.py has no 'nothing'; it has"),
    (
        ["--model", "nets.py:explodes"],
        3,
        "factory nets.py:explodes raised RuntimeError: no licence",
    ),
    (["--model", "nets.py:needs_argument"], 3, "called without arguments"),
    (["--model", "nets.py:returns_number"], 3, "must return an nn.Module; it returned int"),
    (["--model", "nets.py:constant"], 3, "is a int, not a factory"),
    (["--model", "nets.py:pair"], 3, "returned tuple with 0 tensors that could be them"),
    (["--model", "nets.py:narrow"], 3, "must lie in 0…4, as the model has 5 outputs"),
    (
        ["--model", "no_such_package:build"],
        3,
        "The import of 'no_such_package' raised ModuleNotFoundError",
    ),
    (["--weights", "gone.safetensors"], 3, "no weights file 'gone.safetensors'"),
    (
        ["--weights", "data.npz"],
        3,
        "must be .safetensors, .pt, .pth, .ckpt or .bin; got 'data.npz'",
    ),
    (["--weights", "broken.pt"], 3, "broken.pt cannot be read as a .pt state dict"),
    (["--model", "nets.py:build", "--weights", "other.safetensors"], 3, "do not fit the model"),
    (["--data", "gone.npz"], 3, "no data file 'gone.npz'"),
    (["--data", "data.csv"], 3, "data.csv has too few samples (1)"),
    (["--data", "broken.npz"], 3, "cannot be read as an .npz"),
    (["--data", "only_x.npz"], 3, "it holds x. Name them with --x and --y"),
    (["--data", "pickled.npz"], 3, "cannot be read as plain arrays: x holds Python objects"),
    (["--data", "onehot.npz"], 3, "looks one-hot. Pass y.argmax(1)"),
    (["--data", "nan.npz"], 3, "1 samples hold NaN or infinity, first sample 3"),
    (["--data", "words.npz"], 3, "must hold numbers"),
    (["--data", "floats.npz"], 3, "y in floats.npz: Labels must be whole class numbers; label 0"),
    (["--data", "negative.npz"], 3, "must be class numbers from 0; got -1…8"),
    (["--data", "short.npz"], 3, "200 samples, 100 labels"),
    (["--data", "wide.npz"], 3, "on inputs of shape (2, 1, 9, 9)"),
    (["--data", "pixels.npz"], 3, "they look like pixels: divide them by 255"),
    (["--layers", "block*"], 3, "No layer matches 'block*'. The layers that ran, in order: input"),
    (["--bounds", "0"], 2, "--bounds must be 'low,high'"),
    (["--bounds", "1,0"], 2, "low < high; got (1.0, 0.0)"),
    (["--bounds", "0,2"], 3, "bounds (0, 2) are not theirs"),
    (["--eps", "eight"], 2, "number or a fraction such as 8/255; got 'eight'"),
    (["--eps", "1/0"], 2, "number or a fraction"),
    (["--eps", "0"], 2, "--eps must be positive"),
    (["--norm", "l3"], 2, "--norm must be one of linf, l2; got 'l3'"),
    (["--frame", "polar"], 2, "--frame must be one of raw, centered, whitened; got 'polar'"),
    (["--attack", "cw"], 2, "--attack is pgd, fgsm"),
    (["--attack", "nets.py:constant"], 3, "not a callable"),
    (["--steps", "0"], 2, "--steps must be at least 1"),
    (["--device", "warp"], 2, "--device 'warp' cannot be used here"),
    (["--resume"], 2, "name that folder with --out"),
    (["--config", "gone.toml"], 2, "There is no configuration 'gone.toml'"),
    (["--config", "bad.toml"], 2, "Unknown keys in bad.toml: epsilonn"),
    (["--config", "type.toml"], 2, "--steps must be a whole number; got 'many'"),
    (["--steps", "many"], 2, "--steps must be a whole number; got 'many'"),
    (["--seed", "-1"], 2, "--seed must be at least 0; got -1"),
    (["--seed", "99999999999999999999"], 2, "--seed is larger than any run could use"),
    (["--config", "bounds.toml"], 2, "--bounds must be two numbers, low and high; got [0]"),
    (["--data", "wide.npz", "--frame", "whitened"], 3, "on inputs of shape (2, 1, 9, 9)"),
    (["--no-such-option"], 2, "No such option"),
]


@pytest.fixture
def bad_files(here: Path) -> Path:
    data = wl.zoo.digits()
    x, y = data.x[:200].numpy(), data.y[:200].numpy()
    hole = x.copy()
    hole[3, 0, 0, 0] = np.nan
    arrays = {
        "only_x": {"x": x},
        "pickled": {"x": np.array([{"a": 1}] * 3, dtype=object), "y": y[:3]},
        "onehot": {"x": x, "y": np.eye(10)[y]},
        "nan": {"x": hole, "y": y},
        "words": {"x": np.array(["a", "b"]), "y": y[:2]},
        "floats": {"x": x, "y": y + 0.5},
        "negative": {"x": x, "y": y - 1},
        "short": {"x": x, "y": y[:100]},
        "wide": {"x": np.zeros((20, 1, 9, 9)), "y": y[:20]},
        "pixels": {"x": 255 * x, "y": y},
    }
    for name, content in arrays.items():
        np.savez(here / f"{name}.npz", **content)
    (here / "broken.npz").write_bytes(b"PK\x03\x04 not a zip")
    (here / "broken.pt").write_bytes(b"not a checkpoint")
    (here / "data.csv").write_text("1,2\n")
    (here / "bad.toml").write_text("[explore]\nepsilonn = 1\n")
    (here / "bounds.toml").write_text("[explore]\nbounds = [0]\n")
    (here / "type.toml").write_text("[explore]\nsteps = 'many'\n")
    return here


@pytest.mark.message
@pytest.mark.parametrize(("arguments", "code", "words"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_input_is_one_sentence_and_an_exit_code(
    arguments: list[str], code: int, words: str, bad_files: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in bad_files.iterdir() if path.is_file()}
    model = [] if "--model" in arguments or "--weights" in arguments else ["--model", "linear"]
    result = run("explore", *model, *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert not (bad_files / "runs").exists()
    assert before == {
        path: path.stat().st_mtime_ns for path in bad_files.iterdir() if path.is_file()
    }


@pytest.mark.message
def test_an_existing_folder_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("ten years")
    for flags in ([], ["--resume"]):
        result = run("explore", *QUICK, "--out", tmp_path / "mine", *flags)
        assert result.exit_code == 3
        assert "mine exists" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "file").write_text("")
    assert "is a file" in run("explore", *QUICK, "--out", tmp_path / "file").stderr
    assert run("explore", *QUICK, "--out", tmp_path / "run", "--quiet").exit_code == 0
    stamp = (tmp_path / "run" / "summary.json").stat().st_mtime_ns
    assert "add --resume" in run("explore", *QUICK, "--out", tmp_path / "run").stderr
    other = run("explore", *QUICK, "--out", tmp_path / "run", "--resume", "--seed", "1")
    assert "holds a run of another configuration" in other.stderr
    assert (tmp_path / "run" / "summary.json").stat().st_mtime_ns == stamp


@pytest.mark.message
def test_report_of_what_is_no_run(tmp_path: Path, finished: Path) -> None:
    result = run("report", tmp_path)
    assert (result.exit_code, "There is no summary.json" in result.stderr) == (3, True)
    before = (finished / "report.html").read_bytes()
    assert run("report", finished).stdout.strip() == str(finished / "report.html")
    rendered = (finished / "report.html").read_bytes()
    assert abs(len(rendered) - len(before)) < 200  # figure ids are drawn anew


@pytest.mark.message
def test_debug_shows_the_traceback() -> None:
    result = run("explore", "--model", "nope", "--debug")
    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert "There is no model 'nope'" in result.stderr


@pytest.mark.end_to_end
def test_interrupted_keeps_what_was_finished_and_resumes(here: Path) -> None:
    (here / "slow.py").write_text(
        textwrap.dedent("""
        import time, pathlib
        def attack(model, x, y):
            if pathlib.Path("started").exists() and not pathlib.Path("fast").exists():
                time.sleep(60)
            pathlib.Path("started").touch()
            return (x + 0.1).clamp(0, 1)
        """)
    )
    given = [
        *("explore", "mlp", "--attack", "slow.py:attack", "--out", "run"),
        *("--batch-size", "40", "--samples", "80"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "worldline", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        if list(here.glob("run/shards/*.safetensors")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "--resume goes on" in stderr
    (shard,) = here.glob("run/shards/*.safetensors")
    assert load_file(shard)["adversarial"].shape == (40, 1, 8, 8)
    assert tomllib.loads((here / "run" / "config.toml").read_text())["explore"]["samples"] == 80
    (here / "fast").touch()
    done = run(*given, "--resume", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["samples"] == 80
    assert not (here / "run" / "shards").exists()


@pytest.mark.end_to_end
def test_help_does_not_import_torch() -> None:
    program = (
        "import sys; from worldline.cli import commands; commands(['--help'], "
        "standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "explore" in done.stdout
