"""The paper's selecting encoder (arXiv:2309.15669), its exact laws and its controls."""

from worldline.encoder.encoder import Encoder
from worldline.encoder.fitted import FittedEncoder
from worldline.encoder.laws import OneStepMoments, one_step, one_step_moments, rapidity_walk
from worldline.encoder.path import Composed, Path, spacetime_path
from worldline.encoder.rates import (
    RapidityGain,
    lyapunov_spectrum,
    rapidity_gain,
    rapidity_rate,
    rapidity_rate_large_width,
    reading_second_moment,
)
from worldline.encoder.reading import ReadingLength, reading_length
from worldline.encoder.selection import Selection

__all__ = [
    "Composed",
    "Encoder",
    "FittedEncoder",
    "OneStepMoments",
    "Path",
    "RapidityGain",
    "ReadingLength",
    "Selection",
    "lyapunov_spectrum",
    "one_step",
    "one_step_moments",
    "rapidity_gain",
    "rapidity_rate",
    "rapidity_rate_large_width",
    "rapidity_walk",
    "reading_length",
    "reading_second_moment",
    "spacetime_path",
]
