"""Powers of 2 in compiled loops against numpy's in double precision."""

from __future__ import annotations

import numpy as np

from forethought.planning.exp2 import exp2


def test_powers_of_two_are_exact_to_float32():
    x = np.linspace(-126, 126, 20_001).astype(np.float32)
    found = np.array([exp2(each) for each in x], np.float64)
    np.testing.assert_allclose(found, 2.0 ** x.astype(np.float64), rtol=3e-7)
