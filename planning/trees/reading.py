"""Kernels that read the solutions of a tree."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiled import njit
from .nodes import EVALUATED, SOLVED, view_headers, view_nodes


@njit
def solutions(block: Any, b: int) -> Any:
    """Ids of the solutions of row b in the order of their answers, int32 [K]."""
    nodes, header = view_nodes(block)[b], view_headers(block)[b]
    ids = np.empty(header.solutions, np.int32)
    order = np.empty(header.solutions, np.int32)
    found = 0
    for n in range(header.next_id):
        node = nodes[n]
        if node.terminal == SOLVED and node.status == EVALUATED and node.event_index > 0:
            ids[found], order[found] = n, node.event_index
            found += 1
    return ids[np.argsort(order[:found], kind="mergesort")]


@njit
def best_solution(block: Any, b: int) -> int:
    """The solution of row b of the largest return, the earliest of equals; -1 where there is none."""
    nodes = view_nodes(block)[b]
    best = -1
    for n in solutions(block, b):
        if best < 0 or nodes[n].path_return > nodes[best].path_return:
            best = n
    return best
