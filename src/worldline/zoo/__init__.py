"""The embedded default: digits, a picture, and small models trained in seconds."""

from worldline.zoo.digit_data import digits
from worldline.zoo.partners import PartnerEmbeddings, embeddings
from worldline.zoo.photograph import picture
from worldline.zoo.training import MODELS, cache_folder, load, names

__all__ = [
    "MODELS",
    "PartnerEmbeddings",
    "cache_folder",
    "digits",
    "embeddings",
    "load",
    "names",
    "picture",
]
