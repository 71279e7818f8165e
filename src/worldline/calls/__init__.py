"""The commands as functions of what people hold: a model, inputs and labels in, a result out."""

from worldline.calls.commands import (
    carriers,
    compare_models,
    complexity,
    distant,
    doctor,
    encode,
    explore,
)

__all__ = ["carriers", "compare_models", "complexity", "distant", "doctor", "encode", "explore"]
