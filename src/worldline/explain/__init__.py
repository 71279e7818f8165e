"""What happens inside one model: twins by layer, merged strangers, and their controls."""

from worldline.explain.approximate import approximate_pairs, load_faiss
from worldline.explain.boosts import boost, excess_boost
from worldline.explain.complexity_result import (
    ByKind,
    Complexity,
    LayerComplexity,
    LimitUse,
    SpectrumSummary,
)
from worldline.explain.complexity_story import STRANGERS, complexity
from worldline.explain.distant_story import distant
from worldline.explain.fragility_probe import (
    FEWEST_TO_AIM,
    NOT_A_BOUND,
    Calibration,
    Fragility,
    Probe,
    SampleFragility,
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
from worldline.explain.untrained_network import untrained

__all__ = [
    "FEW",
    "FEWEST_TO_AIM",
    "NOT_A_BOUND",
    "STRANGERS",
    "ByKind",
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
    "SampleFragility",
    "SeenLayer",
    "Spectrum",
    "SpectrumSummary",
    "SwapLayer",
    "TopPairs",
    "TwinStory",
    "UntrainedNull",
    "approximate_pairs",
    "boost",
    "calibrate",
    "complexity",
    "count_pairs",
    "distant",
    "excess_boost",
    "fragility",
    "jacobian_spectrum",
    "load_faiss",
    "top_pairs",
    "twins",
    "untrained",
]
