"""What cannot be compared, in words."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

import worldline as wl
from worldline.errors import BoundsError, LabelError, ModelError, ShapeError, UsageError

X = torch.rand(40, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.message
def test_models_that_do_not_fit_together() -> None:
    three, four = nn.Linear(8, 3), nn.Linear(8, 4)
    with pytest.raises(
        ModelError,
        match="Model 'b' has 4 classes where the models before it have 3; compare models of the",
    ):
        wl.compare.predict({"a": three, "b": four}, X)
    with pytest.raises(ModelError, match="'b' has 4 classes"):
        wl.compare.baselines({"a": three, "b": four}, X)
    found = wl.compare.predict({"a": three, "b": three, "wide": nn.Linear(9, 3)}, X)
    assert (
        "Model 'wide' refused inputs (40, 8) torch.float32: RuntimeError"
        in found.failures[0].reason
    )
    assert "All models must take the same inputs" in found.failures[0].reason


@pytest.mark.message
def test_classes_in_another_order(models, data) -> None:
    order = torch.tensor([1, 2, 0])
    turned = {**models, "turned": lambda x: models["first-0"](x)[:, order]}
    with pytest.raises(
        LabelError,
        match=r"Model 'turned' agrees with model 'first-0' on \d+% of the samples, and on \d+%",
    ):
        wl.compare.predict(turned, data[0], scouts=7)
    with pytest.raises(LabelError, match="Model 'turned' agrees with the labels on"):
        wl.compare.measure(turned, *data, wl.attacks.FGSM(epsilon=0.1))


@pytest.mark.message
@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            lambda x: (x[:, :3], x[:, 3:6]),
            r"Model 'odd': The model must .* with 2 tensors that could be them: tuple\[0\]",
        ),
        (lambda x: x[:, :, None].tile(2), r"floating logits \(N, K\), or one logit a sample"),
        (lambda x: x[:, :2].long(), r"or integer labels \(N,\); for \d+ inputs it returned"),
        (lambda x: torch.full((len(x), 3), torch.nan), "returned NaN or infinite scores"),
        (
            lambda x: torch.ones(len(x), 3),
            r"gives the same answer to all \d+ inputs; check its weights",
        ),
        (lambda x: torch.full((len(x),), 7), "returned labels 7…7; the number of classes is 3"),
    ],
)
def test_outputs_that_say_nothing(output, words) -> None:
    torch.manual_seed(0)  # two models whose classes are not each other's renamed
    entries = {"a": nn.Linear(8, 3), "b": nn.Linear(8, 3), "odd": output}
    found = wl.compare.predict(entries, X)
    assert found.names == ("a", "b")
    assert re.search(words, found.failures[0].reason)


@pytest.mark.message
def test_inputs_and_options() -> None:
    models = {"a": nn.Linear(8, 3), "b": nn.Linear(8, 3)}
    with pytest.raises(
        ShapeError, match="At least 30 samples are needed to compare models; got 29"
    ):
        wl.compare.predict(models, X[:29])
    with pytest.raises(BoundsError, match="outside bounds"):
        wl.compare.predict(models, X + 1)
    with pytest.raises(UsageError, match="At least 2 models are needed; got a"):
        wl.compare.predict({"a": models["a"]}, X)
    with pytest.raises(UsageError, match="mapping of names to models; got list"):
        wl.compare.predict([models["a"]], X)  # type: ignore[arg-type]
    with pytest.raises(
        UsageError, match=r"Model 'b' must be callable, or a wl.compare.Loader .* got str"
    ):
        wl.compare.predict({"a": models["a"], "b": "b.pt"}, X)  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="epsilon must be a positive number"):
        wl.compare.predict(models, X, epsilon=0)
    with pytest.raises(UsageError, match="probes at least 2; got 200, 5 and 1"):
        wl.compare.predict(models, X, probes=1)
    with pytest.raises(UsageError, match="Unknown norm"):
        wl.compare.predict(models, X, norm="l1")  # type: ignore[arg-type]
    labels = {name: (lambda x, model=model: model(x).argmax(1)) for name, model in models.items()}
    with pytest.raises(
        ModelError,
        match="number of classes is unknown: put a model with scores first, or pass classes=",
    ):
        wl.compare.predict(labels, X)
    found = wl.compare.predict(models, X)
    with pytest.raises(UsageError, match="There is no model 'c' in the prediction; it has a, b"):
        wl.compare.rank_surrogates(found, "c")
    with pytest.raises(UsageError, match="at most the 2 models there are"):
        wl.compare.diverse(found, 3)
    with pytest.raises(UsageError, match="unknown: z"):
        wl.compare.diverse(found, 2, among=["a", "z"])
    with pytest.raises(UsageError, match="may not be called 'target'"):
        wl.compare.surrogate(models["a"], {"target": models["b"]}, X)


@pytest.mark.message
def test_a_loader_that_raises_is_named() -> None:
    def load() -> nn.Module:
        raise FileNotFoundError("weights.safetensors")

    models = {"a": nn.Linear(8, 3), "b": nn.Linear(8, 3), "gone": wl.compare.Loader(load)}
    found = wl.compare.predict(models, X)
    assert (
        found.failures[0].reason
        == "The loader of model 'gone' raised FileNotFoundError: weights.safetensors."
    )


@pytest.mark.message
@pytest.mark.parametrize("settings", [wl.Settings(seed=-1), wl.Settings(batch_size=0)])
def test_settings_are_refused_before_any_model_is_asked(settings: wl.Settings) -> None:
    def asked(_x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a model was asked")

    models, y = {"a": asked, "b": asked}, torch.zeros(40).long()
    with pytest.raises(UsageError):
        wl.compare.predict(models, X, settings=settings)
    with pytest.raises(UsageError):
        wl.compare.measure(models, X, y, wl.attacks.FGSM(epsilon=0.1), settings=settings)
    with pytest.raises(UsageError):
        wl.compare.baselines(models, X, settings=settings)


@pytest.mark.law
def test_a_model_is_given_inputs_in_its_own_dtype(models, data) -> None:
    """The old code left such a model out: it refused float32."""
    double = {**models, "double": copy.deepcopy(models["first-0"]).double()}
    found = wl.compare.predict(double, data[0])
    assert found.failures == ()
    assert float(found.similarity[0, 6]) == pytest.approx(1, abs=1e-4)
    measured = wl.compare.measure(double, *data, wl.attacks.PGD(epsilon=0.15, steps=2))
    assert measured.failures == ()
    assert wl.compare.baselines(double, *data).failures == ()
