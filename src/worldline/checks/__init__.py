"""Can a model be traced and attacked, and is an evaluation one to believe?"""

from worldline.checks.check import Check
from worldline.checks.curve import Curve, CurvePoint, accuracy_curve
from worldline.checks.evaluation import check_evaluation
from worldline.checks.model import ModelReport, check_model
from worldline.checks.planted import Planted, SelfTest, plant_and_attack
from worldline.checks.standin import fit_standin

__all__ = [
    "Check",
    "Curve",
    "CurvePoint",
    "ModelReport",
    "Planted",
    "SelfTest",
    "accuracy_curve",
    "check_evaluation",
    "check_model",
    "fit_standin",
    "plant_and_attack",
]
