"""The published experiments, each with its law and its controls."""

from worldline.encoder.experiments.base import Experiment
from worldline.encoder.experiments.bell import Bell
from worldline.encoder.experiments.carrying import LARGEST_SIDE, Image, Reconcile
from worldline.encoder.experiments.collapse import Collapse
from worldline.encoder.experiments.descent import Descent
from worldline.encoder.experiments.flip import Flip
from worldline.encoder.experiments.merging import Contraction, Dilation, Path3D
from worldline.encoder.experiments.pairs import Pairs
from worldline.encoder.experiments.record import Control, Controls, Finding, Measurement, Outcome
from worldline.encoder.experiments.spacetime import Normalised, Spacetime

_IN_ORDER = Dilation, Contraction, Path3D, Spacetime, Normalised, Collapse, Descent, Flip, Image, Reconcile, Pairs, Bell
EXPERIMENTS: dict[str, type[Experiment]] = {it.name: it for it in _IN_ORDER}
"""All of them by name, in the order in which a reader of the paper meets them."""

__all__ = [
    "EXPERIMENTS",
    "LARGEST_SIDE",
    "Bell",
    "Collapse",
    "Contraction",
    "Control",
    "Controls",
    "Descent",
    "Dilation",
    "Experiment",
    "Finding",
    "Flip",
    "Image",
    "Measurement",
    "Normalised",
    "Outcome",
    "Pairs",
    "Path3D",
    "Reconcile",
    "Spacetime",
]
