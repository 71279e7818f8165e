"""Random deep networks, the null model of a trained one: maps, exponents, predictions."""

from worldline.nullmodel.activations import Activation
from worldline.nullmodel.gaussian import lyapunov_exponents
from worldline.nullmodel.maps import (
    MeanField,
    correlation_map,
    mean_field,
    variance_fixed_point,
    variance_map,
)
from worldline.nullmodel.prediction import Prediction, predict

__all__ = [
    "Activation",
    "MeanField",
    "Prediction",
    "correlation_map",
    "lyapunov_exponents",
    "mean_field",
    "predict",
    "variance_fixed_point",
    "variance_map",
]
