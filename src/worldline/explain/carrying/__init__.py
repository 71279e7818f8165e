"""Carriers: what in the network, and in the picture, carries the attack."""

from worldline.explain.carrying.class_pairs import ClassPair, ClassPairs, pair_carriers
from worldline.explain.carrying.patching import UnitChoice, patch, patched
from worldline.explain.carrying.repairing import SHARES
from worldline.explain.carrying.result import (
    ORDERS,
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
)
from worldline.explain.carrying.story import carriers
from worldline.explain.carrying.units import UnitKind

__all__ = [
    "ORDERS",
    "SHARES",
    "Carriers",
    "ClassPair",
    "ClassPairs",
    "Concentration",
    "Curve",
    "Cut",
    "Direction",
    "LayerCarriers",
    "LayerFinding",
    "Order",
    "TopUnit",
    "Trust",
    "UnitChoice",
    "UnitKind",
    "carriers",
    "pair_carriers",
    "patch",
    "patched",
]
