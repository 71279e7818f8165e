"""``worldline complexity``: what models do to pairs, layer by layer, before anyone attacks."""

__all__: list[str] = []
