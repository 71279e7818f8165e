"""Pure tensor mathematics: pairs, populations, spacetime, frames. Knows no model and no file."""

from worldline.geometry import population, spacetime
from worldline.geometry.frames import Frame, Moments, check_frame_name
from worldline.geometry.pair import (
    PairStatus,
    angle,
    correlation,
    entanglement,
    length_contraction,
    log_lorentz_factor,
    lorentz_factor,
    pair_status,
    proper_depth,
    rapidity,
    rapidity_of_displacement,
)

__all__ = [
    "Frame",
    "Moments",
    "PairStatus",
    "angle",
    "check_frame_name",
    "correlation",
    "entanglement",
    "length_contraction",
    "log_lorentz_factor",
    "lorentz_factor",
    "pair_status",
    "population",
    "proper_depth",
    "rapidity",
    "rapidity_of_displacement",
    "spacetime",
]
