"""A model and inputs in, features by layer out: streaming, with the model left as it was."""

from worldline.trace.bypasses import passed_by
from worldline.trace.given import check_twins
from worldline.trace.guard import untouched
from worldline.trace.layers import Layer, LayerChoice, choose_layers, find_layers, pick_layers
from worldline.trace.memory import Plan, plan_memory
from worldline.trace.opening import Model, hidden_because, modules_behind
from worldline.trace.pairs import fit_frames, trace_pairs
from worldline.trace.probing import Unseen, unseen_layers
from worldline.trace.reference import Reference, check_whitening, trace_reference
from worldline.trace.sketch import Sketch
from worldline.trace.stream import Visitor, collect, tracing
from worldline.trace.tapping import one_layer, reading
from worldline.trace.twins import COMPARISONS, Comparison, TwinTrace, trace_twins
from worldline.trace.values import check_tokens, choices, logits_in

__all__ = [
    "COMPARISONS",
    "Comparison",
    "Layer",
    "LayerChoice",
    "Model",
    "Plan",
    "Reference",
    "Sketch",
    "TwinTrace",
    "Unseen",
    "Visitor",
    "check_tokens",
    "check_twins",
    "check_whitening",
    "choices",
    "choose_layers",
    "collect",
    "find_layers",
    "fit_frames",
    "hidden_because",
    "logits_in",
    "modules_behind",
    "one_layer",
    "passed_by",
    "pick_layers",
    "plan_memory",
    "reading",
    "trace_pairs",
    "trace_reference",
    "trace_twins",
    "tracing",
    "unseen_layers",
    "untouched",
]
