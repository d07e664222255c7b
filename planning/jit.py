"""numba's `njit` where numba is installed, and the same functions as plain Python where it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

try:
    if os.environ.get("FORETHOUGHT_NO_NUMBA"):
        raise ImportError("switched off by FORETHOUGHT_NO_NUMBA")
    import numba

    HAVE_NUMBA = True
except ImportError:
    HAVE_NUMBA = False


def njit(function: Function) -> Function:
    """Compile to machine code on first call and keep the result beside the source; the GIL is released meanwhile."""
    if not HAVE_NUMBA:
        return function
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
