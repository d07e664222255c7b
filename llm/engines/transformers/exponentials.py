"""exp(x - max x) of many numbers in a vectorised kernel, which attention and sampling use for their softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....planning.compiled import vectorised
from ....planning.exp2 import LOG2E, exp2

_LOG2E = np.float32(LOG2E)


@vectorised
def exponentials(x: Any) -> Any:
    """Replace finite x, float32 [N], by exp(x - max x) in place and return the sum. The least is e^-87."""
    top = np.float32(-np.inf)
    for j in range(x.shape[0]):
        top = max(top, x[j])
    for j in range(x.shape[0]):
        x[j] = exp2(max((x[j] - top) * _LOG2E, np.float32(-126)))
    mass = np.float32(0)
    for j in range(x.shape[0]):
        mass += x[j]
    return mass
