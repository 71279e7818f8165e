"""Runs: configuration, store, resume, and the sentences that sum them up."""

from worldline.runs.compare import compare
from worldline.runs.compare_findings import comparison_findings
from worldline.runs.complexity import complexity
from worldline.runs.complexity_findings import complexity_findings, complexity_sentences
from worldline.runs.config import (
    CompareConfig,
    ComplexityConfig,
    DistantConfig,
    DoctorConfig,
    ExploreConfig,
    parse_bounds,
)
from worldline.runs.distant import distant
from worldline.runs.distant_findings import distant_findings, pair_words
from worldline.runs.doctor import doctor
from worldline.runs.doctor_document import doctor_findings
from worldline.runs.encode import EncodeConfig, encode
from worldline.runs.explore import explore
from worldline.runs.explore_document import layer_documents
from worldline.runs.explore_findings import findings, norm_sign, twin_words
from worldline.runs.features import feature_store
from worldline.runs.store import RunFolder, open_run

__all__ = [
    "CompareConfig",
    "ComplexityConfig",
    "DistantConfig",
    "DoctorConfig",
    "EncodeConfig",
    "ExploreConfig",
    "RunFolder",
    "compare",
    "comparison_findings",
    "complexity",
    "complexity_findings",
    "complexity_sentences",
    "distant",
    "distant_findings",
    "doctor",
    "doctor_findings",
    "encode",
    "explore",
    "feature_store",
    "findings",
    "layer_documents",
    "norm_sign",
    "open_run",
    "pair_words",
    "parse_bounds",
    "twin_words",
]
