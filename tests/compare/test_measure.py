"""Measured transfer, baselines and their oracles; resuming and failing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.compare import Loader, SourceResult
from worldline.errors import ModelError
from worldline.geometry.population import (
    canonical_correlations,
    cka,
    gaussian_information,
    independent_information,
)

ATTACK = wl.attacks.PGD(epsilon=0.15, steps=5)


@pytest.fixture(scope="module")
def measured(models, data):
    return wl.compare.measure(models, *data, ATTACK)


@pytest.mark.oracle
def test_rates_equal_a_loop_over_pairs(models, data, measured) -> None:
    x, y = data
    for row, source in enumerate(models.values()):
        adversarial = ATTACK(source, x, y).x
        noise = wl.attacks.noise_twin(x, adversarial, generator=torch.Generator().manual_seed(0))
        own = source(adversarial).argmax(1), source(noise).argmax(1)
        for column, target in enumerate(models.values()):
            right = target(x).argmax(1) == y
            seen = target(adversarial).argmax(1)[right], target(noise).argmax(1)[right]
            lost = [(answers != y[right]).double().mean() for answers in seen]
            same = [
                ((answers != y[right]) & (answers == mine[right])).double().mean()
                for answers, mine in zip(seen, own, strict=True)
            ]
            assert float(measured.rate[row, column]) == pytest.approx(float(lost[0] - lost[1]))
            assert float(measured.same_mistake[row, column]) == pytest.approx(
                float(same[0] - same[1])
            )
            low, high = measured.interval[row, column].tolist()
            assert low <= float(measured.rate[row, column]) + 1e-6
            assert high >= float(measured.rate[row, column]) - 1e-6
    assert measured.fooled.dtype == torch.bool
    assert measured.fooled.shape == (6, 6, 60)
    assert (measured.accuracy > 0.8).all()


@pytest.mark.law
def test_an_interrupted_run_goes_on_to_the_same_numbers(models, data, measured) -> None:
    kept: dict[str, SourceResult] = {}

    def keep(result: SourceResult) -> None:
        kept[result.source] = result
        if len(kept) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wl.compare.measure(models, *data, ATTACK, on_source=keep)
    attacked = []

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> object:
        attacked.append(model)
        return ATTACK(model, x, y)

    again = wl.compare.measure(models, *data, attack, done=kept)
    assert len(attacked) == 3
    assert torch.equal(again.rate, measured.rate)
    wrong = {
        "first-0": SourceResult(
            "first-0", tuple(models), torch.zeros(6, 5).long(), torch.zeros(6, 5).long()
        )
    }
    with pytest.raises(wl.errors.UsageError, match="on 5 samples; this run has 60"):
        wl.compare.measure(models, *data, ATTACK, done=wrong)


@pytest.mark.law
def test_a_target_that_dropped_out_stays_out_when_the_run_goes_on(models, data, measured) -> None:
    """The old code refused to go on: the earlier sources lack a target that answers again."""
    kept: dict[str, SourceResult] = {}
    wl.compare.measure(models, *data, ATTACK, on_source=lambda it: kept.setdefault(it.source, it))
    lost = "second-1"
    without = {
        name: SourceResult(
            name,
            tuple(target for target in it.targets if target != lost),
            *(
                table[[target != lost for target in it.targets]]
                for table in (it.adversarial, it.noise)
            ),
        )
        for name, it in list(kept.items())[:3]
    }
    again = wl.compare.measure(models, *data, ATTACK, done=without)
    left = [name for name in models if name != lost]
    assert again.names == tuple(left)
    assert torch.equal(again.rate, measured.only(left).rate)
    assert [it.model for it in again.failures] == [lost]


@pytest.mark.law
def test_black_boxes_can_be_targets_and_a_failure_keeps_the_others(models, data, measured) -> None:
    seen: list[tuple[str, int, int]] = []
    entries = {**models, "box": lambda x: models["first-0"](x).detach()}
    found = wl.compare.measure(
        entries, *data, ATTACK, settings=wl.Settings(progress=lambda *step: seen.append(step))
    )
    assert found.names == tuple(models)
    assert torch.equal(found.rate, measured.rate)
    [failure] = found.failures
    assert failure.model == "box"
    assert "no gradient comes back" in failure.reason
    assert seen[-1] == ("Measuring transfer", 7, 7)

    hard = {"labels": lambda x: models["first-0"](x).argmax(1), **models}
    found = wl.compare.measure(
        hard,
        *data,
        lambda model, x, y: x if model is hard["labels"] else ATTACK(model, x, y),
        classes=3,
    )
    assert torch.equal(found.rate[1:, 0], measured.rate[:, 0])
    assert torch.equal(found.rate[1:, 1:], measured.rate)

    calls = []

    def breaks() -> nn.Module:
        calls.append(1)
        if len(calls) > 3:
            raise OSError("disk gone")
        return models["first-0"]

    found = wl.compare.measure({**models, "late": Loader(breaks)}, *data, ATTACK)
    assert torch.equal(found.rate, measured.rate)
    assert "OSError: disk gone" in found.failures[0].reason


@pytest.mark.law
def test_some_of_the_models(models, measured) -> None:
    few = measured.only(["second-0", "first-1"])
    assert few.names == ("second-0", "first-1")
    assert float(few.rate[0, 1]) == float(measured.rate[3, 1])
    assert torch.equal(few.fooled[1, 0], measured.fooled[1, 3])
    assert torch.equal(few.right, measured.right[[3, 1]])


@pytest.mark.law
def test_reliability_of_many_samples_is_that_of_two_halves(measured) -> None:
    one, two = measured.reliability(splits=3)
    assert one.shape == two.shape == (3, 6, 6)
    torch.testing.assert_close((one + two).mean(0) / 2, measured.rate, rtol=0, atol=0.1)


@pytest.mark.oracle
def test_baselines_equal_their_formulas(models, data) -> None:
    x, y = data
    found = wl.compare.baselines(models, x, y)
    one, two = models["first-0"], models["second-1"]
    row, column = 0, 4
    with torch.no_grad():
        logits = [
            model(x).double() - model(x).double().mean(1, keepdim=True) for model in (one, two)
        ]
        features = [model[1](model[0](x)).double() for model in (one, two)]
    assert float(found.logit_cka[row, column]) == pytest.approx(cka(*logits), abs=1e-5)
    assert found.feature_cka is not None
    assert float(found.feature_cka[row, column]) == pytest.approx(cka(*features), abs=1e-5)
    rho = canonical_correlations(*(it[:, :2] for it in logits), shrink=False)
    expected = gaussian_information(rho) - independent_information(60, 2, 2)
    assert float(found.cca_information[row, column]) == pytest.approx(expected, abs=1e-4)
    gradients = []
    for model in (one, two):
        point = x.clone().requires_grad_(True)
        loss = nn.functional.cross_entropy(model(point), y, reduction="sum")
        gradients.append(torch.autograd.grad(loss, point)[0])
    cosine = nn.functional.cosine_similarity(*gradients).mean()
    assert found.gradient_cosine is not None
    assert float(found.gradient_cosine[row, column]) == pytest.approx(float(cosine), abs=1e-6)
    assert found.gradient_norm is not None
    assert float(found.gradient_norm[row]) == pytest.approx(
        float(gradients[0].norm(dim=1).mean()), rel=1e-5
    )
    assert float(found.agreement[row, column]) == pytest.approx(
        float((one(x).argmax(1) == two(x).argmax(1)).float().mean())
    )
    assert found.accuracy is not None
    assert found.layers == ("1",) * 6
    assert all(
        parameter.grad is None for model in models.values() for parameter in model.parameters()
    )


@pytest.mark.law
def test_black_boxes_have_no_gradients_and_no_layers(models, data) -> None:
    entries = {**models, "box": lambda x: models["first-0"](x).detach().softmax(1)}
    found = wl.compare.baselines(entries, data[0])
    assert found.accuracy is None
    assert found.layers[-1] is None
    for table in (found.gradient_cosine, found.feature_cka):
        assert table is not None
        assert table[-1].isnan().all()
        assert not table[:6, :6].isnan().any()
    assert float(found.logit_cka[0, 6]) > 0.3
    boxes = {name: (lambda x, model=model: model(x).detach()) for name, model in models.items()}
    found = wl.compare.baselines(boxes, data[0])
    assert found.gradient_cosine is None
    assert found.gradient_norm is None
    assert found.feature_cka is None


@pytest.mark.message
def test_fewer_than_two_left(models, data) -> None:
    def broken(_x: Tensor) -> Tensor:
        raise RuntimeError("no")

    with pytest.raises(
        ModelError,
        match=r"Fewer than two models are left to compare\. 'broken': Model 'broken' refused",
    ):
        wl.compare.measure({"a": models["first-0"], "broken": broken}, *data, ATTACK)
