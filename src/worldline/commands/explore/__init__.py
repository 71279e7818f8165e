"""``worldline explore``: attack a model and follow the twins through its layers."""

__all__: list[str] = []
