"""What decides the numbers of ``worldline distant``; its fields are the command's options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from worldline.errors import UsageError
from worldline.runs.config import ModelConfig, ReachConfig, option
from worldline.settings import FrameName, NormName

__all__ = ["DistantConfig"]


@dataclass(frozen=True, kw_only=True)
class DistantConfig(ReachConfig, ModelConfig):
    """Search a model for inputs far apart, of different labels, that are one (or opposites) to it.

    Attributes:
        layer: where to search; empty for the embedding, which the classifier reads.
        pairs: found pairs of each sign.
        frame: from where features are seen.
        input_quantile: pairs at least as far apart at the input as this quantile of pairs.
        search: over all pairs, or by FAISS over nearest neighbours.
        nulls: untrained networks to search as well.
        make: the rows of two samples: the first is moved until it meets the second at the layer.
        opposite: whether it shall become the second's opposite instead.
        eps: how far it may move, as written, also by feature; empty for anywhere inside the bounds.
        norm, steps: of that move.
        mask, immutable: what it leaves alone.

    >>> from worldline import commands
    >>> commands.config_of("distant")(make=(3, 5)).epsilon is None
    True
    """

    command: ClassVar[str] = "distant"

    layer: str = option(
        "", "Where to search.  [default: what the classifier reads]", metavar="NAME"
    )
    pairs: int = option(12, "Pairs of each sign to find.", least=1, metavar="N")
    frame: FrameName = option("centered", "From where features are seen.")  # noqa: RUF009
    input_quantile: float = option(
        0.5, "Only pairs further apart at the input than this share.", least=0, below=1
    )
    search: Literal["exact", "approximate"] = option(  # a field
        "exact", "Over all pairs, or by FAISS (an extra) where there are too many samples."
    )
    nulls: int = option(9, "Untrained networks to search as well.", least=0, metavar="N")
    make: tuple[int, int] | None = option(
        None, "Move the sample of row A until the model takes it for that of row B.", metavar="A B"
    )
    opposite: bool = option(False, "With --make: until it is the opposite of B.")
    eps: str = option(
        "",
        "With --make: how far A may move; 8/255 works. By feature: FILE.npy, or 0.1sd for a tenth "
        "of each column's standard deviation.  [default: anywhere inside the bounds]",
        kind="sizes",
    )
    norm: NormName = option("linf", "With --make: norm of the move.")  # noqa: RUF009  # a field
    steps: int = option(200, "With --make: gradient steps.", least=1, metavar="N")

    def __post_init__(self) -> None:
        """Refuse a pair that cannot be made."""
        super().__post_init__()
        if self.make is not None and (self.make[0] == self.make[1] or min(self.make) < 0):
            raise UsageError(
                f"--make takes the rows of two different samples, numbered from 0; got "
                f"{self.make[0]} and {self.make[1]}."
            )
        if self.make is None and (self.eps or self.opposite or self.mask or self.immutable):
            raise UsageError(
                "--eps, --mask, --immutable and --opposite say how to make a pair; give --make A B "
                "too."
            )
