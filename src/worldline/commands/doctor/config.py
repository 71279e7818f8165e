"""What decides the numbers of ``worldline doctor``; its fields are the command's options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldline.runs.config import AttackConfig, ModelConfig, option

__all__ = ["DoctorConfig"]


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(AttackConfig, ModelConfig):
    """Examine a model, attack it, and say whether the number that comes out is to be believed.

    Attributes:
        thorough: whether more attacks are tried on what the named one left.
        attack_selftest: whether adversarial examples are planted for it to find.

    >>> from worldline import commands
    >>> commands.config_of("doctor")(eps="8/255").attack
    'strong'
    """

    command: ClassVar[str] = "doctor"
    strict: ClassVar[bool] = True
    attacks: ClassVar[tuple[str, ...]] = ("strong", "pgd", "fgsm", "square")

    attack: str = option(
        "strong",
        "strong (APGD, then targeted APGD), pgd, fgsm, or package.module:callable(model, x, y).",
        kind="callable",
    )
    thorough: bool = option(
        False, "Also APGD (CE, DLR), Square Attack, and AutoAttack if installed; minutes."
    )
    attack_selftest: bool = option(
        False, "Plant adversarial examples, and see whether the attack finds them."
    )
