"""Is this model one that can be traced, attacked and believed?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from worldline.attacks import choices, predict
from worldline.checks import outputs
from worldline.checks.check import (
    Check,
    Look,
    Verdict,
    amount,
    at_least,
    at_most,
    attempt,
    examine,
    fine,
    several,
    skip,
)
from worldline.checks.outputs import furthest, rounding_error, within
from worldline.checks.sources import ATHALYE, CARLINI, CROCE, FOOLBOX, OURS
from worldline.errors import BoundsError, ModelError
from worldline.inputs import check_inputs, labels_of, logits_of
from worldline.settings import Bounds
from worldline.trace import Layer, Model, choose_layers, find_layers, logits_in, tracing, untouched

__all__ = ["ModelReport", "check_model"]

FEW_VALUES = 0.25
FAR_FROM_RANGE = 0.05
SLACK = 1e-5
"""Of the width of the bounds: rounding of a division by 255 and the like."""
MARKS = {"passed": "ok  ", "warned": "WARN", "not applicable": "–   "}


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
        lines = (f"{MARKS[check.status]} {check.name}: {check.sentence}" for check in self.checks)
        return "\n".join(lines)


def check_model(
    model: Model,
    x: Tensor,
    y: Tensor | None = None,
    *,
    bounds: Bounds = (0.0, 1.0),
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
        left as it was, as far as it can be: what its own code keeps outside of parameters and
        buffers is out of reach.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(1))
    >>> report = wl.check_model(model, torch.rand(20, 4))
    >>> [check.name for check in report.checks if check.status == "warned"]
    ['logits']
    """
    given = attempt("model", Look("inputs", OURS, lambda: _inputs(x, y, bounds)))
    if not isinstance(x, Tensor) or x.ndim < 2 or not x.numel() or not x.is_floating_point():
        return ModelReport((given,), None, (), None)
    few = x[:samples].detach()
    answers: list[_Answer] = []
    layers: list[Layer] = []
    runs = attempt("model", Look("runs", OURS, lambda: _runs(model, few, answers)))
    within = Look("bounds", CARLINI, lambda: _bounds(x, bounds))
    if not answers:
        return ModelReport((given, runs, attempt("model", within)), None, (), None)
    classes, dtype, labels = answers[0]
    if given.status == "passed" and y is not None and int(y[:samples].max()) < classes:
        labels = y[:samples]
    looks = (
        Look("finite", OURS, lambda: _finite(model, few)),
        Look("unchanged", OURS, lambda: _unchanged(model, few)),
        Look("traceable", OURS, lambda: _traceable(model, few, layers)),
        Look("deterministic", CROCE, lambda: outputs.deterministic(model, few)),
        Look("batch", OURS, lambda: _batch(model, few)),
        Look("mode", FOOLBOX, lambda: _mode(model, few)),
        Look("gradient", CARLINI, lambda: outputs.gradient(model, few, labels)),
        Look("logits", CROCE, lambda: outputs.logits(model, few)),
        Look("rounded", ATHALYE, lambda: _rounded(model, few)),
        Look("precision", OURS, lambda: _precision(dtype)),
        within,
        Look("chance", CARLINI, lambda: _chance(model, x, y, classes)),
    )
    checks = (given, runs, *examine("model", looks))
    names = tuple(layer.name for layer in layers)
    return ModelReport(checks, classes, names, _name(dtype))


class _Answer(NamedTuple):
    """How many classes the model tells apart, in which dtype, and what it takes the inputs for."""

    classes: int
    dtype: torch.dtype
    said: Tensor


def _inputs(x: Tensor, y: Tensor | None, bounds: Bounds) -> Verdict:
    if isinstance(x, Tensor) and x.is_floating_point() and x.ndim >= 2:
        check_inputs(x, (-torch.inf, torch.inf))
    else:
        check_inputs(x, bounds)
    if y is not None:
        labels_of(y, len(x))
    return fine(f"{several(len(x), 'input')} {tuple(x.shape[1:])}, finite.")


def _runs(model: Model, x: Tensor, answers: list[_Answer]) -> Verdict:
    if not callable(model):
        raise ModelError(f"a model is a module or a callable; this is a {type(model).__name__}")
    with untouched(model), torch.no_grad():
        output = logits_of(model, x.clone())
    said = torch.nan_to_num(output).argmax(1).to(x.device)
    answers.append(_Answer(output.shape[1], output.dtype, said))
    words = f"It returns logits of {output.shape[1]} classes."
    return at_least(float(output.shape[1]), 2.0, words, words)


def _finite(model: Model, x: Tensor) -> Verdict:
    share = float((~torch.isfinite(predict(model, x.clone())).all(1)).double().mean())
    return at_most(
        share,
        0.0,
        "Every output is finite.",
        f"{share:.1%} of the inputs give NaN or infinite outputs: their predictions and gradients "
        "mean nothing. Look for a logarithm, a division or an overflow.",
    )


def _unchanged(model: Model, x: Tensor) -> Verdict:
    given = x.clone()
    with untouched(model), torch.no_grad():
        model(given)
    change = furthest(given, x)
    return at_most(
        change,
        0.0,
        "The input is not written to.",
        f"The model writes into its input (by up to {amount(change)}): a second pass over the same "
        "tensor sees something else. Copy the input first, or make the first module not in-place.",
    )


def _traceable(model: Model, x: Tensor, layers: list[Layer]) -> Verdict:
    layers += choose_layers(find_layers(model, x.clone()))
    plain = predict(model, x.clone(), batch_size=len(x)).double()
    with tracing(model, layers) as run:
        traced = logits_in(run(x.clone(), lambda _position, _features: None), len(x)).cpu().double()
    apart = furthest(traced, plain)
    return at_most(
        apart,
        rounding_error(plain),
        f"{several(len(layers), 'layer')} can be traced, and a traced pass equals a plain one "
        f"({within(apart)}).",
        f"A traced pass differs from a plain one by {amount(apart)}: the model returns something "
        "else when it is watched or called again.",
    )


def _batch(model: Model, x: Tensor) -> Verdict:
    if len(x) < 2:
        return skip("One sample was given; nothing to compare.")
    together = predict(model, x.clone(), batch_size=len(x)).double()
    alone = predict(model, x[:8].clone(), batch_size=1).double()
    apart = furthest(together[: len(alone)], alone)
    return at_most(
        apart,
        rounding_error(together),
        f"A sample alone and in a batch gives the same ({within(apart)}).",
        f"A sample's logits change by {amount(apart)} with the others in its batch: results depend "
        "on the batch size. Look for statistics over the batch, or a reshape that mixes samples.",
    )


def _mode(model: Model, x: Tensor) -> Verdict:
    if not isinstance(model, nn.Module):
        return skip("A callable has no mode: see that what it wraps is in eval mode.")
    training = [module for module in model.modules() if module.training]
    if not training:
        return fine("Every module is in eval mode.")
    evaluated = predict(model, x.clone(), batch_size=len(x)).double()
    with untouched(model), torch.no_grad():
        for module in training:
            module.training = True
        trained = logits_of(model, x.clone()).cpu().double()
    apart = furthest(trained, evaluated)
    which = f"{several(len(training), 'module')} {'was' if len(training) == 1 else 'were'}"
    return at_most(
        apart,
        rounding_error(evaluated),
        f"{which} left in training mode, which changes nothing here; Worldline works in eval mode.",
        f"{which} left in training mode, where the outputs differ by {amount(apart)} from eval "
        "mode. Worldline works in eval mode; other code needs model.eval() first.",
    )


def _rounded(model: Model, x: Tensor) -> Verdict:
    output = predict(model, x.unique(dim=0))
    output = output[output.isfinite().all(1)]
    if len(output) > 1 and bool((output == output[0]).all()):
        same = "Every input gets the same output: there is nothing to attack. Check the weights."
        return at_least(1.0, 2.0, "", same)
    if output.numel() < 40:
        return skip("Too few finite outputs to tell.")
    share = len(output.unique()) / output.numel()
    return at_least(
        share,
        FEW_VALUES,
        f"{share:.0%} of the outputs are distinct values.",
        f"Only {share:.0%} of the outputs are distinct values: they look rounded or quantised, and "
        "gradients through rounding are zero. Attack the model before the rounding.",
    )


def _precision(dtype: torch.dtype) -> Verdict:
    digits = -float(torch.tensor(torch.finfo(dtype).eps).log10())
    return at_least(
        digits,
        6.0,
        f"The logits are {_name(dtype)} ({digits:.0f} digits).",
        f"The logits are {_name(dtype)} ({digits:.0f} digits): small gradients vanish and close "
        "logits tie. Attack the model in float32: model.float().",
    )


def _bounds(x: Tensor, bounds: Bounds) -> Verdict:
    width = bounds[1] - bounds[0]
    if not width > 0:
        raise BoundsError(f"bounds must be (low, high) with low < high; got {bounds}")
    values = x[x.isfinite()].double()
    if not len(values):
        return skip("No input is finite, so that none can lie in the bounds.")
    low, high, mean = float(values.min()), float(values.max()), float(values.mean())
    sd = float(values.std(correction=0))
    outside = max(bounds[0] - low, high - bounds[1], 0.0)
    what, declared = f"The inputs, {low:.3g} to {high:.3g}", f"({bounds[0]:g}, {bounds[1]:g})"
    if outside > SLACK * width:
        normalised = low < 0 and abs(mean) < 0.5 and 0.5 < sd < 2
        hint = (
            " Mean and deviation look normalised: move the normalisation into the model."
            if normalised
            else ""
        )
        bad = (
            f"{what} (mean {mean:.2g}, deviation {sd:.2g}), lie outside the declared bounds "
            f"{declared}, by {outside:.2g}: ε means nothing there. Declare the bounds of the "
            f"data.{hint}"
        )
        return at_most(outside, SLACK * width, "", bad)
    return at_least(
        (high - low) / width,
        FAR_FROM_RANGE,
        f"{what}, lie in the bounds {declared} and use them.",
        f"{what}, use less than a twentieth of the declared bounds {declared}, which are those of "
        "other data.",
    )


def _chance(model: Model, x: Tensor, y: Tensor | None, classes: int) -> Verdict:
    if y is None:
        return skip("No labels were given.")
    labels = labels_of(y, len(x), classes=classes).cpu()
    said = choices(predict(model, x.clone()))
    known = said >= 0
    if not bool(known.any()):
        return skip("No output names a class: all hold NaN.")
    return outputs.chance(said[known] == labels[known], labels[known])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
