"""The paper's selecting encoder (arXiv:2309.15669), its exact laws and its controls."""

from worldline.encoder import experiments
from worldline.encoder.chsh import bell_test, expected_bell_value
from worldline.encoder.controls import rank_one, sign_kept_large_width, sign_kept_probability
from worldline.encoder.fitted import FittedEncoder
from worldline.encoder.joint import encode_together
from worldline.encoder.laws import one_step, one_step_moments, rapidity_walk
from worldline.encoder.machine import Encoder
from worldline.encoder.path import Composed, Path, spacetime_path
from worldline.encoder.rates import (
    lyapunov_spectrum,
    rapidity_gain,
    rapidity_rate,
    rapidity_rate_large_width,
    reading_second_moment,
)
from worldline.encoder.reading import reading_length
from worldline.encoder.reconcile import Reconciliation, reconcile_bits, reconcile_grey
from worldline.encoder.selection import Rule, Selection

__all__ = [
    "Composed",
    "Encoder",
    "FittedEncoder",
    "Path",
    "Reconciliation",
    "Rule",
    "Selection",
    "bell_test",
    "encode_together",
    "expected_bell_value",
    "experiments",
    "lyapunov_spectrum",
    "one_step",
    "one_step_moments",
    "rank_one",
    "rapidity_gain",
    "rapidity_rate",
    "rapidity_rate_large_width",
    "rapidity_walk",
    "reading_length",
    "reading_second_moment",
    "reconcile_bits",
    "reconcile_grey",
    "sign_kept_large_width",
    "sign_kept_probability",
    "spacetime_path",
]
