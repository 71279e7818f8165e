"""``worldline distant``: far-apart inputs that a model brings together, or makes opposites."""

__all__: list[str] = []
