"""What decides the numbers of ``worldline carriers``; its fields are the command's options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from worldline.errors import UsageError
from worldline.files import shorten
from worldline.runs.config import BudgetConfig, ModelConfig, option, parse_size

__all__ = ["CarriersConfig"]


@dataclass(frozen=True, kw_only=True)
class CarriersConfig(BudgetConfig, ModelConfig):
    """Find the parts of a model, and of its inputs, that carry an attack.

    Attributes:
        layers: globs; empty for the default layers, heads among them.
        by: what a part is; ``auto`` is decided by the shape of each layer.
        pair: "true>wrong", by name or number: those fooled from the one to the other.
        exact: patch each part by itself, instead of attributing the change along a path.
        direction: put parts of the original into the attacked run, or the reverse.
        points: on the path.
        memory: over the model and the data; empty for no limit.

    >>> from worldline import commands
    >>> commands.config_of("carriers")(pair=("bag>shirt",)).pairs
    (('bag', 'shirt'),)
    """

    command: ClassVar[str] = "carriers"

    layers: tuple[str, ...] = option(
        (),
        "Layers to look at; repeat for more.  [default: those the next stage reads]",
        metavar="GLOB",
    )
    by: Literal["auto", "channel", "position", "token", "head", "neuron", "pixel"] = option(
        "auto", "What a part of a layer is; auto: by its shape."
    )
    pair: tuple[str, ...] = option(
        (),
        "Also the parts that carry one class into another, by name or number; repeat for more.",
        metavar="'TRUE>WRONG'",
    )
    exact: bool = option(
        False, "Put back each part alone, one pass each; needed without gradients."
    )
    direction: Literal["denoise", "noise"] = option(
        "denoise", "Put original parts into the attacked run, or attacked ones into the original."
    )
    points: int = option(10, "Points on the path, without --exact.", least=2, metavar="N")
    memory: str = option(
        "", "Work within it, over the model: 2GB, 500MB.  [default: no limit]", kind="size"
    )

    def __post_init__(self) -> None:
        """Refuse what is no pair."""
        super().__post_init__()
        for text in self.pair:
            if len([part for part in text.split(">") if part.strip()]) != 2 or text.count(">") != 1:
                raise UsageError(
                    "--pair is the true and the wrong class, such as 'bag>shirt' or '8>6' (in "
                    f"quotes, as > means more to the shell); got {shorten(text)!r}."
                )

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """True and wrong class of each pair, as written."""
        split = (text.partition(">") for text in self.pair)
        return tuple((true.strip(), wrong.strip()) for true, _, wrong in split)

    @property
    def bytes_of_memory(self) -> int | None:
        """The memory in bytes; None for no limit."""
        return parse_size(self.memory, "--memory") if self.memory else None
