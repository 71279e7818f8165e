"""Carriers: laws of effects and curves, a slow loop as oracle, and planted truths of each kind."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.errors import LabelError, LayerError, ModelError, ShapeError, UsageError

spec = importlib.util.spec_from_file_location("networks", Path(__file__).parent / "networks.py")
networks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(networks)
WIDE = wl.Settings(bounds=(-99.0, 99.0), batch_size=64)


def twins(build: Any, *shape: int, samples: int = 60, epsilon: float = 0.3) -> Any:
    """A network whose answers vary, and inputs, twins and labels, its own answers."""
    torch.manual_seed(0)
    model, x = build().eval(), torch.rand(samples, *shape)
    last = [it for it in model.modules() if isinstance(it, nn.Linear)][-1]
    with torch.no_grad():
        last.bias -= model(x).mean(0)
    y = wl.attacks.predict(model, x).argmax(1)
    adversarial = wl.attacks.PGD(epsilon=epsilon, steps=8)(model, x, y).x
    return model, x, adversarial, y


def first(layer: wl.explain.LayerCarriers, planted: Tensor | int) -> float:
    """In which share of samples the planted unit is the first carrier."""
    return float((layer.order[:, 0] == planted).double().mean())


@pytest.fixture(scope="module")
def residual() -> Any:
    given = twins(networks.Residual, 1, 8, 8, samples=30)
    some = {"layers": ["*"], "shares": (0.2, 1.0), "resamples": 100}
    return given, wl.explain.carriers(*given, exact=True, path=True, **some)


@pytest.mark.law
def test_effects_add_up_at_every_cut_and_all_units_repair_everything(residual: Any) -> None:
    _, found = residual
    cuts = {it.name: it.cut.full for it in found.layers}
    assert cuts == dict.fromkeys(cuts, True) | {"branch": False}
    for layer in found.layers:
        whole = layer.curve("carriers").repaired[-1]
        assert layer.counts[-1] == layer.units
        assert whole.value == layer.cut.repaired.value
        if layer.name == "branch":
            assert layer.trust == "partial cut"
            assert layer.cut.around == ("relu",)
            assert layer.cut.margin < 0.99
            continue
        assert (layer.completeness.q90 < 0.01, layer.trust) == (True, "ok"), layer.name
        assert whole.value == 1
        assert layer.cut.around == ()
        change = found.margin_clean - found.margin_adversarial
        error = (layer.path_effect.sum(1) - change).abs() / change
        assert float(error.max()) == pytest.approx(layer.completeness_largest, abs=1e-9)


@pytest.mark.oracle
def test_exact_effects_are_those_of_a_loop_over_units(residual: Any) -> None:
    (model, x, adversarial, _), found = residual
    rows = found.rows
    for layer in (found["stem"], found["branch"], found["input"]):
        for unit in (0, 3):
            with torch.no_grad():
                logits = wl.explain.patch(
                    model, adversarial[rows], x[rows], layer.name, unit, by=layer.by
                )
            place = torch.arange(len(rows))
            after = logits[place, found.true] - logits[place, found.wrong]
            expected = after - found.margin_adversarial
            torch.testing.assert_close(layer.effect[:, unit], expected, rtol=0, atol=1e-5)
    assert found["relu#1"].agreement.median > 0.9
    assert found["head"].name == "head.2"


@pytest.mark.oracle
def test_the_path_of_many_points_is_the_integral_and_sizes_are_distances(residual: Any) -> None:
    (model, x, adversarial, y), found = residual
    fine = wl.explain.carriers(
        model, x, adversarial, y, layers="stem", shares=(), points=100, settings=WIDE
    )
    error = (found["stem"].path_effect - fine["stem"].effect).norm() / fine["stem"].effect.norm()
    assert float(error) < 0.03
    values = [model.stem(it[found.rows]).detach() for it in (x, adversarial)]
    expected = (values[0] - values[1]).double().flatten(2).norm(dim=2)
    torch.testing.assert_close(found["stem"].size, expected)
    torch.testing.assert_close(fine["stem"].size, expected)


@pytest.mark.law
def test_what_a_batch_keeps_fits_in_the_memory_that_was_allowed(residual: Any) -> None:
    """Of each sample the values of three runs are kept, at every layer."""
    given, memory = residual[0], 1_000_000
    settings = wl.Settings(batch_size=10**6)
    found = wl.explain.carriers(
        *given, layers=["*"], shares=(0.5,), resamples=10, memory=memory, settings=settings
    )
    kept = 3 * 4 * sum(it.width for it in wl.trace.pick_layers(given[0], given[1], ["*"]))
    assert 1 <= found.batch_size <= memory / kept


@pytest.mark.law
def test_memory_batches_and_direction_change_no_effect_of_the_path(residual: Any) -> None:
    (model, x, adversarial, y), found = residual
    for more in ({"memory": 20_000_000}, {"direction": "noise"}, {"settings": WIDE}):
        again = wl.explain.carriers(
            model, x, adversarial, y, layers=["stem"], shares=(0.5,), resamples=10, **more
        )
        torch.testing.assert_close(
            again["stem"].effect, found["stem"].path_effect, rtol=1e-4, atol=1e-5
        )
    assert again.layers[0].curve("path") is None


@pytest.mark.law
def test_noising_breaks_what_denoising_repairs() -> None:
    model, x, adversarial, y = twins(networks.Channels, 2, 6, 6)
    found = wl.explain.carriers(
        model, x, adversarial, y, layers=["two"], direction="noise", exact=True, resamples=10
    )
    layer = found["two"]
    assert layer.curve("carriers").repaired[-1].value == 1
    assert layer.cut.full
    assert layer.curve("carriers").repaired[0].value > layer.curve("random").repaired[0].value
    assert first(layer, networks.PLANTED) >= 0.95


@pytest.mark.law
@pytest.mark.parametrize("exact", [False, True])
def test_a_planted_channel_is_first(exact: bool) -> None:
    model, x, adversarial, y = twins(networks.Channels, 2, 6, 6)
    found = wl.explain.carriers(
        model, x, adversarial, y, layers=["two", "relu#1"], exact=exact, resamples=10
    )
    for layer in found.layers:
        assert first(layer, networks.PLANTED) >= 0.95
        assert layer.top[0].unit == networks.PLANTED
        assert layer.top[0].among.value >= 0.95
        assert layer.concentration.units == 1


@pytest.mark.law
def test_a_planted_token_is_first_among_noise() -> None:
    torch.manual_seed(0)
    model, x = networks.Tokens().eval(), torch.randn(200, 5, 32)
    y = wl.attacks.predict(model, x).argmax(1)
    token = torch.randint(0, 5, (200,))
    adversarial = x + 0.02 * torch.randn_like(x)
    adversarial[torch.arange(200), token] += 4 * torch.randn(200, 32)
    names = ["input", "blocks.layers.0"]
    found = wl.explain.carriers(
        model, x, adversarial, y, layers=names, by="token", shares=(), settings=WIDE
    )
    for layer in found.layers:
        assert (layer.by, layer.units) == ("token", 5)
        assert first(layer, token[found.rows]) >= 0.95


@pytest.mark.law
def test_a_planted_head_is_first() -> None:
    torch.manual_seed(0)
    model, x = networks.Tokens(one_head=True).eval(), torch.randn(40, 5, 32)
    y = wl.attacks.predict(model, x).argmax(1)
    adversarial = wl.attacks.PGD(epsilon=0.5, steps=6, bounds=WIDE.bounds)(model, x, y).x
    found = wl.explain.carriers(model, x, adversarial, y, by="head", resamples=10, settings=WIDE)
    assert [it.name for it in found.layers] == [
        f"blocks.layers.{block}.self_attn.out_proj.input" for block in (0, 1)
    ]
    for layer in found.layers:
        assert (layer.by, layer.units) == ("head", 8)
        assert first(layer, networks.PLANTED) >= 0.95


@pytest.mark.law
def test_a_patch_among_noise_of_half_its_length_holds_the_top_pixels(digits: Any) -> None:
    model, x, y = wl.zoo.load("cnn"), digits.x[:150], digits.y[:150]
    generator = torch.Generator().manual_seed(0)
    inside = torch.zeros(len(x), 8, 8, dtype=torch.bool)
    for mask, (row, column) in zip(
        inside, torch.randint(0, 6, (len(x), 2), generator=generator).tolist(), strict=True
    ):
        mask[row : row + 3, column : column + 3] = True
    inside = inside.view_as(x)
    adversarial = x.clone()
    for _ in range(10):
        point = adversarial.clone().requires_grad_()
        loss = nn.functional.cross_entropy(model(point), y, reduction="sum")
        step = 0.2 * torch.autograd.grad(loss, point)[0].sign()
        adversarial = torch.where(inside, (adversarial + step).clamp(0, 1), x)
    noise = torch.randn(x.shape, generator=generator) * ~inside
    length = (adversarial - x).flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
    adversarial = (adversarial + noise * length.view(-1, 1, 1, 1) / 2).clamp(0, 1)
    found = wl.explain.carriers(model, x, adversarial, y, layers="input", shares=())
    layer = found["input"]
    assert (layer.by, layer.grid) == ("pixel", (8, 8))
    assert len(found.rows) > 50
    held = inside[found.rows].flatten(1).gather(1, layer.order[:, :4])
    assert float(held.double().mean()) >= 0.9


@pytest.mark.law
def test_kinds_follow_the_shape_of_each_layer() -> None:
    series = nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(8, 3)
    )
    model, x, adversarial, y = twins(lambda: series, 2, 9, samples=30)
    kinds = {}
    for by in ("auto", "position", "neuron"):
        found = wl.explain.carriers(
            model, x, adversarial, y, layers=["*"], by=by, shares=(), settings=WIDE
        )
        kinds[by] = {it.name: (it.by, it.grid) for it in found.layers}
    assert kinds["auto"]["input"] == ("position", (9,))
    assert kinds["auto"]["0"] == ("channel", (4,))
    assert kinds["auto"]["4"] == ("neuron", (3,))
    assert kinds["position"]["0"] == ("position", (7,))
    assert "4" not in kinds["position"]
    assert kinds["neuron"]["2"] == ("neuron", (4, 2))


@pytest.mark.law
def test_a_finding_holds_no_tensor_and_half_precision_works() -> None:
    model, x, adversarial, y = twins(networks.Channels, 2, 6, 6, samples=30)
    found = wl.explain.carriers(
        model.to(torch.bfloat16), x, adversarial, y, layers=["two"], exact=True, resamples=10
    )
    finding = found["two"].finding
    assert finding.concentration == found["two"].concentration
    assert not any(
        isinstance(getattr(finding, it.name), Tensor) for it in dataclasses.fields(finding)
    )
    assert first(found["two"], networks.PLANTED) >= 0.95


class Blind(nn.Module):
    """No gradient passes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = networks.Channels()

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.inner(x).detach()
        return answer


@pytest.mark.message
def test_without_gradients_exact_effects_are_offered_and_work() -> None:
    model, x, adversarial, y = twins(networks.Channels, 2, 6, 6)
    blind = Blind()
    blind.inner = model
    with pytest.raises(ModelError, match=r"gives none\. Pass exact=True"):
        wl.explain.carriers(blind, x, adversarial, y)
    found = wl.explain.carriers(blind, x, adversarial, y, layers="inner.two", exact=True, shares=())
    assert first(found.layers[0], networks.PLANTED) >= 0.95
    assert found.points is None


class HalfBlind(nn.Module):
    """One of two branches lets no gradient pass."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.blind = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.blind(x)
        answer: Tensor = self.seen(x) + hidden
        return answer


@pytest.mark.law
def test_a_layer_that_no_gradient_reaches_is_flagged() -> None:
    model, x, adversarial, y = twins(HalfBlind, 6, samples=40)
    found = wl.explain.carriers(
        model, x, adversarial, y, layers=["seen", "blind"], shares=(1.0,), resamples=10
    )
    assert (found["seen"].trust, found["blind"].trust) == ("partial cut", "no gradient")


MESSAGES: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (ModelError, "No sample is fooled: of 30 the model gets 30 right", {"adversarial": None}),
    (ShapeError, r"Each sample needs one adversarial twin: \(30, 2, 6, 6\)", {"cut": 1}),
    (
        LayerError,
        "Layer 'head' has no units of kind 'position'",
        {"by": "position", "layers": "head"},
    ),
    (LayerError, "None of the layers has units of this kind", {"by": "token", "layers": "h*"}),
    (UsageError, "Unknown kind of unit 'pixels'", {"by": "pixels"}),
    (UsageError, "Unknown direction 'back'; choose one of denoise, noise", {"direction": "back"}),
    (UsageError, "A path has at least one step", {"points": 0}),
    (UsageError, "Shares of the units must lie in", {"shares": (0.0,)}),
    (UsageError, "Nothing is asked for", {"path": False}),
    (UsageError, "1,000 bytes of memory are too few", {"memory": 1000}),
    (LabelError, "Labels must lie in 0…3", {"y": torch.full((30,), 9)}),
]


@pytest.mark.message
@pytest.mark.parametrize(("kind", "words", "changed"), MESSAGES)
def test_what_cannot_be_explained_is_told(
    kind: type[Exception], words: str, changed: dict[str, Any]
) -> None:
    model, x, adversarial, y = twins(networks.Channels, 2, 6, 6, samples=30)
    if changed.pop("adversarial", adversarial) is None:
        adversarial = x
    adversarial = adversarial[changed.pop("cut", 0) :]
    with pytest.raises(kind, match=words):
        wl.explain.carriers(model, x, adversarial, **{"y": y, **changed})


@pytest.mark.law
def test_few_samples_and_twins_far_apart_are_noted() -> None:
    model, x, adversarial, y = twins(networks.Channels, 2, 6, 6, samples=8)
    far = wl.explain.carriers(
        model, x, x + 40 * (adversarial - x), y, layers="input", shares=(), points=1, settings=WIDE
    )
    assert far["input"].trust == "incomplete"
    assert any("fewer than 20" in it for it in far.notes)
    assert any("do not add up" in it and "points=4" in it for it in far.notes)


@pytest.mark.law
def test_carriers_of_a_pair_are_learnt_on_one_half_and_judged_on_the_other() -> None:
    torch.manual_seed(0)
    model, x = _by_pair(), torch.rand(160, 12)
    y = torch.arange(160) % 2
    x[:, 0] = y + 0.5
    adversarial = torch.where(
        (torch.arange(12) == (4 + y)[:, None]), x + 3, x + 0.01 * torch.randn(160, 12)
    )
    found = wl.explain.carriers(
        model, x, adversarial, y, layers="0", by="neuron", shares=(), settings=WIDE
    )
    told = wl.explain.pair_carriers(
        model, x, adversarial, found, "0", count=1, resamples=100, settings=WIDE
    )
    assert {(it.true, it.wrong): it.carriers for it in told.pairs} == {(0, 1): (4,), (1, 0): (5,)}
    assert sorted(it.overall.value > 0.9 for it in told.pairs) == [False, True]
    for pair in told.pairs:
        assert pair.learnt + pair.judged == 80
        assert pair.carried
        assert min(pair.pair.value, pair.own.value) > 0.9
        assert pair.random.value < 0.5
    assert told.shared == ((1.0, 0.0), (0.0, 1.0))
    assert told.chance == 1 / 12
    with pytest.raises(LabelError, match=r"0 → 3 has 0 fooled samples.*Most have: 0 → 1"):
        wl.explain.pair_carriers(model, x, adversarial, found, "0", pairs=[(0, 3)])
    with pytest.raises(UsageError, match="not looked for at '9', but at: 0"):
        wl.explain.pair_carriers(model, x, adversarial, found, "9")
    with pytest.raises(UsageError, match="1 to 12 can be put back; got 13"):
        wl.explain.pair_carriers(model, x, adversarial, found, "0", count=13)
    with pytest.raises(ShapeError, match="inputs and twins that the carriers were found on: 160"):
        wl.explain.pair_carriers(model, x[1:], adversarial, found, "0")
    with pytest.raises(UsageError, match=r"must be what wl\.explain\.carriers.* got Tensor"):
        wl.explain.pair_carriers(model, x, adversarial, y, "0")


@pytest.mark.law
def test_the_half_that_judges_teaches_nothing() -> None:
    torch.manual_seed(0)
    model, x, y = _by_pair(), torch.rand(40, 12), torch.zeros(40, dtype=torch.int64)
    x[:, 0] = 0.5
    rows = torch.arange(40)
    adversarial = x.clone()
    adversarial[rows[::2], 4] += 3
    adversarial[rows[1::2], 0] += 9  # twice the weight, and more of it: the mean of all is this
    found = wl.explain.carriers(
        model, x, adversarial, y, layers="0", by="neuron", shares=(), settings=WIDE
    )
    (pair,) = wl.explain.pair_carriers(
        model, x, adversarial, found, "0", count=1, resamples=50, settings=WIDE
    ).pairs
    assert pair.carriers == (4,)
    assert (pair.pair.value, pair.own.value) == (0, 1)
    assert not pair.carried


def _by_pair() -> nn.Module:
    """Class 1 is feature 0; feature 4 turns class 0 into 1, feature 5 class 1 into 0."""
    model = nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(12))
        model[0].bias.zero_()
        weight = torch.zeros(12)
        weight[0], weight[4], weight[5] = 2, 1, -1
        model[1].weight.copy_(torch.stack((-weight, weight)))
        model[1].bias.copy_(torch.tensor([2.0, -2.0]))
    return model
