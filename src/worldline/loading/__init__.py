"""Models, weights and data from outside, named on a command line."""

from worldline.loading.data import load_data
from worldline.loading.imports import import_object
from worldline.loading.models import load_model

__all__ = ["import_object", "load_data", "load_model"]
