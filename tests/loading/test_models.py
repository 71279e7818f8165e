"""Exported programs, Hugging Face folders and whole pickles: what is loaded is what was saved."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import nn

import worldline as wl
from worldline.cli import commands
from worldline.errors import ModelError, ShapeError
from worldline.loading import exported, load_model
from worldline.loading.exported import clean_archive
from worldline.loading.sandbox import tried_in_child
from worldline.trace import find_layers


@pytest.fixture(scope="module")
def archive(tmp_path_factory, cnn, digits) -> Path:
    path = tmp_path_factory.mktemp("exported") / "cnn.pt2"
    batch = torch.export.Dim("batch", min=1)
    torch.export.save(torch.export.export(cnn, (digits.x[:2],), dynamic_shapes=({0: batch},)), path)
    return path


@pytest.fixture
def without_child(monkeypatch) -> None:
    """The child's start takes seconds; others test it."""
    monkeypatch.setattr(exported, "tried_in_child", lambda content, shape, name: None)


@pytest.mark.oracle
def test_exported_program_is_the_model_with_gradients_and_layers(
    archive: Path, cnn, digits
) -> None:
    loaded = load_model(str(archive))
    grads = []
    for model in (cnn, loaded):
        x = digits.x[:20].clone().requires_grad_()
        logits = model(x)
        grads.append((logits, *torch.autograd.grad(logits.logsumexp(1).sum(), x)))
    torch.testing.assert_close(
        grads[0], grads[1], rtol=0, atol=0
    )  # the same operators in the same order
    default = [layer for layer in find_layers(loaded, digits.x[:2]) if layer.default]
    kinds = [layer.kind for layer in find_layers(cnn, digits.x[:2]) if layer.default]
    assert [layer.kind for layer in default] == [*kinds[:-1], "Operation"]


@pytest.mark.law
def test_written_anew_holds_no_pickle_no_guard_and_no_foreign_text(archive: Path) -> None:
    content, shape = clean_archive(archive)
    assert shape == (None, 1, 8, 8)
    for word in (
        b"stack_trace",
        b"GLOBAL",
        b"ctorch",
        b"csrc",
        b"archive/data.pkl",
        str(archive.parent).encode(),
    ):
        assert word not in content
    assert b'"guards_code": []' in content


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_what_torch_exports_of_the_zoo_passes_the_check(name: str, tmp_path: Path, digits) -> None:
    batch = torch.export.Dim("batch", min=1)
    torch.export.save(
        torch.export.export(wl.zoo.load(name), (digits.x[:2],), dynamic_shapes=({0: batch},)),
        tmp_path / "m.pt2",
    )
    assert clean_archive(tmp_path / "m.pt2")[1][0] is None


@pytest.mark.message
def test_a_fixed_batch_size_is_told(without_child, tmp_path: Path) -> None:
    torch.export.save(
        torch.export.export(nn.Linear(4, 2).eval(), (torch.rand(3, 4),)), tmp_path / "m.pt2"
    )
    model = load_model(str(tmp_path / "m.pt2"))
    assert model(torch.ones(3, 4)).shape == (3, 2)
    with pytest.raises(
        ShapeError,
        match=r"batches of exactly 3; 2 inputs came. Export it with a dynamic batch dimension: "
        r"torch.export.export",
    ):
        model(torch.ones(2, 4))


@pytest.mark.message
def test_a_program_that_takes_too_much_is_stopped_in_the_child(tmp_path: Path) -> None:
    class Wide(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.zeros(30, 10**5, 1000).sum()

    torch.export.save(torch.export.export(Wide(), (torch.rand(2, 4),)), tmp_path / "m.pt2")
    with pytest.raises(
        ModelError, match=r"m.pt2 was opened in a child process first, and failed there: .*memory"
    ):
        load_model(str(tmp_path / "m.pt2"))


@pytest.mark.message
def test_a_child_that_never_ends_is_ended(archive: Path) -> None:
    with pytest.raises(ModelError, match=r"took more than 0.2 seconds"):
        tried_in_child(archive.read_bytes(), [2, 1, 8, 8], "m.pt2", seconds=0.2)


@pytest.mark.message
@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("open('{}', 'w')", "open"),
        ("__import__('os').open('{}', 65)", "open"),
        ("__import__('subprocess').run(['touch', '{}'])", "subprocess.Popen"),
        ("__import__('socket').socket()", "socket"),
        ("__import__('os').fork()", "os.fork"),
    ],
)
def test_the_hook_ends_the_process_before_it_writes_connects_or_starts_anything(
    code: str, event: str, tmp_path: Path
) -> None:
    child = Path(sys.modules["worldline.loading.sandbox"].__file__ or "").with_name("child.py")
    canary = tmp_path / "canary"
    hooked = (
        f"import runpy, sys, socket; sys.addaudithook(runpy.run_path({str(child)!r})['forbid'])"
    )
    text = f"{hooked}; {code.format(canary)}; print('went on')"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert (done.returncode, "went on" in done.stdout, canary.exists()) == (9, False, False)
    assert f"it tried {event}" in done.stderr


@pytest.mark.law
def test_pickled_modules_are_opened_only_on_demand(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(4, 2), nn.Dropout()), tmp_path / "m.pt")
    with pytest.raises(ModelError, match="unsafe-pickle"):
        load_model(str(tmp_path / "m.pt"))
    assert not load_model(str(tmp_path / "m.pt"), unsafe_pickle=True).training
    torch.save(nn.Linear(4, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="It looks like a state dict: give it as --weights"):
        load_model(str(tmp_path / "w.pt"), unsafe_pickle=True)


# ---- Hugging Face


def processor() -> Any:
    """The one that needs Pillow only, by the name it has had since transformers 5, or before."""
    import transformers

    return getattr(transformers, "ViTImageProcessorPil", None) or transformers.ViTImageProcessor


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Small classifiers of random weights."""
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        DistilBertConfig,
        DistilBertForSequenceClassification,
        ResNetConfig,
        ResNetForImageClassification,
        ViTConfig,
        ViTForImageClassification,
    )

    place = tmp_path_factory.mktemp("hf")
    torch.manual_seed(0)
    vit = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=8,
        patch_size=4,
        num_labels=3,
    )
    ViTForImageClassification(vit).save_pretrained(place / "vit")
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    processor()(do_resize=False, image_mean=mean, image_std=std).save_pretrained(place / "vit")
    resnet = ResNetConfig(
        embedding_size=4,
        hidden_sizes=[4, 8],
        depths=[1, 1],
        num_labels=3,
        layer_type="basic",
        num_channels=1,
    )
    ResNetForImageClassification(resnet).save_pretrained(place / "resnet")
    sizes = {"vocab_size": 30, "num_labels": 3}
    bert = BertConfig(
        **sizes, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8
    )
    BertForSequenceClassification(bert).save_pretrained(place / "bert")
    DistilBertForSequenceClassification(
        DistilBertConfig(**sizes, dim=8, n_layers=1, n_heads=2, hidden_dim=8)
    ).save_pretrained(place / "distilbert")
    return place


@pytest.mark.oracle
def test_image_classifier_holds_the_preprocessing(folders: Path) -> None:
    from transformers import ViTForImageClassification

    pixels = torch.randint(
        0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    prepared = processor().from_pretrained(folders / "vit")(
        list(pixels.numpy()), input_data_format="channels_first", return_tensors="pt"
    )
    with torch.no_grad():
        expected = (
            ViTForImageClassification.from_pretrained(folders / "vit").eval()(**prepared).logits
        )
        for bounds, x in (
            ((0.0, 1.0), pixels / 255),
            ((0.0, 255.0), pixels.float()),
            ((-1.0, 1.0), pixels / 127.5 - 1),
        ):
            model = load_model(f"hf:{folders / 'vit'}", bounds=bounds)
            torch.testing.assert_close(
                model(x), expected, rtol=1e-4, atol=1e-5
            )  # float32 through two blocks


@pytest.mark.law
def test_image_classifier_without_a_preprocessor_takes_pixels_as_they_are(folders: Path) -> None:
    model = load_model(f"hf:{folders / 'resnet'}")
    x = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(model(x), model.model(pixel_values=x).logits)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_text_classifier_takes_embeddings_and_their_mask(name: str, folders: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model = load_model(f"hf:{folders / name}")
    ids = torch.randint(1, 30, (3, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 2 + [0] * 4])
    x = model.embed(ids, mask)
    with torch.no_grad():
        reference = AutoModelForSequenceClassification.from_pretrained(folders / name).eval()
        torch.testing.assert_close(model(x), reference(input_ids=ids, attention_mask=mask).logits)
    low, high = model.bounds
    assert (float(x.min()), float(x.max())) == (low, high)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    assert gradient[..., :-1].abs().sum() > 0
    assert not gradient[..., -1].any(), "the mask is attacked"
    with pytest.raises(ShapeError, match=r"must lie in 0…29; got 1…30"):
        model.embed(torch.tensor([[1, 30]]), torch.ones(1, 2))


@pytest.mark.law
def test_attack_and_tracing_work_on_embeddings(folders: Path) -> None:
    model = load_model(f"hf:{folders / 'bert'}")
    x = model.embed(
        torch.randint(1, 30, (12, 5), generator=torch.Generator().manual_seed(1)),
        torch.ones(12, 5, dtype=torch.int64),
    )
    y = model(x).argmax(1)
    low, high = model.bounds
    found = wl.attacks.PGD(epsilon=0.4 * (high - low), steps=5, bounds=model.bounds)(model, x, y)
    assert torch.equal(found.x[..., -1] > (low + high) / 2, x[..., -1] > (low + high) / 2)
    assert len(find_layers(model, x)) > 4


@pytest.mark.law
def test_loading_leaves_the_random_state_and_says_nothing(folders: Path, capfd) -> None:
    before = torch.random.get_rng_state()
    load_model(f"hf:{folders / 'bert'}")
    assert torch.equal(before, torch.random.get_rng_state())
    assert capfd.readouterr() == ("", "")


@pytest.mark.message
def test_missing_weights_are_told_and_not_drawn(folders: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folders / "bert" / "model.safetensors")
    weights.pop("classifier.bias")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text((folders / "bert" / "config.json").read_text())
    with pytest.raises(ModelError, match=r"lacks 1 weights, the first 'classifier\.bias'"):
        load_model(f"hf:{tmp_path}")


# ---- the command


@pytest.mark.end_to_end
def test_explore_takes_an_exported_program(without_child, archive: Path, tmp_path: Path) -> None:
    options = [
        "--model",
        archive,
        "--samples",
        "40",
        "--steps",
        "3",
        "--json",
        "--out",
        tmp_path / "run",
    ]
    result = CliRunner().invoke(commands, ["explore", *map(str, options)])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["clean_accuracy"] > 0.8
    assert "unsafe_pickle = false" in (tmp_path / "run" / "config.toml").read_text()


@pytest.mark.end_to_end
def test_unsafe_pickle_is_an_option_of_the_command(cnn, tmp_path: Path) -> None:
    torch.save(cnn, tmp_path / "cnn.pt")
    options = [
        "--model",
        tmp_path / "cnn.pt",
        "--samples",
        "20",
        "--steps",
        "2",
        "--quiet",
        "--out",
        tmp_path / "run",
    ]
    refused = CliRunner().invoke(commands, ["explore", *map(str, options)])
    assert refused.exit_code == 3
    assert "add --unsafe-pickle" in refused.stderr
    assert (
        CliRunner().invoke(commands, ["explore", "--unsafe-pickle", *map(str, options)]).exit_code
        == 0
    )


COUNTED = """
import pathlib
from torch import nn
place = pathlib.Path(__file__).with_name("runs.txt")
place.write_text(place.read_text() + "." if place.exists() else ".")
def build():
    return nn.Linear(2, 2)
whole = nn.Linear(2, 2)
"""


@pytest.mark.law
def test_a_factory_file_is_run_once_until_it_is_changed(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(COUNTED)
    spec = f"{tmp_path}/nets.py:build"
    assert load_model(spec) is not load_model(spec)
    load_model(f"{tmp_path}/nets.py:whole")
    assert (tmp_path / "runs.txt").read_text() == "."
    (tmp_path / "nets.py").write_text(COUNTED + "\n# changed\n")
    load_model(spec)
    assert (tmp_path / "runs.txt").read_text() == ".."


@pytest.mark.law
def test_weights_fill_a_copy_of_a_named_module(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(COUNTED)
    for name in "ab":
        save_file(nn.Linear(2, 2).state_dict(), tmp_path / f"{name}.safetensors")
    spec = f"{tmp_path}/nets.py:whole"
    one, other = (load_model(f"{spec}@{tmp_path}/{name}.safetensors") for name in "ab")
    assert not torch.equal(one.weight, other.weight)


FAILING = """
from torch import nn
class Net(nn.Module):
    def forward(self, x):
        return undefined_name(x)
class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(7, 2)
    def forward(self, x):
        return self.inner(x)
def needs(width):
    return nn.Linear(width, 2)
def broken():
    return nn.Linear(nothing, 2)
"""


@pytest.mark.message
@pytest.mark.parametrize(
    ("name", "words", "never"),
    [
        (
            "Net",
            "NameError: name 'undefined_name' is not defined. It happened in f.py, line 5.",
            "shape is what",
        ),
        ("Wide", "Check that the data's shape is what the model expects.", "It happened"),
        ("needs", "'width'. It is called without arguments.", "It happened"),
        ("broken", "name 'nothing' is not defined. It happened in f.py, line 15.", "arguments"),
    ],
)
def test_the_advice_fits_the_models_own_error(
    name: str, words: str, never: str, tmp_path: Path
) -> None:
    (tmp_path / "f.py").write_text(FAILING)
    np.savez(tmp_path / "d.npz", x=np.random.rand(8, 5).astype("f4"), y=np.arange(8) % 2)
    done = CliRunner().invoke(
        commands, ["explore", f"{tmp_path}/f.py:{name}", "--data", f"{tmp_path}/d.npz"]
    )
    said = " ".join(done.output.split())
    assert words in said
    assert never not in said


@pytest.mark.message
def test_a_missing_package_of_a_factorys_own_is_told_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("import no_such_package\n")
    with pytest.raises(ModelError, match=r"No module named 'no_such_package'. It happened in f.py"):
        load_model(f"{tmp_path}/f.py:build")
    with pytest.raises(ModelError, match=r"Run from the folder that holds it, or install it"):
        load_model("no_such_package.inner:build")


@pytest.mark.law
@pytest.mark.parametrize(
    "kept",
    [
        lambda it: {"epoch": 3, "model_state_dict": it},
        lambda it: {"module." + name: value for name, value in it.items()},
        lambda it: {"state_dict": {"model.net." + name: value for name, value in it.items()}},
    ],
)
def test_weights_as_training_scripts_keep_them(kept, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(
        "import torch\ndef build():\n"
        "    return torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.BatchNorm1d(2))\n"
    )
    model = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))
    torch.save(kept(model.state_dict()), tmp_path / "w.ckpt")
    found = load_model(f"{tmp_path}/plain.py:build", tmp_path / "w.ckpt")
    assert torch.equal(found[0].weight, model[0].weight)
    torch.save({"0.weight": torch.ones(2, 4)}, tmp_path / "w.ckpt")
    with pytest.raises(ModelError, match="do not fit the model: Missing key"):
        load_model(f"{tmp_path}/plain.py:build", tmp_path / "w.ckpt")
