"""The published experiments, each with its law and its controls."""

from worldline.encoder.experiments.bell import Bell
from worldline.encoder.experiments.carrying import Image, Reconcile
from worldline.encoder.experiments.collapse import Collapse
from worldline.encoder.experiments.flip import Flip
from worldline.encoder.experiments.merging import Contraction, Dilation, Path3D, Spacetime
from worldline.encoder.experiments.pairs import Pairs

__all__ = ["Bell", "Collapse", "Contraction", "Dilation", "Flip", "Image", "Pairs", "Path3D", "Reconcile", "Spacetime"]
