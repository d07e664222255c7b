"""The records that trees are made of, and the few kernels every tree search is made of.

Here belong the layout, links, and opening, answering and dropping an edge. Which edge comes next is the business of
`selection.py` and of the searches; states are the driver's, and no function here has ever seen one.

One record of `R` 32-bit words per node, int32 array `I` [B, N + 1, R] and its float32 view `F` of the same memory;
`P` [B, N, A] holds the softmaxed priors of a node's own slots (-1: no such slot; A = 0 for `SampledActions()`). Record N is
the row's header. Children hang on first-child / next-sibling links, so that a node of an unbounded offer costs the
same as any other; the next unopened slot of a node is kept in its record in the order of falling prior (ties: lower
index), so that no walk ever scans what has not been opened.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import inlined, njit

# words of a node's record; those a walk reads come first, so that they share a cache line
NEXT, SLOT, STATUS, CLOSED, VISITS, PENDING, Q, PRIOR = range(8)
FIRST, MEAN, NEXT_SLOT, NEXT_PRIOR, PARENT, REWARD, DISCOUNT, OPEN = range(8, 16)
CHILDREN, DRAWS, DEPTH, ORDER, COPIES, ODD, RAW, RETURN, GAMMA, TERMINAL, SAME_AS = range(16, 27)
R = 32

# words of the header
NEXT_NODE, FREE, ROOT, CLOCK, FLYING, WALKS, LOW, HIGH, NANS, MERGES, SOLUTIONS = range(11)

FREED, AWAITED, OPENED, MERGED = range(4)
"""STATUS: unused, asked for, told, told to be the same state as an earlier sibling."""

RUNNING, BUDGET, EXHAUSTED, CONVERGED, STALLED = range(5)
WHY = ("", "budget", "exhausted", "converged", "stalled")
"""Why a row of a search ended."""

ONGOING, SOLVED, DEAD = range(3)
"""TERMINAL: goes on, an end that is a solution, an end that is none."""


@inlined
def next_slot(I: Any, F: Any, P: Any, b: int, node: int) -> None:
    """Find the best unopened slot of `node`: the highest prior, ties to the lower index; -1 when there is none left."""
    slots = P.shape[2]
    odd = I[b, node, ODD] == 1
    if slots == 0:
        slot = I[b, node, DRAWS]
        if odd:
            slot = 0
            while child_at(I, b, node, slot) >= 0:
                slot += 1
        I[b, node, NEXT_SLOT] = slot
        return
    last = I[b, node, NEXT_SLOT]
    ceiling = F[b, node, NEXT_PRIOR] if last >= 0 else np.float32(np.inf)
    best = -1
    prior = np.float32(-1.0)
    for a in range(slots):
        p = P[b, node, a]
        if p <= prior or p < 0:
            continue
        if odd:
            if child_at(I, b, node, a) >= 0:
                continue
        elif p > ceiling or (p == ceiling and a <= last):
            continue
        prior = p
        best = a
    I[b, node, NEXT_SLOT] = best
    F[b, node, NEXT_PRIOR] = prior


@njit
def child_at(I: Any, b: int, node: int, slot: int) -> int:
    """The child that `slot` of `node` leads to (merged ones are followed to their twin), -1 if it was never opened."""
    child = I[b, node, FIRST]
    while child >= 0:
        if I[b, child, SLOT] == slot:
            return I[b, child, SAME_AS] if I[b, child, STATUS] == MERGED else child
        child = I[b, child, NEXT]
    return -1


@inlined
def allocate(I: Any, b: int) -> int:
    """A free node id of row b, or -1."""
    header = I.shape[1] - 1
    node = I[b, header, FREE]
    if node >= 0:
        I[b, header, FREE] = I[b, node, NEXT]
        return node
    node = I[b, header, NEXT_NODE]
    if node >= header:
        return -1
    I[b, header, NEXT_NODE] = node + 1
    return node


@njit
def open_slot(I: Any, F: Any, P: Any, b: int, parent: int, slot: int) -> int:
    """Make the child that `slot` of `parent` leads to, awaiting its answer; returns its id, -1 if ids have run out."""
    node = link_slot(I, F, P, b, parent, slot)
    if node >= 0:
        shift_pending(I, b, parent, 1)
    return node


@inlined
def link_slot(I: Any, F: Any, P: Any, b: int, parent: int, slot: int) -> int:
    """`open_slot` for a walk that has marked `parent` and all nodes above as pending on its way down."""
    node = allocate(I, b)
    if node < 0:
        return -1
    I[b, node, :] = 0
    I[b, node, PARENT], I[b, node, SLOT], I[b, node, STATUS] = parent, slot, AWAITED
    I[b, node, FIRST], I[b, node, SAME_AS], I[b, node, NEXT_SLOT] = -1, -1, -1
    I[b, node, DEPTH] = I[b, parent, DEPTH] + 1
    I[b, node, COPIES] = 1
    F[b, node, PRIOR] = P[b, parent, slot] if P.shape[2] > 0 else 1.0
    I[b, node, NEXT] = I[b, parent, FIRST]
    I[b, parent, FIRST] = node
    I[b, parent, DRAWS] += 1
    I[b, parent, CHILDREN] += 1
    I[b, parent, OPEN] += 1
    if slot == I[b, parent, NEXT_SLOT]:
        next_slot(I, F, P, b, parent)
    else:
        I[b, parent, ODD] = 1
    I[b, I.shape[1] - 1, FLYING] += 1
    return node


@inlined
def shift_pending(I: Any, b: int, node: int, by: int) -> None:
    """So many more visits are under way through `node` and everything above it."""
    while node >= 0:
        I[b, node, PENDING] += by
        node = I[b, node, PARENT]


@inlined
def settle(I: Any, b: int, node: int) -> None:
    """The answer to `node` is in (or given up): it is no longer pending anywhere above."""
    shift_pending(I, b, I[b, node, PARENT], -1)
    I[b, I.shape[1] - 1, FLYING] -= 1


@njit
def give_back(I: Any, F: Any, P: Any, b: int, node: int) -> bool:
    """Undo `open_slot`: unlink the node and free its id. False if it is not awaited."""
    if node < 0 or node >= I.shape[1] - 1 or I[b, node, STATUS] != AWAITED:
        return False
    settle(I, b, node)
    parent = I[b, node, PARENT]
    if I[b, parent, FIRST] == node:
        I[b, parent, FIRST] = I[b, node, NEXT]
    else:
        child = I[b, parent, FIRST]
        while I[b, child, NEXT] != node:
            child = I[b, child, NEXT]
        I[b, child, NEXT] = I[b, node, NEXT]
    I[b, parent, DRAWS] -= 1
    I[b, parent, CHILDREN] -= 1
    I[b, parent, OPEN] -= 1
    I[b, parent, ODD] = 1
    next_slot(I, F, P, b, parent)
    header = I.shape[1] - 1
    I[b, node, STATUS] = FREED
    I[b, node, NEXT] = I[b, header, FREE]
    I[b, header, FREE] = node
    return True


@inlined
def set_prior(P: Any, b: int, node: int, logits: Any, k: int) -> None:
    """Softmax of row k of `logits` into the node's priors; uniform without logits, -1 where there is no such slot."""
    slots = P.shape[2]
    if logits.shape[1] == 0:
        for a in range(slots):
            P[b, node, a] = np.float32(1.0) / np.float32(slots)
        return
    top = np.float32(-np.inf)
    for a in range(slots):
        if logits[k, a] > top and logits[k, a] < np.inf:
            top = logits[k, a]
    total = np.float32(0.0)
    for a in range(slots):
        x = logits[k, a]
        if x > -np.inf and x < np.inf:  # NaN and +inf are no slots either
            p = np.exp(x - top)
            P[b, node, a] = p
            total += p
        else:
            P[b, node, a] = -1.0
    for a in range(slots):
        if P[b, node, a] >= 0:
            P[b, node, a] /= total


@inlined
def write(I: Any, F: Any, b: int, node: int, reward: float, discount: float, value: float, dead_end: bool) -> None:
    """Numbers of an answered node. What is not finite is closed at the worst value seen, and counted."""
    header = I.shape[1] - 1
    finite = np.isfinite(reward) and np.isfinite(discount) and np.isfinite(value)
    if not finite:
        I[b, header, NANS] += 1
        low = F[b, header, LOW]
        reward = low if np.isfinite(low) else min(F[b, I[b, header, ROOT], RAW], 0.0)
        discount = 0.0
    terminal = discount == 0
    if terminal:
        value = 0.0
    parent = I[b, node, PARENT]
    I[b, node, STATUS] = OPENED
    I[b, node, TERMINAL] = (DEAD if dead_end or not finite else SOLVED) if terminal else ONGOING
    I[b, header, SOLUTIONS] += I[b, node, TERMINAL] == SOLVED
    I[b, header, CLOCK] += 1
    I[b, node, ORDER] = I[b, header, CLOCK]
    F[b, node, REWARD], F[b, node, DISCOUNT] = reward, discount
    F[b, node, RAW], F[b, node, MEAN] = value, value
    F[b, node, Q] = F[b, node, REWARD] + F[b, node, DISCOUNT] * F[b, node, MEAN]  # bit for bit as `back_up` does it
    F[b, node, RETURN] = F[b, parent, RETURN] + F[b, parent, GAMMA] * reward
    F[b, node, GAMMA] = F[b, parent, GAMMA] * discount
    I[b, node, VISITS] = 1
    widen_range(F, b, F[b, node, Q])


@inlined
def widen_range(F: Any, b: int, q: float) -> None:
    """Keep the least and the largest edge value seen in the row (MuZero, appendix B: MinMaxStats)."""
    header = F.shape[1] - 1
    if q < F[b, header, LOW]:
        F[b, header, LOW] = q
    if q > F[b, header, HIGH]:
        F[b, header, HIGH] = q


@njit
def merge(I: Any, F: Any, b: int, node: int, twin: int) -> None:
    """`node` turned out to be the same state as its earlier sibling `twin`, which carries both priors from now on."""
    I[b, node, STATUS] = MERGED
    I[b, node, SAME_AS] = twin
    I[b, node, CLOSED] = 1
    I[b, twin, COPIES] += 1
    F[b, twin, PRIOR] += F[b, node, PRIOR]
    parent = I[b, node, PARENT]
    I[b, parent, CHILDREN] -= 1
    I[b, parent, OPEN] -= 1
    header = I.shape[1] - 1
    I[b, header, MERGES] += 1
    I[b, header, CLOCK] += 1
    I[b, node, ORDER] = I[b, header, CLOCK]


@njit
def check_awaited(I: Any, row: Any, node: Any) -> int:
    """Position of the first leaf that nobody waits for, -1 if all are awaited."""
    for k in range(len(node)):
        b, n = row[k], node[k]
        if b < 0 or b >= I.shape[0] or n < 0 or n >= I.shape[1] - 1 or I[b, n, STATUS] != AWAITED:
            return k
    return -1


@inlined
def write_leaves(
    I: Any,
    F: Any,
    P: Any,
    row: Any,
    node: Any,
    reward: Any,
    discount: Any,
    value: Any,
    logits: Any,
    duplicate_of: Any,
    dead_end: Any,
) -> int:
    """Write K answers (or merge them), whose leaves the caller settles. As `check_awaited`, before any is written; a
    leaf that is named twice is found at its second place."""
    bad = check_awaited(I, row, node)
    if bad >= 0:
        return bad
    for k in range(len(node)):
        b, n = row[k], node[k]
        if I[b, n, STATUS] != AWAITED:
            return k
        if len(duplicate_of) > 0 and duplicate_of[k] >= 0:
            merge(I, F, b, n, duplicate_of[k])
            continue
        set_prior(P, b, n, logits, k)
        write(I, F, b, n, reward[k], discount[k], value[k], len(dead_end) > 0 and dead_end[k])
        next_slot(I, F, P, b, n)
    return -1


@njit
def answer_leaves(I: Any, F: Any, P: Any, row: Any, node: Any, *numbers: Any) -> int:
    """`write_leaves` and settle them; for searches that back up nothing."""
    bad = write_leaves(I, F, P, row, node, *numbers)
    for k in range(len(node) if bad < 0 else bad):
        settle(I, row[k], node[k])
    return bad


@njit
def plant(I: Any, F: Any, P: Any, discount: Any, value: Any, logits: Any) -> int:
    """Make node 0 of every row its root; a value that is not finite counts as 0. Returns how many values are finite,
    -1 where a discount is not."""
    finite = 0
    header = I.shape[1] - 1
    for b in range(I.shape[0]):
        I[b, header, NEXT_NODE], I[b, header, FREE] = 1, -1
        F[b, header, LOW], F[b, header, HIGH] = np.inf, -np.inf
        I[b, 0, PARENT], I[b, 0, FIRST], I[b, 0, NEXT], I[b, 0, NEXT_SLOT] = -1, -1, -1, -1
        I[b, 0, STATUS], I[b, 0, VISITS], I[b, 0, COPIES], I[b, 0, SAME_AS] = OPENED, 1, 1, -1
        I[b, 0, TERMINAL] = SOLVED if discount[b] == 0 else ONGOING
        if not np.isfinite(discount[b]):
            return -1
        if np.isfinite(value[b]):
            finite += 1
            F[b, 0, RAW], F[b, 0, MEAN] = value[b], value[b]
        F[b, 0, DISCOUNT] = discount[b]
        F[b, 0, GAMMA], F[b, 0, PRIOR] = 1.0, 1.0
        set_prior(P, b, 0, logits, b)
        next_slot(I, F, P, b, 0)
    return finite
