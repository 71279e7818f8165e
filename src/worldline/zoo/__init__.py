"""The embedded default: digits, and small models trained on them in seconds."""

from worldline.zoo.digits import digits
from worldline.zoo.training import MODELS, cache_folder, load, names

__all__ = ["MODELS", "cache_folder", "digits", "load", "names"]
