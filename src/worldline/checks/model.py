"""Is this model one that can be traced, attacked and believed?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worldline.attacks import predict
from worldline.checks import outputs
from worldline.checks.check import Check, attempt, judge, skip
from worldline.errors import ModelError
from worldline.inputs import check_inputs, check_labels, logits_of
from worldline.trace import Model, choose_layers, find_layers, logits_in, tracing, untouched

__all__ = ["ModelReport", "check_model"]

OURS = "Worldline"
CLOSE = 1e-4
"""Relative to the largest logit, or absolute where all are below 1: float32 sums in another order
differ by less.
"""
FEW_VALUES = 0.25
FAR_FROM_RANGE = 0.05


@dataclass(frozen=True)
class ModelReport:
    """What :func:`check_model` found.

    Attributes:
        checks: each with value, threshold, what to do, and source.
        classes: outputs of the model, or None where it could not be run.
        layers: names of the layers that would be traced, or none.
        dtype: of the logits, or None.
    """

    checks: tuple[Check, ...]
    classes: int | None
    layers: tuple[str, ...]
    dtype: str | None

    @property
    def sound(self) -> bool:
        """Whether no check warns."""
        return all(check.status != "warned" for check in self.checks)

    def __str__(self) -> str:
        marks = {"passed": "ok  ", "warned": "WARN", "not applicable": "–   "}
        return "\n".join(
            f"{marks[check.status]} {check.name}: {check.sentence}" for check in self.checks
        )


def check_model(
    model: Model,
    x: Tensor,
    y: Tensor | None = None,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    samples: int = 64,
) -> ModelReport:
    """Examine a model before it is attacked; nothing that it raises ends the examination.

    Args:
        model: an ``nn.Module`` or a callable that should return logits (N, K); anything may be
            given.
        x: (N, …) inputs of the kind that it will see.
        y: (N,) labels; without them the model's own predictions stand in, and ``chance`` does not
            apply.
        bounds: declared lowest and highest legal value of an input.
        samples: use at most so many.

    Returns:
        A :class:`ModelReport`: inputs, runs, finite, unchanged (does it write into its input),
        traceable (a traced pass equals a plain one), deterministic, batch (a sample alone and in a
        batch agree), mode, gradient, logits, rounded, precision, bounds, chance. ``sound`` where
        none warns, which proves nothing about robustness.

    Cost: about fifteen forward passes of ``samples`` inputs and one backward pass. The model is
        left as it was, as far
    as it can be: what its own code keeps outside of parameters and buffers is out of reach.

    >>> import torch, worldline as wl
    >>> report = wl.check_model(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(1)), torch.rand(20, 4))
    >>> [check.name for check in report.checks if check.status == "warned"]
    ['logits']
    """
    given = attempt("inputs", OURS, lambda: _inputs(x, y, bounds))
    if not isinstance(x, Tensor) or x.ndim < 2 or not len(x) or not x.is_floating_point():
        return ModelReport((given,), None, (), None)
    few = x[:samples].detach()
    facts: dict[str, Any] = {"layers": ()}
    runs = attempt("runs", OURS, lambda: _runs(model, few, facts))
    if runs.status == "warned":
        return ModelReport(
            (given, runs, attempt("bounds", "Carlini et al. 2019", lambda: _bounds(x, bounds))),
            None,
            (),
            None,
        )
    labels = y[:samples] if given.status == "passed" and y is not None else facts["predictions"]
    labels = labels if int(labels.max()) < facts["classes"] else facts["predictions"]
    looks: tuple[tuple[str, str, Callable[[], Check]], ...] = (
        ("finite", OURS, lambda: _finite(model, few)),
        ("unchanged", OURS, lambda: _unchanged(model, few)),
        ("traceable", OURS, lambda: _traceable(model, few, facts)),
        ("deterministic", "Croce and Hein 2020", lambda: outputs.deterministic(model, few)),
        ("batch", OURS, lambda: _batch(model, few)),
        ("mode", "Foolbox, report 74", lambda: _mode(model, few)),
        ("gradient", "Carlini et al. 2019", lambda: outputs.gradient(model, few, labels)),
        ("logits", "Croce and Hein 2020", lambda: outputs.logits(model, few)),
        ("rounded", "Athalye, Carlini and Wagner 2018", lambda: _rounded(model, few)),
        ("precision", OURS, lambda: _precision(model, few)),
        ("bounds", "Carlini et al. 2019", lambda: _bounds(x, bounds)),
        ("chance", "Carlini et al. 2019", lambda: _chance(model, x, y, facts["classes"])),
    )
    checks = (given, runs, *(attempt(name, source, look) for name, source, look in looks))
    return ModelReport(checks, facts["classes"], facts["layers"], facts["dtype"])


def _inputs(x: Tensor, y: Tensor | None, bounds: tuple[float, float]) -> Check:
    if isinstance(x, Tensor) and x.is_floating_point() and x.ndim >= 2:
        check_inputs(x, (-torch.inf, torch.inf))
    else:
        check_inputs(x, bounds)
    if y is not None:
        check_labels(y, len(x))
        if len(y) and int(y.min()) < 0:
            check_labels(y, len(x), classes=max(2, int(y.max()) + 1))
    return judge(
        "inputs",
        None,
        None,
        passed=True,
        words=(f"{len(x)} inputs {tuple(x.shape[1:])}, finite.", ""),
        source=OURS,
    )


def _runs(model: Model, x: Tensor, facts: dict[str, Any]) -> Check:
    if not callable(model):
        raise ModelError(f"a model is a module or a callable; this is a {type(model).__name__}")
    with untouched(model), torch.no_grad():
        output = logits_of(model, x.clone())
    facts.update(classes=output.shape[1], dtype=str(output.dtype).removeprefix("torch."))
    facts["predictions"] = torch.nan_to_num(output).argmax(1).to(x.device)
    words = f"It returns logits of {output.shape[1]} classes."
    return judge("runs", float(output.shape[1]), 2.0, passed=True, words=(words, ""), source=OURS)


def _finite(model: Model, x: Tensor) -> Check:
    share = float((~torch.isfinite(predict(model, x.clone())).all(1)).double().mean())
    words = (
        "Every output is finite.",
        f"{share:.1%} of the inputs give NaN or infinite outputs: their predictions and gradients "
        f"mean nothing. Look for a "
        "logarithm, a division or an overflow.",
    )
    return judge("finite", share, 0.0, passed=share == 0, words=words, source=OURS)


def _unchanged(model: Model, x: Tensor) -> Check:
    given = x.clone()
    with untouched(model), torch.no_grad():
        model(given)
    change = float((given - x).abs().max()) if given.shape == x.shape else torch.inf
    words = (
        "The input is not written to.",
        f"The model writes into its input (by up to {change:.2g}): a second pass over the same "
        f"tensor sees something else. Copy "
        "the input first, or make the first module not in-place.",
    )
    return judge("unchanged", change, 0.0, passed=change == 0, words=words, source=OURS)


def _traceable(model: Model, x: Tensor, facts: dict[str, Any]) -> Check:
    layers = choose_layers(find_layers(model, x.clone()))
    facts["layers"] = tuple(layer.name for layer in layers)
    plain = predict(model, x.clone(), batch_size=len(x)).double()
    with tracing(model, layers) as run:
        traced = logits_in(run(x.clone(), lambda _position, _features: None), len(x)).cpu().double()
    apart = float((traced - plain).abs().max()) if traced.shape == plain.shape else torch.inf
    limit = CLOSE * _scale(plain)
    words = (
        f"{len(layers)} layers can be traced, and a traced pass equals a plain one (to "
        f"{apart:.2g}).",
        f"A traced pass differs from a plain one by {apart:.2g}: the model returns something else "
        f"when it is watched or called "
        "again.",
    )
    return judge("traceable", apart, limit, passed=apart <= limit, words=words, source=OURS)


def _batch(model: Model, x: Tensor) -> Check:
    together = predict(model, x.clone(), batch_size=len(x)).double()
    alone = predict(model, x[:8].clone(), batch_size=1).double()
    if len(x) < 2:
        return skip("batch", "One sample was given; nothing to compare.", OURS)
    apart = float((together[: len(alone)] - alone).abs().max())
    limit = CLOSE * _scale(together)
    words = (
        f"A sample alone and in a batch gives the same (to {apart:.2g}).",
        f"A sample's logits change by {apart:.2g} with the others in its batch: results depend on "
        f"the batch size. Look for "
        "statistics over the batch, or a reshape that mixes samples.",
    )
    return judge("batch", apart, limit, passed=apart <= limit, words=words, source=OURS)


def _mode(model: Model, x: Tensor) -> Check:
    source = "Foolbox, report 74"
    if not isinstance(model, nn.Module):
        return skip(
            "mode", "A callable has no mode: see that what it wraps is in eval mode.", source
        )
    training = [module for module in model.modules() if module.training]
    if not training:
        return judge(
            "mode",
            0.0,
            0.0,
            passed=True,
            words=("Every module is in eval mode.", ""),
            source=source,
        )
    evaluated = predict(model, x.clone(), batch_size=len(x)).double()
    with untouched(model), torch.no_grad():
        for module in training:
            module.training = True
        trained = logits_of(model, x.clone()).cpu().double()
    apart = float((trained - evaluated).abs().max())
    limit = CLOSE * _scale(evaluated)
    words = (
        f"{len(training)} modules are in training mode, which changes nothing here; Worldline "
        f"works in eval mode.",
        f"{len(training)} modules were left in training mode, where the outputs differ by "
        f"{apart:.2g} from eval mode. Worldline works "
        "in eval mode; other code needs model.eval() first.",
    )
    return judge("mode", apart, limit, passed=apart <= limit, words=words, source=source)


def _rounded(model: Model, x: Tensor) -> Check:
    output = predict(model, x.unique(dim=0))
    if output.numel() < 40:
        return skip("rounded", "Too few outputs to tell.", "Athalye, Carlini and Wagner 2018")
    share = len(output.unique()) / output.numel()
    words = (
        f"{share:.0%} of the outputs are distinct values.",
        f"Only {share:.0%} of the outputs are distinct values: they look rounded or quantised, "
        f"and gradients through rounding are "
        "zero. Attack the model before the rounding.",
    )
    source = "Athalye, Carlini and Wagner 2018"
    return judge(
        "rounded", share, FEW_VALUES, passed=share >= FEW_VALUES, words=words, source=source
    )


def _precision(model: Model, x: Tensor) -> Check:
    dtype = predict(model, x[:2].clone()).dtype
    digits = -float(torch.tensor(torch.finfo(dtype).eps).log10())
    words = (
        f"The logits are {str(dtype).removeprefix('torch.')} ({digits:.0f} digits).",
        f"The logits are {str(dtype).removeprefix('torch.')} ({digits:.0f} digits): small "
        f"gradients vanish and close logits tie. Attack "
        "the model in float32: model.float().",
    )
    return judge("precision", digits, 6.0, passed=digits >= 6, words=words, source=OURS)


def _bounds(x: Tensor, bounds: tuple[float, float]) -> Check:
    source = "Carlini et al. 2019"
    low, high, width = float(x.min()), float(x.max()), bounds[1] - bounds[0]
    outside = max(bounds[0] - low, high - bounds[1], 0.0)
    mean, sd = float(x.double().mean()), float(x.double().std())
    normalised = low < 0 and abs(mean) < 0.5 and 0.5 < sd < 2
    hint = (
        " Mean and deviation look normalised: move the normalisation into the model."
        if normalised
        else ""
    )
    unused = (high - low) < FAR_FROM_RANGE * width
    words = (
        f"The inputs, {low:.3g} to {high:.3g}, lie in the bounds ({bounds[0]:g}, {bounds[1]:g}) "
        f"and use them.",
        f"The inputs, {low:.3g} to {high:.3g} (mean {mean:.2g}, deviation {sd:.2g}), lie outside "
        f"the declared bounds ({bounds[0]:g}, "
        f"{bounds[1]:g}), by {outside:.2g}: ε means nothing there. Declare the bounds of the "
        f"data.{hint}"
        if outside > 1e-5 * width
        else f"The inputs, {low:.3g} to {high:.3g}, use less than a twentieth of the declared "
        f"bounds ({bounds[0]:g}, {bounds[1]:g}), which "
        "are those of other data.",
    )
    return judge(
        "bounds",
        outside,
        1e-5 * width,
        passed=outside <= 1e-5 * width and not unused,
        words=words,
        source=source,
    )


def _chance(model: Model, x: Tensor, y: Tensor | None, classes: int) -> Check:
    if y is None:
        return skip("chance", "No labels were given.", "Carlini et al. 2019")
    check_labels(y, len(x), classes=classes)
    return outputs.chance(predict(model, x.clone()).argmax(1) != y.cpu(), y.cpu())


def _scale(values: Tensor) -> float:
    largest = float(values.abs().max())
    return max(1.0, largest) if largest < torch.inf else 1.0
