"""Attacks by gradients and without, adapters for foreign ones, and collisions at a layer."""

from worldline.attacks.apgd import APGD
from worldline.attacks.asking import choices, predict
from worldline.attacks.autoattack import AutoAttack
from worldline.attacks.collide import entangle, separate
from worldline.attacks.descent import OTHERWISE, Descent, gradient_problem, told_elsewhere
from worldline.attacks.invariant import Invariant, invariance
from worldline.attacks.matching import CLOSE, Collided
from worldline.attacks.norms import NormName, named_norm
from worldline.attacks.pgd import FGSM, PGD
from worldline.attacks.record import Attacked, Iterate
from worldline.attacks.scale import Scale
from worldline.attacks.square import Square
from worldline.attacks.strong import strong_attack
from worldline.attacks.twins import Attack, adversarial_twin, noise_twin
from worldline.attacks.worst import WorstCase, WorstFound

__all__ = [
    "APGD",
    "CLOSE",
    "FGSM",
    "OTHERWISE",
    "PGD",
    "Attack",
    "Attacked",
    "AutoAttack",
    "Collided",
    "Descent",
    "Invariant",
    "Iterate",
    "NormName",
    "Scale",
    "Square",
    "WorstCase",
    "WorstFound",
    "adversarial_twin",
    "choices",
    "entangle",
    "gradient_problem",
    "invariance",
    "named_norm",
    "noise_twin",
    "predict",
    "separate",
    "strong_attack",
    "told_elsewhere",
]
