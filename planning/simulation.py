"""The walk and the backup of Monte Carlo tree search, as kernels over the records of `records.py`.

Here a leaf is found, opened, answered and backed up, and a finished subtree closed. Which edge a walk takes at a node
is `selection.py`'s; settings, rows of Python and plans are `mcts.py`'s.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import inlined, njit
from .journal import ROOM
from .records import (
    AWAITED,
    BUDGET,
    CLOSED,
    DISCOUNT,
    EXHAUSTED,
    FIRST,
    FLYING,
    FREE,
    HIGH,
    LOW,
    MEAN,
    MERGED,
    NEXT,
    NEXT_NODE,
    NEXT_SLOT,
    ONGOING,
    OPEN,
    OPENED,
    PARENT,
    PENDING,
    RAW,
    REWARD,
    ROOT,
    RUNNING,
    SLOT,
    STATUS,
    TERMINAL,
    VISITS,
    WALKS,
    Q,
    link_slot,
    settle,
    shift_pending,
    write_leaves,
)
from .selection import CLOSE, GUMBEL, KIND, LEAVES, LIMIT, MAX_BACKUP, best_edge, can_open, gumbel_edge

MOST = 2**31 - 1
"""Room that is written down when there is more than a page can hold, and than any tree could use."""


@inlined
def close(I: Any, S: Any, b: int, node: int) -> None:
    """Nothing is left to open at `node`; closes every parent of which that was the last open edge."""
    while I[b, node, CLOSED] == 0:
        I[b, node, CLOSED] = 1
        if node == I[b, I.shape[1] - 1, ROOT]:
            return
        node = I[b, node, PARENT]
        I[b, node, OPEN] -= 1
        if I[b, node, OPEN] > 0 or can_open(I, S, b, node):
            return


@inlined
def back_up(I: Any, F: Any, S: Any, b: int, node: int, value: float, landed: int) -> None:
    """One more visit of everything above `node`, whose return just seen is `value` (MuZero, equation 3), and `landed`
    (0 or 1) fewer under way there."""
    header = I.shape[1] - 1
    root, by_max = I[b, header, ROOT], S[MAX_BACKUP] > 0
    low, high = F[b, header, LOW], F[b, header, HIGH]
    while node != root:
        q = F[b, node, REWARD] + F[b, node, DISCOUNT] * F[b, node, MEAN]
        F[b, node, Q] = q
        low, high = min(low, q), max(high, q)
        value = F[b, node, REWARD] + F[b, node, DISCOUNT] * value
        node = I[b, node, PARENT]
        visits = I[b, node, VISITS] + 1
        I[b, node, VISITS] = visits
        I[b, node, PENDING] -= landed
        if by_max:
            F[b, node, MEAN] = best_value(I, F, b, node)
        else:
            F[b, node, MEAN] += (value - F[b, node, MEAN]) / visits
    F[b, header, LOW], F[b, header, HIGH] = low, high


@njit
def best_value(I: Any, F: Any, b: int, node: int) -> float:
    """The largest value among the opened edges of a node."""
    best = -np.inf
    child = I[b, node, FIRST]
    while child >= 0:
        if I[b, child, STATUS] == OPENED:
            best = max(best, F[b, child, Q])
        child = I[b, child, NEXT]
    return best


@inlined
def walk_row(I: Any, F: Any, P: Any, S: Any, C: Any, G: Any, T: Any, X: Any, b: int) -> int:
    """Walk from the root to an unopened edge and open it; its child's id. -1: wait for answers. -2: a finished state
    was visited once more and backed up, or nothing can be opened."""
    node = I[b, I.shape[1] - 1, ROOT]
    while I[b, node, TERMINAL] == ONGOING and I[b, node, STATUS] != AWAITED:
        if S[KIND] == GUMBEL:
            child, slot = gumbel_edge(I, F, P, S, G, T, b, node, X)
        else:
            child, slot = best_edge(I, F, P, S, C, b, node)
        if slot < 0 and child < 0:
            break
        I[b, node, PENDING] += 1
        if slot >= 0:
            opened = link_slot(I, F, P, b, node, slot)
            if opened < 0:
                shift_pending(I, b, node, -1)
            return opened
        node = child
    shift_pending(I, b, I[b, node, PARENT], -1)
    if I[b, node, STATUS] == AWAITED:
        return -1
    I[b, node, VISITS] += 1
    back_up(I, F, S, b, node, F[b, node, RAW], 0)
    return -2


@inlined
def walk(
    I: Any, F: Any, P: Any, S: Any, C: Any, G: Any, T: Any, X: Any, stop_reason: Any, remaining: Any, page: Any
) -> int:
    """Up to LEAVES walks in every row that is not done; fills `page` (`journal.Notes`) and returns how many leaves it
    asks for."""
    header = I.shape[1] - 1
    count = 0
    for b in range(I.shape[0]):
        page[ROOM, b] = min(remaining[b], MOST)
        if stop_reason[b] != RUNNING:
            continue
        left = remaining[b]
        root = I[b, header, ROOT]
        over = RUNNING
        while I[b, header, FLYING] < S[LEAVES]:
            if I[b, root, CLOSED] == 1 or I[b, root, TERMINAL] != ONGOING:
                over = EXHAUSTED
                break
            if left <= 0 or I[b, header, WALKS] >= S[LIMIT]:
                over = BUDGET
                break
            node = walk_row(I, F, P, S, C, G, T, X, b)
            if node == -1:
                if I[b, header, FLYING] == 0:
                    over = BUDGET
                break
            I[b, header, WALKS] += 1
            if node >= 0:
                page[0, count], page[1, count] = b, I[b, node, PARENT]
                page[2, count], page[3, count] = I[b, node, SLOT], node
                count += 1
                left -= 1
        if I[b, header, FLYING] == 0:
            stop_reason[b] = over
    return count


@inlined
def land(I: Any, F: Any, P: Any, S: Any, row: Any, node: Any, *numbers: Any) -> int:
    """Write K answers (`records.write_leaves`) and back them up. Returns the position of the first leaf nobody waits
    for, -1 if all are."""
    bad = write_leaves(I, F, P, row, node, *numbers)
    for k in range(len(node) if bad < 0 else bad):
        b, n = row[k], node[k]
        if I[b, n, STATUS] == MERGED:
            settle(I, b, n)
            parent = I[b, n, PARENT]
            if S[CLOSE] > 0 and I[b, parent, OPEN] == 0 and not can_open(I, S, b, parent):
                close(I, S, b, parent)
            continue
        I[b, I.shape[1] - 1, FLYING] -= 1
        back_up(I, F, S, b, n, F[b, n, RAW], 1)
        if S[CLOSE] > 0 and (I[b, n, TERMINAL] != ONGOING or I[b, n, NEXT_SLOT] < 0):
            close(I, S, b, n)
    return bad


@njit
def descend(I: Any, F: Any, b: int, node: int, by_value: bool) -> int:
    """The leaf that the most visited children lead to (ties: the larger Q, the lower slot), or those of largest Q."""
    while True:
        best = -1
        child = I[b, node, FIRST]
        while child >= 0:
            if I[b, child, STATUS] == OPENED:
                first = best < 0
                more = 0 if by_value or first else I[b, child, VISITS] - I[b, best, VISITS]
                gain = 0.0 if first else F[b, child, Q] - F[b, best, Q]
                lower = not first and I[b, child, SLOT] < I[b, best, SLOT]
                if first or more > 0 or (more == 0 and (gain > 0 or (gain == 0 and lower))):
                    best = child
            child = I[b, child, NEXT]
        if best < 0:
            return node
        node = best


@njit
def count_visits(I: Any, visits: Any) -> None:
    """Visits of the roots' children by slot into `visits` [B, A]."""
    for b in range(I.shape[0]):
        child = I[b, I[b, I.shape[1] - 1, ROOT], FIRST]
        while child >= 0:
            if I[b, child, STATUS] == OPENED:
                visits[b, I[b, child, SLOT]] = I[b, child, VISITS]
            child = I[b, child, NEXT]


@njit
def move_root(I: Any, P: Any, b: int, child: int) -> None:
    """Make `child` the root of row b and free everything that is not below it. No node changes its id."""
    header = I.shape[1] - 1
    keep = np.zeros(header, np.bool_)
    keep[child] = True
    node = child
    while True:  # walk the subtree depth first along the links
        below = I[b, node, FIRST]
        if below >= 0:
            node = below
        else:
            while node != child and I[b, node, NEXT] < 0:
                node = I[b, node, PARENT]
            if node == child:
                break
            node = I[b, node, NEXT]
        keep[node] = True
    I[b, header, ROOT] = child
    I[b, child, PARENT], I[b, child, NEXT] = -1, -1
    I[b, header, FREE] = -1
    for n in range(I[b, header, NEXT_NODE] - 1, -1, -1):
        if not keep[n]:
            I[b, n, STATUS] = 0
            I[b, n, NEXT] = I[b, header, FREE]
            I[b, header, FREE] = n
