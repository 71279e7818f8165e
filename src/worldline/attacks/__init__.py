"""Attacks by gradients and without, adapters for foreign ones, and collisions at a layer."""

from worldline.attacks.apgd import APGD
from worldline.attacks.asking import choices, predict
from worldline.attacks.autoattack import AutoAttack
from worldline.attacks.collide import entangle, separate
from worldline.attacks.descent import OTHERWISE, Descent, gradient_problem, told_elsewhere
from worldline.attacks.fmn import FMN, Smallest
from worldline.attacks.invariant import Invariant, invariance
from worldline.attacks.made import MadeTwins
from worldline.attacks.matching import CLOSE, Collided
from worldline.attacks.norms import BallName, NormName, named_norm
from worldline.attacks.pgd import FGSM, PGD
from worldline.attacks.record import Attacked, Iterate
from worldline.attacks.scale import Scale
from worldline.attacks.smallest import SmallestChange, smallest_change
from worldline.attacks.square import Square
from worldline.attacks.strong import strong_attack
from worldline.attacks.twins import Attack, adversarial_twin, noise_twin
from worldline.attacks.worst import WorstCase, WorstFound

__all__ = [
    "APGD",
    "CLOSE",
    "FGSM",
    "FMN",
    "OTHERWISE",
    "PGD",
    "Attack",
    "Attacked",
    "AutoAttack",
    "BallName",
    "Collided",
    "Descent",
    "Invariant",
    "Iterate",
    "MadeTwins",
    "NormName",
    "Scale",
    "Smallest",
    "SmallestChange",
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
    "smallest_change",
    "strong_attack",
    "told_elsewhere",
]
