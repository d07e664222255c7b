"""Powers of 2 of float32 numbers in compiled loops: the whole part goes into the exponent bits.

A polynomial gives the power of the fractional part. LLVM vectorises a loop over this function, where it cannot
vectorise a call of the library's, which is exact to the last bit.
"""

from __future__ import annotations

import numpy as np

from .compiled import inlined_arithmetic

LOG2E = 1.4426950408889634
"""exp(x) is 2 to the power of LOG2E x."""

ROUNDING = np.float32(1.5 * 2**23)
"""Adding this to a float32 leaves the nearest integer in its low bits."""

A0, A1, A2 = np.float32(1.0000001192092896), np.float32(0.6931469440460205), np.float32(0.24022120237350464)
A3, A4, A5 = np.float32(0.05550713464617729), np.float32(0.009675540961325169), np.float32(0.0013276356039568782)
"""Polynomial of 2^r for |r| <= 1/2: least squares reweighted to the smallest relative error, 7.5e-8."""


@inlined_arithmetic
def exp2(x: np.float32) -> np.float32:
    """2^x of one float32 in [-126, 126], with a relative error below 3e-7; the caller clips larger numbers."""
    shifted = np.float32(x + ROUNDING)
    r = x - (shifted - ROUNDING)
    fraction = np.float32(((((A5 * r + A4) * r + A3) * r + A2) * r + A1) * r + A0)
    return np.int32(fraction.view(np.int32) + np.int32(shifted.view(np.int32) << np.int32(23))).view(np.float32)
