"""What the encoder says when it is asked for the impossible, and what it offers."""

import re
from collections.abc import Callable

import pytest
import torch

import worldline.encoder
from worldline.encoder import (
    Encoder,
    Selection,
    bell_test,
    encode_together,
    expected_bell_value,
    one_step,
    rank_one,
    rapidity_walk,
    reconcile_bits,
    reconcile_grey,
    sign_kept_probability,
    spacetime_path,
)
from worldline.encoder.reconcile import carry_bits, carry_grey
from worldline.errors import BoundsError, LayerError, ShapeError, UsageError, WorldlineError
from worldline.geometry.bell import bell_value, chsh, sign_correlation

ENCODER = Encoder(width=2, candidates=4, depth=3)
X = torch.ones(3)
SELECTION = Selection(candidates=4, width=2)
GENERATOR = torch.Generator()

CASES: dict[str, tuple[Callable[[], object], type[WorldlineError], str]] = {
    "n < k": (
        lambda: Encoder(width=5, candidates=4, depth=1),
        UsageError,
        "Cannot keep 5 of 4 neurons: candidates must be at least width. Pass candidates=5 or more",
    ),
    "k < 1": (
        lambda: Encoder(width=0, candidates=4, depth=1),
        UsageError,
        "width (neurons kept) must be at least 1; got 0",
    ),
    "n < 1": (
        lambda: Selection(width=1, candidates=-3),
        UsageError,
        "candidates (neurons drawn) must be at least 1; got -3",
    ),
    "n float": (
        lambda: Selection(width=1, candidates=1e12),
        UsageError,
        "must be an integer, such as 10**12; got 1000000000000.0",
    ),  # type: ignore[arg-type]
    "k bool": (
        lambda: Selection(width=True, candidates=3),
        UsageError,
        "must be an integer, such as 10**12; got True",
    ),
    "n huge": (lambda: Selection(width=1, candidates=2**60), UsageError, "at most 2**53"),
    "rule": (
        lambda: Selection(width=1, candidates=2, rule="smallest"),
        UsageError,
        "rule must be one of largest, most_negative, none; got 'smallest'",
    ),  # type: ignore[arg-type]
    "depth 0": (
        lambda: Encoder(width=1, candidates=1, depth=0),
        UsageError,
        "depth (number of layers) must be at least 1; got 0",
    ),
    "sampler": (
        lambda: Encoder(width=1, candidates=1, depth=1, sampler="fast"),
        UsageError,
        "sampler must be one of exact, literal; got 'fast'",
    ),  # type: ignore[arg-type]
    "memory": (
        lambda: Encoder(width=1, candidates=1, depth=1, memory=0),
        UsageError,
        "memory (bytes) must be at least 1; got 0",
    ),
    "D = 0": (
        lambda: ENCODER.fit(torch.empty(0)),
        ShapeError,
        "with D ≥ 1; got (0,) torch.float32 on cpu",
    ),
    "P = 0": (lambda: ENCODER.fit(torch.empty(0, 4)), ShapeError, "got (0, 4) torch.float32"),
    "integers": (
        lambda: ENCODER.fit(torch.ones(3, dtype=torch.int64)),
        ShapeError,
        "got (3,) torch.int64 on cpu",
    ),
    "half": (lambda: ENCODER.fit(X.half()), ShapeError, "must be a float32 or float64 tensor (D,)"),
    "three axes": (
        lambda: ENCODER.fit(torch.ones(2, 3, 4)),
        ShapeError,
        "got (2, 3, 4) torch.float32 on cpu",
    ),
    "list": (lambda: ENCODER.fit([1.0, 2.0]), ShapeError, "got list"),  # type: ignore[arg-type]
    "zero x": (
        lambda: ENCODER.fit(torch.zeros(3)),
        BoundsError,
        "It is a zero feature: it has no direction to fit an encoder to",
    ),
    "zero row": (
        lambda: ENCODER.fit(torch.stack((X, 0 * X))),
        BoundsError,
        "Row 1 is a zero feature",
    ),
    "NaN": (
        lambda: ENCODER.fit(X / 0 * 0),
        BoundsError,
        "3 of 3 values of the fitted feature are NaN or infinite",
    ),
    "infinite": (lambda: ENCODER.fit(X / 0), BoundsError, "3 of 3 values"),
    "literal too large": (
        lambda: Encoder(width=2, candidates=10**9, depth=1, sampler="literal").fit(X),
        UsageError,
        "needs 12,000,000,000 bytes; memory allows 1,073,741,824. Use sampler='exact'",
    ),
    "width of features": (
        lambda: ENCODER.fit(X).transform(torch.ones(5, 4)),
        ShapeError,
        "Features must be (N, 3) torch.float32 on cpu, as the fitted feature; got (5, 4) "
        "torch.float32",
    ),
    "dtype of features": (
        lambda: ENCODER.fit(X).transform(torch.ones(5, 3).double()),
        ShapeError,
        "got (5, 3) torch.float64",
    ),
    "one feature": (lambda: ENCODER.fit(X).transform(X), ShapeError, "Features must be (N, 3)"),
    "number of encoders": (
        lambda: ENCODER.fit(torch.ones(2, 3)).transform(torch.ones(7, 5, 3)),
        ShapeError,
        "Features must be (2, N, 3) or (N, 3)",
    ),
    "NaN features": (
        lambda: ENCODER.fit(X).transform(X[None] / 0),
        BoundsError,
        "3 of 3 values of features are NaN",
    ),
    "layer": (
        lambda: ENCODER.fit(X).transform(X[None], layers=[4]),
        LayerError,
        "numbers from 0 (the input) to 3, at least one; got [4]",
    ),
    "no layer": (
        lambda: ENCODER.fit(X).transform(X[None], layers=[]),
        LayerError,
        "at least one; got []",
    ),
    "layer not held": (
        lambda: ENCODER.fit(X).transform(X[None], layers=[1, 3]).features(2),
        LayerError,
        "Layer 2 is not in this path; layers held: 1, 3.",
    ),
    "speed": (
        lambda: spacetime_path(ENCODER.fit(X).path, speed=0.0),
        UsageError,
        "speed must be positive and finite; got 0.0",
    ),
    "together shape": (
        lambda: encode_together(ENCODER, torch.ones(2, 3)),
        ShapeError,
        "tensor (P, M, D), the fitted feature first",
    ),
    "together zero": (
        lambda: encode_together(ENCODER, torch.zeros(2, 2, 3)),
        BoundsError,
        "Row 0 has a zero feature first",
    ),
    "together NaN": (
        lambda: encode_together(ENCODER, torch.ones(1, 2, 3) / 0),
        BoundsError,
        "6 of 6 values of features",
    ),
    "together literal": (
        lambda: encode_together(
            Encoder(width=2, candidates=4, depth=3, sampler="literal"), torch.ones(1, 2, 3)
        ),
        UsageError,
        "encode_together has no literal sampler",
    ),
    "rapidity shape": (
        lambda: one_step(torch.ones(2, 2), SELECTION, generator=GENERATOR),
        ShapeError,
        "shape (N,), in nats; got (2, 2)",
    ),
    "rapidity NaN": (
        lambda: one_step(torch.tensor([1.0, float("nan")]), SELECTION, generator=GENERATOR),
        BoundsError,
        "rapidity is NaN for 1 of 2 pairs. A pair with a zero vector has no rapidity",
    ),
    "walk depth": (
        lambda: rapidity_walk(torch.ones(2), SELECTION, 0, generator=GENERATOR),
        UsageError,
        "depth (number of layers) must be at least 1",
    ),
    "samples": (
        lambda: sign_kept_probability(torch.ones(2), SELECTION, 2, samples=1),
        UsageError,
        "samples must be at least 2, for a standard error; got 1",
    ),
    "rank of nothing": (
        lambda: rank_one(torch.empty(0, 3)),
        ShapeError,
        "must be (…, k, D), not empty; got (0, 3)",
    ),
    "bell rule": (
        lambda: expected_bell_value(Selection(candidates=4, width=2, rule="most_negative")),
        UsageError,
        "needs readings of both signs: use rule 'largest' or 'none'",
    ),
    "bell trials": (
        lambda: bell_test(SELECTION, trials=1),
        UsageError,
        "trials must be at least 2, for a standard error",
    ),
    "bell share": (
        lambda: bell_value(0.0),
        UsageError,
        "share must be in (0, 1], the kept part of the readings; got 0.0",
    ),
    "bell share NaN": (lambda: bell_value(float("nan")), UsageError, "got nan"),
    "angles": (
        lambda: sign_correlation(torch.tensor([90.0]), 0.5),
        BoundsError,
        "radians in [0, π]; convert degrees with torch.deg2rad",
    ),
    "angle shape": (
        lambda: sign_correlation(torch.ones(2, 2), 0.5),
        ShapeError,
        "angle must be a floating tensor (N,); got (2, 2)",
    ),
    "chsh": (
        lambda: chsh(torch.ones(3)),
        ShapeError,
        "CHSH takes correlations (…, 2, 2); got (3,)",
    ),
    "message": (
        lambda: carry_grey(torch.ones(3), torch.ones(4), strength=1.0),
        ShapeError,
        "one shape (k,), k the encoder's width; got (3,) and (4,)",
    ),
    "strength": (
        lambda: carry_grey(torch.ones(3), torch.ones(3), strength=0.0),
        UsageError,
        "strength must be positive; got 0.0",
    ),
    "bits": (
        lambda: carry_bits(torch.ones(3), torch.ones(3)),
        ShapeError,
        "A binary message must be boolean; got torch.float32. Threshold it",
    ),
    "two widths": (
        lambda: reconcile_grey(ENCODER, X, torch.ones(4), torch.ones(2)),
        ShapeError,
        "one width and dtype; got (3,) torch.float32 and (4,)",
    ),
    "long message": (
        lambda: reconcile_bits(ENCODER, X, X, torch.ones(5, dtype=torch.bool)),
        ShapeError,
        "got (5,) and (2,)",
    ),
}


@pytest.mark.message
@pytest.mark.parametrize("name", CASES)
def test_message(name: str) -> None:
    call, kind, words = CASES[name]
    with pytest.raises(kind, match=re.escape(words)):
        call()


@pytest.mark.law
def test_the_public_names_are_sorted_and_there() -> None:
    names = worldline.encoder.__all__
    assert names == sorted(names)
    assert all(getattr(worldline.encoder, name).__doc__ or name == "Rule" for name in names)
