"""Models, weights, data, embeddings and pictures from outside, named on a command line."""

from worldline.loading.data import load_data
from worldline.loading.embeddings import load_embeddings
from worldline.loading.held import hold_data, hold_embeddings, hold_picture
from worldline.loading.imports import import_object
from worldline.loading.models import check_model_name, load_model
from worldline.loading.picture import load_picture

__all__ = [
    "check_model_name",
    "hold_data",
    "hold_embeddings",
    "hold_picture",
    "import_object",
    "load_data",
    "load_embeddings",
    "load_model",
    "load_picture",
]
