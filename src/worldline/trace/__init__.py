"""A model and inputs in, features by layer out: streaming, with the model left as it was."""

from worldline.trace.guard import Model, untouched
from worldline.trace.layers import Layer, choose_layers, find_layers
from worldline.trace.pairs import fit_frames, trace_pairs
from worldline.trace.reading import one_layer, reading
from worldline.trace.stream import Visitor, collect, tracing
from worldline.trace.twins import COMPARISONS, Reference, TwinTrace, trace_reference, trace_twins

__all__ = [
    "COMPARISONS",
    "Layer",
    "Model",
    "Reference",
    "TwinTrace",
    "Visitor",
    "choose_layers",
    "collect",
    "find_layers",
    "fit_frames",
    "one_layer",
    "reading",
    "trace_pairs",
    "trace_reference",
    "trace_twins",
    "tracing",
    "untouched",
]
