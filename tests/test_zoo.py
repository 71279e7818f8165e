"""The embedded default: data, training, cache."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

import worldline as wl
from worldline.errors import UsageError


@pytest.mark.law
def test_digits_split_is_fixed_and_disjoint(digits) -> None:
    assert digits.y[:10].tolist() == wl.zoo.digits().y[:10].tolist()
    assert len(digits.x) + len(digits.reference_x) == 1797
    assert (float(digits.x.min()), float(digits.x.max())) == (0.0, 1.0)
    assert set(digits.y.tolist()) == set(digits.reference_y.tolist()) == set(range(10))
    seen = {tuple(x.flatten().tolist()) for x in digits.reference_x}
    assert sum(tuple(x.flatten().tolist()) in seen for x in digits.x) == 0


@pytest.mark.law
@pytest.mark.parametrize("name", wl.zoo.names())
def test_models_are_accurate_and_adversarial_training_helps(name: str, digits) -> None:
    model = wl.zoo.load(name)
    assert not model.training
    assert float((model(digits.x).argmax(1) == digits.y).float().mean()) > 0.93
    if name.endswith("-adv"):
        attack = wl.attacks.PGD(epsilon=0.15)
        plain = wl.zoo.load(name.removesuffix("-adv"))
        robust, fragile = (
            attack(m, digits.x, digits.y).success.float().mean() for m in (model, plain)
        )
        assert robust < fragile - 0.3


@pytest.mark.law
def test_training_is_deterministic_cached_by_content_and_survives_a_broken_cache(
    monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("WORLDLINE_CACHE", str(tmp_path))
    state = torch.get_rng_state()
    epochs: list[int] = []
    first = wl.zoo.load("linear", progress=lambda _stage, done, _total: epochs.append(done))
    assert torch.equal(state, torch.get_rng_state())
    (stored,) = (tmp_path / "zoo").iterdir()
    assert epochs[-1] == wl.zoo.MODELS["linear"].epochs
    cached = wl.zoo.load("linear", progress=lambda _stage, done, _total: epochs.append(-done))
    assert min(epochs) > 0
    stored.write_bytes(b"broken")
    again = wl.zoo.load("linear")
    other = wl.zoo.load("linear", seed=1)
    weights = [model.state_dict()["logits.weight"] for model in (first, cached, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])
    assert len(list((tmp_path / "zoo").iterdir())) == 2


@pytest.mark.law
@pytest.mark.parametrize("way", ["a file", "a pipe", "full"])
def test_a_cache_that_cannot_be_used_costs_time_and_one_note(way, monkeypatch, tmp_path) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("WORLDLINE_CACHE", str(cache))
    if way == "a file":
        cache.write_text("not a folder")
    else:
        wl.zoo.load("linear")
        (kept,) = (cache / "zoo").iterdir()
        kept.unlink()
    if way == "a pipe":
        os.mkfifo(kept)  # to open it would wait for ever; it is replaced
        assert wl.zoo.load("linear") is not None
        assert kept.is_file()
        return

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    if way == "full":
        monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(UserWarning, match="is not kept: ") as noted:
        wl.zoo.load("linear")
    assert len(noted) == 1
    assert not [it for it in tmp_path.rglob("*") if it.name.endswith(".tmp")]


@pytest.mark.message
def test_unknown_models_are_answered_with_the_known() -> None:
    with pytest.raises(UsageError, match="no model 'resnet50'; it has cnn, cnn-adv"):
        wl.zoo.load("resnet50")
