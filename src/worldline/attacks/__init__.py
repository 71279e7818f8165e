"""Small gradient attacks with their trajectories, adapters for foreign ones, and checks of an evaluation."""

from worldline.attacks.checks import Check, check_evaluation, predict
from worldline.attacks.norms import NormName, named_norm
from worldline.attacks.pgd import FGSM, PGD, Attacked, Iterate
from worldline.attacks.twins import Attack, adversarial_twin, noise_twin

__all__ = [
    "FGSM",
    "PGD",
    "Attack",
    "Attacked",
    "Check",
    "Iterate",
    "NormName",
    "adversarial_twin",
    "check_evaluation",
    "named_norm",
    "noise_twin",
    "predict",
]
