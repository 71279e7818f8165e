"""What decides the numbers of ``worldline compare``; its fields are the command's options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from worldline.errors import UsageError
from worldline.files import shorten
from worldline.runs.config import AttackConfig, ModelsConfig, option

__all__ = ["ZOO", "CompareConfig"]

ZOO = ("cnn", "cnn@1", "cnn-adv", "linear", "mlp", "mlp@1", "mlp-adv", "resnet", "vit")


@dataclass(frozen=True, kw_only=True)
class CompareConfig(AttackConfig, ModelsConfig):
    """Predict which attacks carry over from model to model, without attacking any.

    Each MODEL is a name of the zoo (cnn; cnn@1 for another seed), package.module:factory or
    file.py:factory, with weights as file.py:factory@weights.safetensors, model.pt2, model.onnx or
    hf:FOLDER. Nothing is attacked without --measure.

    Attributes:
        zoo: ``default`` for the embedded models beside those that are named.
        measure: whether transfer is also measured, by attacks on every model.
        probed_samples, probes: samples that the prediction looks at, and displacements of each
            where a model gives no gradients, see :func:`worldline.compare.predict`.

    >>> from worldline import commands
    >>> commands.config_of("compare")(models=("mlp", "cnn")).steps
    20
    """

    command: ClassVar[str] = "compare"
    fewest: ClassVar[int] = 2

    zoo: str = option("", f"'default' adds the embedded models: {', '.join(ZOO)}.")
    measure: bool = option(
        False, "Attack every model, and judge the prediction by what carries over."
    )
    steps: int = option(20, "Gradient steps of the attack.", least=1, metavar="N")
    probed_samples: int = option(200, "Samples that the prediction looks at.", least=1, metavar="N")
    probes: int = option(
        4, "Displacements of each of them, where a model gives no gradients.", least=2, metavar="N"
    )

    def __post_init__(self) -> None:
        """Refuse another zoo than the one there is."""
        if self.zoo not in ("", "default"):
            raise UsageError(
                f"--zoo takes 'default', which is {', '.join(ZOO)}; got {shorten(self.zoo)!r}."
            )
        super().__post_init__()

    @classmethod
    def _made(cls, **values: Any) -> Self:
        """With the zoo's models among the named ones."""
        if values.get("zoo") == "default":
            named = tuple(values.get("models", ()))
            values["models"] = (*named, *(it for it in ZOO if it not in named))
        return cls(**values)
