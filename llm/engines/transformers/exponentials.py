"""exp(x - max x) of many numbers in a vectorised kernel, which attention and sampling use for their softmax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ....planning.jit import HAVE_NUMBA, forget_stale, vectorised

if HAVE_NUMBA:
    forget_stale(Path(__file__).parent)


@vectorised
def exponentials(x: Any, bits: Any) -> Any:
    """Replace finite x, float32 [N], by exp(x - max x) in place and return the sum. bits: the same memory as int32.

    The power of two goes into the exponent bits; the rest, at most 2^(1/2), is its Taylor series. The least is e^-87.
    """
    top = np.float32(-np.inf)
    for j in range(x.shape[0]):
        top = max(top, x[j])
    for j in range(x.shape[0]):
        log2 = max((x[j] - top) * np.float32(1.4426950408889634), np.float32(-126))
        whole = np.floor(log2 + np.float32(0.5))
        f = (log2 - whole) * np.float32(0.6931471805599453)
        series = np.float32(1 / 24) + f * (np.float32(1 / 120) + f * np.float32(1 / 720))
        series = np.float32(0.5) + f * (np.float32(1 / 6) + f * series)
        x[j] = np.float32(1) + f * (np.float32(1) + f * series)
        bits[j] += np.int32(whole) << 23
    mass = np.float32(0)
    for j in range(x.shape[0]):
        mass += x[j]
    return mass
