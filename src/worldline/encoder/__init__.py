"""The paper's selecting encoder (arXiv:2309.15669), its exact laws and its controls."""

from worldline.encoder import experiments
from worldline.encoder.chsh import bell_test, expected_bell_value
from worldline.encoder.controls import rank_one, sign_kept_large_width, sign_kept_probability
from worldline.encoder.crossing import Crossing, crossing_layer
from worldline.encoder.descent import Descent, descend, descent_law
from worldline.encoder.fitted import FittedEncoder
from worldline.encoder.joint import encode_together
from worldline.encoder.laws import (
    PairWalk,
    last_readings,
    one_step,
    one_step_moments,
    pair_walk,
    rapidity_walk,
)
from worldline.encoder.likelihood import (
    choice_rate,
    likelihood_rate,
    likelihood_spread,
    share_entropy,
)
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
    "Crossing",
    "Descent",
    "Encoder",
    "FittedEncoder",
    "PairWalk",
    "Path",
    "Reconciliation",
    "Rule",
    "Selection",
    "bell_test",
    "choice_rate",
    "crossing_layer",
    "descend",
    "descent_law",
    "encode_together",
    "expected_bell_value",
    "experiments",
    "last_readings",
    "likelihood_rate",
    "likelihood_spread",
    "lyapunov_spectrum",
    "one_step",
    "one_step_moments",
    "pair_walk",
    "rank_one",
    "rapidity_gain",
    "rapidity_rate",
    "rapidity_rate_large_width",
    "rapidity_walk",
    "reading_length",
    "reading_second_moment",
    "reconcile_bits",
    "reconcile_grey",
    "share_entropy",
    "sign_kept_large_width",
    "sign_kept_probability",
    "spacetime_path",
]
