"""What decides the numbers of ``worldline complexity``; its fields are the command's options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldline.runs.config import AttackConfig, ModelsConfig, option, parse_number
from worldline.settings import FrameName

__all__ = ["ComplexityConfig"]


@dataclass(frozen=True, kw_only=True)
class ComplexityConfig(AttackConfig, ModelsConfig):
    """Measure models layer by layer, in nats of rapidity, and how many answers noise changes.

    Attributes:
        sigma: standard deviation of the noise twins in the units of the input, as written.
        eps: of the adversarial twins; empty for none, and nothing is attacked.
        layers: globs; empty for the default layers.
        frame: from where features are seen.

    >>> from worldline import commands
    >>> commands.config_of("complexity")(models=("mlp",), sigma="8/255").noise_size < 0.04
    True
    """

    command: ClassVar[str] = "complexity"

    sigma: str = option("0.1", "Size of the noise twins in the inputs' units.", kind="number")
    eps: str = option(
        "", "Also follow attacked twins of this radius.  [default: none are made]", kind="number"
    )
    steps: int = option(20, "Gradient steps of the attack.", least=1, metavar="N")
    layers: tuple[str, ...] = option(
        (),
        "Layers to trace; repeat for more.  [default: those the next stage reads]",
        metavar="GLOB",
    )
    frame: FrameName = option("centered", "From where features are seen.")  # noqa: RUF009

    @property
    def noise_size(self) -> float:
        """σ as a number, in the units of the input."""
        return parse_number(self.sigma, "--sigma")
