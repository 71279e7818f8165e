"""``worldline encode``: the paper's selecting encoder, beside its exact laws and its controls."""

__all__: list[str] = []
