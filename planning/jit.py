"""numba's `njit` where numba is installed, and the same functions as plain Python where it is not.

Numbers can also reach a kernel by address: an integer crosses from Python in 20 ns, an array in 80, and a tensor must
first be made an array in 700.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

try:
    if os.environ.get("FORETHOUGHT_NO_NUMBA"):
        raise ImportError("switched off by FORETHOUGHT_NO_NUMBA")
    import numba
    import numba.extending
    from numba.core.options import DefaultOptions

    HAVE_NUMBA = True
    INLINE = {"forceinline": True} if hasattr(DefaultOptions, "forceinline") else {}  # older numba has it not
except ImportError:
    HAVE_NUMBA, INLINE = False, {}


def forget_stale(folder: Path) -> None:
    """Delete cached machine code older than any kernel's source: numba looks at the file of the outermost function
    alone, and would go on with an old `tree.write` inlined in a cached `simulation.land`."""
    sources = [p for p in folder.glob("*.py") if "jit import" in p.read_text(encoding="utf-8")]
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
    return _compiled(function)


def inlined(function: Function) -> Function:
    """`njit` for what runs at every step of a walk: put into its callers, since handing a few arrays from one compiled
    function to another takes as long as choosing an edge."""
    return _compiled(function, **INLINE)


def fused(function: Function) -> Function:
    """`njit` for arithmetic over arrays: a product and a sum may become one instruction, which is rounded once."""
    return _compiled(function, fastmath={"contract"})


def vectorised(function: Function) -> Function:
    """`njit` for finite numbers whose sums may be taken in any order, without which LLVM makes no vectors of them."""
    return _compiled(function, fastmath=True)


def _compiled(function: Function, **options: Any) -> Function:
    if not HAVE_NUMBA:
        return function
    return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)


def array_at(address: int, shape: tuple[int, ...], kind: Any) -> Any:
    """The array of `kind` and `shape` that begins at `address`, whose memory the caller keeps alive."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(int(address)) if size else b"", kind).reshape(shape)


def _pointer(typing: Any, address: Any) -> Any:
    """The pointer that an integer stands for, in numba's terms."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return numba.types.voidptr(numba.types.int64), generate


def _array_at(address: Any, shape: Any, kind: Any) -> Any:
    """`array_at` in kernels."""

    def compiled(address: Any, shape: Any, kind: Any) -> Any:
        return numba.carray(pointer(address), shape, kind)

    return compiled


if HAVE_NUMBA:
    pointer = numba.extending.intrinsic(_pointer)
    numba.extending.overload(array_at)(_array_at)
