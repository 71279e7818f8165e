"""The published experiments, each with its law and its controls."""

from worldline.encoder.experiments.base import Experiment, Needs
from worldline.encoder.experiments.bell import Bell
from worldline.encoder.experiments.carrying import LARGEST_SIDE
from worldline.encoder.experiments.clusters import Clusters
from worldline.encoder.experiments.collapse import Collapse
from worldline.encoder.experiments.descent import Descent
from worldline.encoder.experiments.flip import Flip
from worldline.encoder.experiments.labels import Labels
from worldline.encoder.experiments.likelihood import Likelihood
from worldline.encoder.experiments.merging import Contraction, Dilation, Path3D
from worldline.encoder.experiments.messages import Image, Reconcile
from worldline.encoder.experiments.normalised import Normalised
from worldline.encoder.experiments.onestep import OneStep
from worldline.encoder.experiments.pairs import Pairs
from worldline.encoder.experiments.readouts import Leading, Squash
from worldline.encoder.experiments.receivers import Digit, Pictures, Uniform
from worldline.encoder.experiments.record import Control, Controls, Finding, Measurement, Outcome
from worldline.encoder.experiments.sides import Hamming, Margin
from worldline.encoder.experiments.spacetime import Spacetime

_IN_ORDER = (
    Dilation,
    Contraction,
    Path3D,
    Hamming,
    Margin,
    Spacetime,
    Normalised,
    Collapse,
    Squash,
    Leading,
    Descent,
    Clusters,
    Flip,
    Labels,
    OneStep,
    Image,
    Pictures,
    Uniform,
    Digit,
    Reconcile,
    Pairs,
    Bell,
    Likelihood,
)
EXPERIMENTS: dict[str, type[Experiment]] = {it.name: it for it in _IN_ORDER}
"""All of them by name, in the order in which a reader of the paper meets them."""

__all__ = [
    "EXPERIMENTS",
    "LARGEST_SIDE",
    "Bell",
    "Clusters",
    "Collapse",
    "Contraction",
    "Control",
    "Controls",
    "Descent",
    "Digit",
    "Dilation",
    "Experiment",
    "Finding",
    "Flip",
    "Hamming",
    "Image",
    "Labels",
    "Leading",
    "Likelihood",
    "Margin",
    "Measurement",
    "Needs",
    "Normalised",
    "OneStep",
    "Outcome",
    "Pairs",
    "Path3D",
    "Pictures",
    "Reconcile",
    "Spacetime",
    "Squash",
    "Uniform",
]
