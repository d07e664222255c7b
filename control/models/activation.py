"""SiLU, x / (1 + exp(-x)), in place: on a CPU in two thirds of the time that torch takes, elsewhere by torch.

A rollout spends a quarter of its time in it. 2^y is the power of its whole part, by the exponent's bits, times a
polynomial of the rest, so that LLVM makes one loop over vectors of it; torch calls a function that is right to the last
bit. Here the relative error is below 5e-7 up to |x| = 8 and 5e-6 beyond.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import silu

from ...planning.jit import HAVE_NUMBA, fused

MINUS_LOG2E = np.float32(-1.4426950408889634)
LARGEST = np.float32(87)
"""exp of more would not be a normal float32."""

ROUNDING = np.float32(1.5 * 2**23)
"""Added to a float32 this leaves the nearest whole number in the low bits."""

A0, A1, A2 = np.float32(1.0000001192092896), np.float32(0.6931469440460205), np.float32(0.24022120237350464)
A3, A4, A5 = np.float32(0.05550713464617729), np.float32(0.009675540961325169), np.float32(0.0013276466634124517)
"""2^f for |f| <= 1/2: least squares reweighted to the smallest relative error, 7.5e-8."""


@fused
def _silu(x: Any) -> None:
    """float32 [N] in place. NaN and plus infinity stay what they are."""
    for i in range(x.size):
        near = min(max(x[i], -LARGEST), LARGEST)
        shifted = np.float32(near * MINUS_LOG2E + ROUNDING)
        f = near * MINUS_LOG2E - (shifted - ROUNDING)
        part = np.float32(((((A5 * f + A4) * f + A3) * f + A2) * f + A1) * f + A0)
        power = np.int32(part.view(np.int32) + np.int32(shifted.view(np.int32) << np.int32(23))).view(np.float32)
        x[i] = x[i] / (np.float32(1) + power)


def silu_of(places: Tensor) -> Callable[[], Any]:
    """What applies SiLU to `places` [..., U, N] in place whenever it is called; each [U, N] is contiguous."""
    if not HAVE_NUMBA or places.device.type != "cpu" or places.dtype != torch.float32:
        return lambda: silu(places, inplace=True)
    lines = [each.view(-1).numpy() for each in places.view(-1, *places.shape[-2:])]
    if len(lines) == 1:
        return lambda: _silu(lines[0])
    return lambda: [_silu(line) for line in lines]
