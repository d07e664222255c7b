"""How Python calls the walk and the backup of Monte Carlo tree search: by addresses, for speed.

To hand eleven arrays and four tensors to a kernel takes longer than a simulation (`jit.py`). So a search lays the
arrays that stay the same on a desk once, and of a plain answer only says where its numbers lie.

A desk D is int64 [8, 4]: of each array its address and its shape. Whoever lays one keeps the arrays alive and in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import array_at, njit
from .records import R
from .simulation import land, walk

TREE, PRIORS, SETTINGS, BONUS, NOISE, HALVING, SCRATCH, WHY_CODES = range(8)
SIZE = (8, 4)


@njit
def lay(D: Any, I: Any, P: Any, S: Any, C: Any, G: Any, T: Any, X: Any, stop_reason: Any) -> None:
    """Lay the arrays that `simulation.walk` wants on the desk D."""
    D[TREE, 0], D[PRIORS, 0], D[SETTINGS, 0], D[BONUS, 0] = I.ctypes.data, P.ctypes.data, S.ctypes.data, C.ctypes.data
    D[NOISE, 0], D[HALVING, 0], D[SCRATCH, 0] = G.ctypes.data, T.ctypes.data, X.ctypes.data
    D[WHY_CODES, 0] = stop_reason.ctypes.data
    D[TREE, 1:] = I.shape
    D[PRIORS, 1:] = P.shape
    D[SETTINGS, 1], D[BONUS, 1], D[WHY_CODES, 1] = len(S), len(C), len(stop_reason)
    D[NOISE, 1:3], D[HALVING, 1:3], D[SCRATCH, 1:3] = G.shape, T.shape, X.shape


@njit
def line(D: Any, k: int, kind: Any) -> Any:
    """The array [n] in line k of the desk."""
    return array_at(D[k, 0], (D[k, 1],), kind)


@njit
def table(D: Any, k: int, kind: Any) -> Any:
    """The array [n, m] in line k of the desk."""
    return array_at(D[k, 0], (D[k, 1], D[k, 2]), kind)


@njit
def records(D: Any, kind: Any) -> Any:
    """The records of the trees, as whole numbers or as real ones."""
    return array_at(D[TREE, 0], (D[TREE, 1], D[TREE, 2], R), kind)


@njit
def priors(D: Any) -> Any:
    """The priors of the trees [B, N, A]."""
    return array_at(D[PRIORS, 0], (D[PRIORS, 1], D[PRIORS, 2], D[PRIORS, 3]), np.float32)


@njit
def walk_at(D: Any, remaining: Any, page: Any) -> int:
    """`simulation.walk` with what lies on the desk."""
    return walk(
        records(D, np.int32),
        records(D, np.float32),
        priors(D),
        line(D, SETTINGS, np.float64),
        line(D, BONUS, np.float64),
        table(D, NOISE, np.float64),
        table(D, HALVING, np.int32),
        table(D, SCRATCH, np.float64),
        line(D, WHY_CODES, np.int32),
        remaining,
        page,
    )


@njit
def land_at(D: Any, row: Any, node: Any, reward: int, discount: int, value: int, logits: int) -> int:
    """`simulation.land` of an answer whose numbers lie at these addresses (`Tree.places_of`); logits 0: it has none."""
    count, slots = len(node), D[PRIORS, 3] if logits > 0 else 0
    return land(
        records(D, np.int32),
        records(D, np.float32),
        priors(D),
        line(D, SETTINGS, np.float64),
        row,
        node,
        array_at(reward, (count,), np.float32),
        array_at(discount, (count,), np.float32),
        array_at(value, (count,), np.float32),
        array_at(logits, (count, slots), np.float32),
        array_at(0, (0,), np.int32),
        array_at(0, (0,), np.bool_),
    )
