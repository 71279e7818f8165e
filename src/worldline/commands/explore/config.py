"""What decides the numbers of ``worldline explore``; its fields are the command's options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldline.runs.config import BudgetConfig, ModelConfig, option, parse_size
from worldline.settings import FrameName, Tokens

__all__ = ["ExploreConfig"]


@dataclass(frozen=True, kw_only=True)
class ExploreConfig(BudgetConfig, ModelConfig):
    """Attack a model, follow the twins through its layers, and write a report.

    Attributes:
        layers: globs; empty for the default layers.
        frame: from where features are seen.
        tokens: what becomes of values (N, T, D).
        memory: for tracing, over the model and the data; empty for no limit.

    >>> from worldline import commands
    >>> round(commands.config_of("explore")(eps="8/255").epsilon, 4)
    0.0314
    """

    command: ClassVar[str] = "explore"
    strict: ClassVar[bool] = True

    layers: tuple[str, ...] = option(
        (),
        "Layers to trace; repeat for more.  [default: those the next stage reads]",
        metavar="GLOB",
    )
    frame: FrameName = option("centered", "From where features are seen.")  # noqa: RUF009
    tokens: Tokens = option(  # noqa: RUF009  # a field
        "flatten", "For layers of tokens: all in one, the first, their mean, or each by itself."
    )
    memory: str = option(
        "", "Trace within it, over the model: 2GB, 500MB.  [default: no limit]", kind="size"
    )

    @property
    def stem(self) -> str:
        """By the model and the data alone: it is the command that most runs are of."""
        return super().stem.removeprefix(f"{self.command}-")

    @property
    def bytes_of_memory(self) -> int | None:
        """The memory in bytes; None for no limit."""
        return parse_size(self.memory, "--memory") if self.memory else None
