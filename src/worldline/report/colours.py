"""The colours of every figure: told apart by colour-blind readers too, and dark enough on white."""

__all__ = ["BLUE", "GREEN", "GREY", "PURPLE", "VERMILLION"]

VERMILLION, BLUE, GREEN, PURPLE, GREY = "#c8500a", "#0072b2", "#00795a", "#a3487f", "#666666"
