"""numba's `njit` where numba is installed, and the same functions as plain Python where it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

try:
    if os.environ.get("FORETHOUGHT_NO_NUMBA"):
        raise ImportError("switched off by FORETHOUGHT_NO_NUMBA")
    import numba

    HAVE_NUMBA = True
except ImportError:
    HAVE_NUMBA = False


def forget_stale(folder: Path) -> None:
    """Delete cached machine code older than any kernel's source: numba looks at the file of the outermost function
    alone, and would go on with an old `tree.write` inlined in a cached `simulation.land`."""
    sources = [p for p in folder.glob("*.py") if "@njit" in p.read_text(encoding="utf-8")]
    newest = max((p.stat().st_mtime for p in sources), default=0.0)
    for index in (folder / "__pycache__").glob("*.nbi"):
        try:
            if index.stat().st_mtime < newest:
                index.unlink()
        except OSError:  # gone meanwhile, or not ours to delete
            continue


if HAVE_NUMBA:
    forget_stale(Path(__file__).parent)


def njit(function: Function) -> Function:
    """Compile to machine code on first call and keep the result beside the source; the GIL is released meanwhile."""
    if not HAVE_NUMBA:
        return function
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
