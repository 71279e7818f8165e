"""Which models share blind spots: predicted from forward passes, and measured if asked."""

__all__: list[str] = []
