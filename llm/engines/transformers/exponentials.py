"""exp(x - max x) of many numbers in a kernel, eight or sixteen at a time.

Attention and draws call it; it knows neither keys nor logits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ....planning.jit import HAVE_NUMBA, forget_stale, vectorised

if HAVE_NUMBA:
    forget_stale(Path(__file__).parent)


@vectorised
def exponentials(x: Any, bits: Any) -> Any:
    """Finite x, float32 [N], becomes exp(x - max x) in place; gives the sum. bits: the same memory as int32.

    2^n by the exponent's bits, the rest of the power, at most 2^(1/2), by its Taylor series; e^-87 is the least.
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
