"""What happens inside one model: twins by layer, merged strangers, and their controls."""

from worldline.explain.approximate import approximate_pairs, load_faiss
from worldline.explain.boosts import boost, excess_boost
from worldline.explain.carrying import (
    ORDERS,
    SHARES,
    Carriers,
    Concentration,
    Curve,
    Cut,
    Direction,
    LayerCarriers,
    LayerFinding,
    Order,
    TopUnit,
    Trust,
    UnitChoice,
    UnitKind,
    carriers,
    patch,
    patched,
)
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
    "ByKind",
    "Calibration",
    "Carriers",
    "ClassMap",
    "Complexity",
    "Concentration",
    "Counts",
    "Curve",
    "Cut",
    "Dimension",
    "Direction",
    "DistantPair",
    "DistantStory",
    "FEW",
    "FEWEST_TO_AIM",
    "Fragility",
    "LayerCarriers",
    "LayerComplexity",
    "LayerFinding",
    "LayerStory",
    "LimitUse",
    "LinearLayer",
    "Measure",
    "NOT_A_BOUND",
    "ORDERS",
    "Order",
    "Pairs",
    "Probe",
    "ProperDepths",
    "Rapidities",
    "SHARES",
    "STRANGERS",
    "SampleFragility",
    "SeenLayer",
    "Spectrum",
    "SpectrumSummary",
    "SwapLayer",
    "TopPairs",
    "TopUnit",
    "Trust",
    "TwinStory",
    "UnitChoice",
    "UnitKind",
    "UntrainedNull",
    "approximate_pairs",
    "boost",
    "calibrate",
    "carriers",
    "complexity",
    "count_pairs",
    "distant",
    "excess_boost",
    "fragility",
    "jacobian_spectrum",
    "load_faiss",
    "patch",
    "patched",
    "top_pairs",
    "twins",
    "untrained",
]
