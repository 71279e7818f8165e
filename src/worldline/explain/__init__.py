"""What happens inside one model: twins by layer, against their controls."""

from worldline.explain.statistics import Summary
from worldline.explain.twins import FEW, LayerStory, Share, SwapLayer, TwinStory, twins
from worldline.explain.untrained import untrained

__all__ = ["FEW", "LayerStory", "Share", "Summary", "SwapLayer", "TwinStory", "twins", "untrained"]
