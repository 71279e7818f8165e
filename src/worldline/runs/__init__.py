"""Runs: configuration, store, resume, and the sentences that sum them up."""

from worldline.runs.config import ExploreConfig, parse_bounds
from worldline.runs.encode import EncodeConfig, encode
from worldline.runs.explore import explore
from worldline.runs.features import feature_store
from worldline.runs.findings import findings, norm_sign, twin_words
from worldline.runs.store import RunFolder, open_run

__all__ = [
    "EncodeConfig",
    "ExploreConfig",
    "RunFolder",
    "encode",
    "explore",
    "feature_store",
    "findings",
    "norm_sign",
    "open_run",
    "parse_bounds",
    "twin_words",
]
