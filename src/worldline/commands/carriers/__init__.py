"""``worldline carriers``: which parts of a model, and of a picture, carry the attack."""

__all__: list[str] = []
