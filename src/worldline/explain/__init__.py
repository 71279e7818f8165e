"""What happens inside one model: twins and strangers by layer, against their controls."""

from worldline.explain.approximate import approximate_pairs, load_faiss
from worldline.explain.complexity import (
    STRANGERS,
    Complexity,
    LayerComplexity,
    LimitUse,
    SpectrumSummary,
    complexity,
)
from worldline.explain.distant_story import distant
from worldline.explain.fragility import (
    NOT_A_BOUND,
    Calibration,
    Fragility,
    Probe,
    calibrate,
    fragility,
)
from worldline.explain.measures import Dimension, LinearLayer, Measure, Spectrum, jacobian_spectrum
from worldline.explain.search import TopPairs, count_pairs, top_pairs
from worldline.explain.sides import SwapLayer
from worldline.explain.sieve import Pairs
from worldline.explain.strangers import (
    ClassMap,
    Counts,
    DistantPair,
    DistantStory,
    SeenLayer,
    UntrainedNull,
)
from worldline.explain.twin_story import FEW, LayerStory, ProperDepths, Rapidities, TwinStory, twins
from worldline.explain.untrained import untrained

__all__ = [
    "FEW",
    "NOT_A_BOUND",
    "STRANGERS",
    "Calibration",
    "ClassMap",
    "Complexity",
    "Counts",
    "Dimension",
    "DistantPair",
    "DistantStory",
    "Fragility",
    "LayerComplexity",
    "LayerStory",
    "LimitUse",
    "LinearLayer",
    "Measure",
    "Pairs",
    "Probe",
    "ProperDepths",
    "Rapidities",
    "SeenLayer",
    "Spectrum",
    "SpectrumSummary",
    "SwapLayer",
    "TopPairs",
    "TwinStory",
    "UntrainedNull",
    "approximate_pairs",
    "calibrate",
    "complexity",
    "count_pairs",
    "distant",
    "fragility",
    "jacobian_spectrum",
    "load_faiss",
    "top_pairs",
    "twins",
    "untrained",
]
