"""The encoder's Bell test: weights selected by one side, read by both, by sign only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldline.encoder.checking import check_count
from worldline.encoder.layer import draw_rows
from worldline.encoder.seeds import make_generator
from worldline.encoder.selection import Selection
from worldline.errors import UsageError
from worldline.geometry.bell import CLASSICAL_BOUND

__all__ = ["BellTest", "bell_test", "expected_bell_value"]


@dataclass(frozen=True)
class BellTest:
    """A simulated CHSH experiment.

    Attributes:
        value: mean S over the trials. Above 2 by post-selection alone; no non-locality.
        standard_error: of that mean, from the spread over trials.
        expected: S by the law, :func:`expected_bell_value`.
        correlations: (2, 2) mean product of signs; rows the fitted side's 0° and 90°, columns 45°
            and 135°.
    """

    value: float
    standard_error: float
    expected: float
    correlations: Tensor


def expected_bell_value(selection: Selection) -> float:
    """CHSH value of one encoder layer whose neurons were selected for one side's setting.

    S = 4 − 2(k+1)/(n+1), which is 4 − 2k/n for many neurons: the mean tail probability of the k
    best of n is (k+1)/(2(n+1)), and at 45° the correlation is one minus it.

    Args:
        selection: rule ``largest``, or ``none``, for which S = 2.

    Returns:
        S in [2, 4). 2: no selection (n = k), the classical bound. Above it: **post-selection** (the
        detection loophole), not non-locality.

    Raises:
        UsageError: rule ``most_negative``, whose fitted side reads one sign only.

    >>> from worldline.encoder import Selection, expected_bell_value
    >>> round(expected_bell_value(Selection(candidates=10_000, width=5858)), 3)  # 2√2
    2.828
    """
    if selection.rule == "most_negative":
        raise UsageError("A Bell value needs readings of both signs: use rule 'largest' or 'none'.")
    if selection.rule == "none":
        return CLASSICAL_BOUND
    return 4 - 2 * (selection.width + 1) / (selection.candidates + 1)


def bell_test(
    selection: Selection,
    *,
    trials: int = 1000,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> BellTest:
    """Measure the CHSH value of layers fitted at 0° or 90° and read by sign there, at 45° and 135°.

    S = E(0°,45°) − E(0°,135°) + E(90°,45°) + E(90°,135°), every E a mean over the k kept neurons.

    Args:
        selection: n, k and the rule, ``largest`` or ``none``.
        trials: independent layers for each of the two fitted settings, at least 2.
        seed, generator: of the layers; the generator instead of the seed.

    Returns:
        :class:`BellTest`. A value above 2 shows post-selection, not non-locality: the neurons that
        the other side reads with were chosen by looking at this side's setting.

    Raises:
        UsageError: fewer than 2 trials, or rule ``most_negative``.

    Cost: O(trials · k), whatever n is.

    >>> from worldline.encoder import Selection, bell_test
    >>> test = bell_test(Selection(candidates=1000, width=50))
    >>> abs(test.value - test.expected) < 3 * test.standard_error
    True
    """
    expected = expected_bell_value(selection)
    check_count("trials", trials)
    if trials < 2:
        raise UsageError("trials must be at least 2, for a standard error.")
    generator = generator or make_generator(seed)
    fitted = torch.eye(2, dtype=torch.float64, device=generator.device)  # 0° and 90°
    diagonal = 0.5**0.5
    read = fitted.new_tensor([[diagonal, diagonal], [-diagonal, diagonal]])  # 45° and 135°
    rows = []
    for setting in fitted:
        readings = selection.draw(trials, generator=generator)
        weights = draw_rows(setting.expand(trials, 2), readings, generator=generator)
        own = (weights @ setting).sign()  # (trials, k)
        other = (weights @ read.T).sign()  # (trials, k, 2)
        rows.append((own[..., None] * other).mean(-2))
    correlations = torch.stack(rows, dim=-2)  # (trials, 2, 2)
    pattern = fitted.new_tensor([[1, -1], [1, 1]])
    values = (correlations * pattern).sum((-1, -2))
    return BellTest(
        value=float(values.mean()),
        standard_error=float(values.std()) / trials**0.5,
        expected=expected,
        correlations=correlations.mean(0),
    )
