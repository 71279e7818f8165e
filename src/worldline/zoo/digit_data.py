"""The embedded data: scikit-learn's handwritten digits, with one fixed split."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from worldline.inputs import Data

__all__ = ["digits"]

TRAIN = 1197


@lru_cache(maxsize=1)
def digits() -> Data:
    """1,797 grey images 8×8 of handwritten digits, scaled to [0, 1].

    They are of UCI (E. Alpaydin and C. Kaynak 1998), as scikit-learn has them.

    The split is fixed: a permutation by NumPy's PCG64 with seed 0; its first 1,197 images are the
    training set and the reference for frames and class means, the other 600 are the test set that
    attacks see.

    >>> import worldline as wl
    >>> data = wl.zoo.digits()
    >>> tuple(data.x.shape), tuple(data.reference_x.shape), data.bounds
    ((600, 1, 8, 8), (1197, 1, 8, 8), (0.0, 1.0))
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415  (a second of import time that few commands need)

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x = torch.from_numpy(bunch.images[order] / 16).float()[:, None]
    y = torch.from_numpy(bunch.target[order]).long()
    return Data(
        name="digits",
        x=x[TRAIN:],
        y=y[TRAIN:],
        rows=torch.arange(len(x) - TRAIN),
        reference_x=x[:TRAIN],
        reference_y=y[:TRAIN],
        bounds=(0.0, 1.0),
        split="600 test images are attacked; the 1,197 training images are the reference",
        class_names=tuple(str(digit) for digit in range(10)),
    )
