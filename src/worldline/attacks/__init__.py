"""Small gradient attacks with their trajectories, collisions at a layer, adapters for foreign attacks, and checks of an evaluation."""

from worldline.attacks.checks import Check, check_evaluation, predict
from worldline.attacks.collide import entangle, separate
from worldline.attacks.invariance import Invariant, invariance
from worldline.attacks.matching import CLOSE, Collided
from worldline.attacks.norms import NormName, named_norm
from worldline.attacks.pgd import FGSM, PGD, Attacked, Iterate
from worldline.attacks.scale import Scale
from worldline.attacks.twins import Attack, adversarial_twin, noise_twin

__all__ = [
    "CLOSE",
    "FGSM",
    "PGD",
    "Attack",
    "Attacked",
    "Check",
    "Collided",
    "Invariant",
    "Iterate",
    "NormName",
    "Scale",
    "adversarial_twin",
    "check_evaluation",
    "entangle",
    "invariance",
    "named_norm",
    "noise_twin",
    "predict",
    "separate",
]
