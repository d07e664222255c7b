"""numba's `njit` where numba is installed, and the same functions as plain Python where it is not.

A kernel can also take the address of an array: to pass an integer from Python takes 20 ns, an array 80 ns, an array of
records about 350 ns, and a tensor must first be made an array, which takes 700 ns.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])
IMPORTS_KERNELS = "compiled import"
"""What every source file that defines kernels contains, in its import of this module."""

try:
    if os.environ.get("FORETHOUGHT_NO_NUMBA"):
        raise ImportError("switched off by FORETHOUGHT_NO_NUMBA")
    import numba
    import numba.extending
    from numba.core.options import DefaultOptions

    HAVE_NUMBA = True
    INLINE = {"forceinline": True} if hasattr(DefaultOptions, "forceinline") else {}  # older versions lack it
except ImportError:
    HAVE_NUMBA, INLINE = False, {}


def forget_stale(*folders: Path) -> None:
    """Delete cached machine code in `folders` and below that is older than the newest source of any kernel there.

    numba compares a cache with the file of the outermost function only, so that a changed kernel which is inlined into
    a function of another file would otherwise go on in its old form.
    """
    files = [path for folder in folders for path in folder.rglob("*.py")]
    sources = [path for path in files if IMPORTS_KERNELS in path.read_text(encoding="utf-8")]
    newest = max((path.stat().st_mtime for path in sources), default=0.0)
    for index in (path for folder in folders for path in folder.rglob("__pycache__/*.nbi")):
        try:
            if index.stat().st_mtime < newest:
                index.unlink()
        except OSError:  # another process has deleted the file, or this one may not
            continue


if HAVE_NUMBA:
    forget_stale(*(path for path in Path(__file__).parents[1].iterdir() if path.is_dir()))


def njit(function: Function) -> Function:
    """Compile to machine code at the first call and cache it beside the source; the code runs without the GIL."""
    return _compiled(function)


def inlined(function: Function) -> Function:
    """`njit` for what runs at every step of a simulation, inlined into its callers, because to pass a few arrays from
    one compiled function to another takes as long as to select an edge."""
    return _compiled(function, **INLINE)


def fused(function: Function) -> Function:
    """`njit` for arithmetic on arrays: a product and a sum may become one instruction, which rounds once."""
    return _compiled(function, fastmath={"contract"})


def inlined_arithmetic(function: Function) -> Function:
    """`fused` for one number, inlined into the loops of its callers so that LLVM vectorises them."""
    return _compiled(function, fastmath={"contract"}, **INLINE)


def vectorised(function: Function) -> Function:
    """`njit` for finite numbers that may be summed in any order, without which LLVM does not vectorise the sum."""
    return _compiled(function, fastmath=True)


def _compiled(function: Function, **options: Any) -> Function:
    if not HAVE_NUMBA:
        return function
    return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)


class Record(np.void):
    """A record of a structured array whose fields are attributes, as in kernels; a faster `np.record`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except (KeyError, ValueError):
            raise AttributeError(f"the record has no field {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def record_type(fields: list[tuple[Any, ...]]) -> Any:
    """The dtype of records with these (name, format) or (name, format, length), packed without gaps.

    Errors: ValueError for a name that numpy gives another meaning as an attribute.
    """
    if taken := [field[0] for field in fields if hasattr(Record, field[0])]:
        raise ValueError(f"a record cannot have a field {taken[0]!r}, an attribute of numpy.void")
    return np.dtype((Record, fields))


def array_at(address: int, shape: tuple[int, ...], kind: Any) -> Any:
    """The array of dtype `kind` and of `shape` that begins at `address`; the caller keeps its memory alive."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(int(address)) if size else b"", kind).reshape(shape)


def uncounted(array: Any, kind: Any) -> Any:
    """A contiguous array of dtype `kind` without reference counting in kernels, where each count takes about 5 ns.

    The caller keeps the original alive.
    """
    return array


def _uncounted(array: Any, kind: Any) -> Any:
    """The implementation of `uncounted` in kernels."""

    def compiled(array: Any, kind: Any) -> Any:
        return array_at(array.ctypes.data, array.shape, kind)

    return compiled


def _pointer(typing: Any, address: Any) -> Any:
    """numba's typing and code of the conversion of an integer to a pointer."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return numba.types.voidptr(numba.types.int64), generate


def _array_at(address: Any, shape: Any, kind: Any) -> Any:
    """The implementation of `array_at` in kernels."""

    def compiled(address: Any, shape: Any, kind: Any) -> Any:
        return numba.carray(pointer(address), shape, kind)

    return compiled


if HAVE_NUMBA:
    pointer = numba.extending.intrinsic(_pointer)
    numba.extending.overload(array_at)(_array_at)
    numba.extending.overload(uncounted)(_uncounted)
