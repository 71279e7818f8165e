"""What other commands use: one model measured on their samples, and its sections on their page."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from worldline.commands.complexity.figures import boost_waterfall, speed_limit_use
from worldline.commands.complexity.page import model_markup, model_views
from worldline.commands.complexity.record import ModelComplexity
from worldline.commands.complexity.run import measure
from worldline.commands.complexity.words import model_sentences
from worldline.settings import DEFAULT, Settings

__all__ = [
    "ModelComplexity",
    "boost_waterfall",
    "measure_model",
    "model_markup",
    "model_sentences",
    "model_views",
    "speed_limit_use",
]


def measure_model(
    name: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    adversarial: Tensor | None = None,
    *,
    sigma: float,
    layers: Sequence[str] = (),
    brief: bool = False,
    settings: Settings = DEFAULT,
) -> ModelComplexity:
    """Complexity of one model on these samples, and how many of its answers noise changes.

    Args:
        name: what the model is called.
        model: the model; x (N, …) inputs, y (N,) labels, on its device.
        adversarial: (N, …) attacked twins, if there are any.
        sigma: of the noise twins, in the units of the input.
        layers: globs; empty for the default layers.
        brief: leave out what costs most: sharpness, most Jacobians, most pairs of strangers.
        settings: bounds, frame, batch size, seed, progress.
    """
    record, _ = measure(
        name, model, x, y, adversarial, sigma=sigma, layers=layers, brief=brief, settings=settings
    )
    return record
