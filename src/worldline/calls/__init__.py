"""The commands as functions of what people hold: a model, inputs and labels in, a result out."""

from worldline.calls.commands import compare_models, complexity, distant, doctor, encode, explore

__all__ = ["compare_models", "complexity", "distant", "doctor", "encode", "explore"]
