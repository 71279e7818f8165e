"""``worldline doctor``: can this model be traced, and is its evaluation one to believe?"""

__all__: list[str] = []
