"""Walks over a tree that draw an edge at every node: the kernels under best-of-N, CEM and MPPI over slots.

Here belong the categorical at each node of the very tree that MCTS grows, the candidates that are drawn from it with
noise named by (row's key, candidate, depth), and its counts. What is asked, told and answered is `paths.py`'s.

| | an edge is drawn with mass |
|---|---|
| `DiscreteActions(n)` | prior x softmax(logits) + count; without counts softmax(logits) alone |
| `SampledActions()` | count; prior on a fresh sample, that is the next slot nobody has drawn; without counts a fresh one |

Counts are the candidates' weights, scaled by 1 / (sum of squared weights) so that k equal elites count k, added up
along their paths. So candidate i of a best-of-N over text takes slot i of the root and slot 0 from there on; one that
is led to a state that others have left (`duplicate_of`) goes on with its next slot, so that samples stay independent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import njit
from .noise import GOLDEN, mixed
from .records import (
    AWAITED,
    BUDGET,
    CHILDREN,
    CLOSED,
    DEAD,
    DEPTH,
    DRAWS,
    EXHAUSTED,
    FIRST,
    FLYING,
    GAMMA,
    NEXT,
    NEXT_NODE,
    NEXT_SLOT,
    ONGOING,
    OPEN,
    OPENED,
    PARENT,
    RAW,
    RETURN,
    ROOT,
    RUNNING,
    SAME_AS,
    SLOT,
    STATUS,
    TERMINAL,
    VISITS,
    child_at,
    open_slot,
)

GOAL, ADMITTED, UNDER_WAY, FIRST_ACTIVE, DRAWN, ITERATION, NEW, IDLE, FREE, BEST = range(10)
"""Words of a row's iteration, int32 T [B, 10]: candidates wanted, begun and under way, the first still under way,
numbers given out in all, iterations before, edges opened in this one, iterations and candidates in a row that opened
none, the best candidate's leaf (-1: none)."""

NODE, STATE, OPENS = range(3)
"""Words of a candidate, int32 C [B, K, 3]: where it stands, -1 once it has ended, edges opened."""

HORIZON, PARALLEL, WIDTH, REFITS = range(4)
"""Words of the settings, int64 S: the longest path (0: to the end), candidates of a row under way at once, distinct
children of a node (0: no limit), whether counts are refitted."""

PATIENCE = 64
"""Candidates in a row that opened nothing before a row stalls (if they are two whole iterations)."""


@njit
def uniform(key: Any, candidate: int, depth: int) -> float:
    """The number in [0, 1) that `noise.uniforms(key, candidate, depth, dtype=float64)` is."""
    golden = np.uint64(GOLDEN)
    x = mixed(key + np.uint64(candidate + 1) * golden)
    x = mixed(x + np.uint64(depth + 1) * golden)
    return float(x >> np.uint64(11)) * 2.0**-53


@njit
def by_prior(P: Any, b: int, node: int, u: float) -> int:
    """The slot that u in [0, 1) falls on under the node's priors; -1 where it has no slots."""
    total, last = 0.0, -1
    for a in range(P.shape[2]):
        if P[b, node, a] >= 0:
            total += P[b, node, a]
            last = a
    u *= total
    for a in range(P.shape[2]):
        if P[b, node, a] >= 0:
            u -= P[b, node, a]
            if u < 0:
                return a
    return last


@njit
def by_mass(I: Any, W: Any, b: int, node: int, u: float, even: bool) -> int:
    """The answered child that u in [0, total) falls on, in order of slots, under counts W (even: under 1 each)."""
    last, chosen = -1, -1
    while True:
        best, child = -1, I[b, node, FIRST]
        while child >= 0:
            drawable = I[b, child, STATUS] == OPENED and (even or W[b, child] > 0) and I[b, child, SLOT] > last
            if drawable and (best < 0 or I[b, child, SLOT] < I[b, best, SLOT]):
                best = child
            child = I[b, child, NEXT]
        if best < 0:
            return chosen
        chosen, last = best, I[b, best, SLOT]
        u -= 1.0 if even else W[b, best]
        if u < 0:
            return chosen


@njit
def draw(I: Any, P: Any, S: Any, W: Any, prior: float, b: int, node: int, u: float) -> tuple[int, int]:
    """Where a candidate goes on: (child, -1) along an edge that is open or awaited, (-1, slot) to open one, (-1, -1)
    where the node offers nothing."""
    slots = P.shape[2]
    counts, answered = 0.0, 0
    child = I[b, node, FIRST]
    while child >= 0:
        if I[b, child, STATUS] == OPENED:
            counts += W[b, child]
            answered += 1
        child = I[b, child, NEXT]
    mass = prior
    if slots == 0 and S[WIDTH] > 0 and (I[b, node, CHILDREN] >= S[WIDTH] or I[b, node, DRAWS] >= 2 * S[WIDTH]):
        mass = 0.0
        if counts <= 0 and answered > 0:
            return by_mass(I, W, b, node, u * answered, True), -1
    if counts <= 0:
        mass = 1.0
    u *= mass + counts
    if u >= mass:
        return by_mass(I, W, b, node, u - mass, False), -1
    if slots == 0:
        return -1, I[b, node, NEXT_SLOT]
    slot = by_prior(P, b, node, u / mass)
    child = child_at(I, b, node, slot)
    return (child, -1) if child >= 0 else (-1, slot)


@njit
def worth(I: Any, F: Any, b: int, leaf: int) -> float:
    """A candidate's return: rewards to its leaf and the discounted value there; minus infinity for a dead end."""
    if I[b, leaf, TERMINAL] == DEAD:
        return -np.inf
    return F[b, leaf, RETURN] + F[b, leaf, GAMMA] * F[b, leaf, RAW]


@njit
def finish(I: Any, F: Any, T: Any, C: Any, scores: Any, b: int, k: int) -> None:
    """Candidate k of the iteration has come to its end: score it and count it along its path."""
    leaf = C[b, k, NODE]
    C[b, k, STATE] = -1
    scores[b, k] = worth(I, F, b, leaf)
    if scores[b, k] > -np.inf and (T[b, BEST] < 0 or scores[b, k] > worth(I, F, b, T[b, BEST])):
        T[b, BEST] = leaf
    T[b, UNDER_WAY] -= 1
    T[b, FREE] = T[b, FREE] + 1 if C[b, k, OPENS] == 0 else 0
    node = leaf
    while node >= 0:
        I[b, node, VISITS] += 1
        node = I[b, node, PARENT]


@njit
def step(
    I: Any,
    F: Any,
    P: Any,
    S: Any,
    W: Any,
    T: Any,
    C: Any,
    scores: Any,
    prior: float,
    key: Any,
    b: int,
    k: int,
    left: int,
) -> int:
    """Walk candidate k on until it waits for an answer or ends. The edge's child where it opened one, else -1."""
    number = T[b, DRAWN] - T[b, ADMITTED] + k
    while True:
        node = C[b, k, NODE]
        if I[b, node, STATUS] == AWAITED:
            return -1
        if I[b, node, SAME_AS] >= 0:
            C[b, k, NODE] = I[b, node, SAME_AS]
            continue
        depth = I[b, node, DEPTH]
        if I[b, node, TERMINAL] != ONGOING or depth == S[HORIZON] > 0:
            finish(I, F, T, C, scores, b, k)
            return -1
        child, slot = draw(I, P, S, W, prior, b, node, uniform(key, number, depth))
        if child < 0 and slot < 0:
            finish(I, F, T, C, scores, b, k)
            return -1
        if child < 0:
            child = open_slot(I, F, P, b, node, slot) if left > 0 else -1
            if child < 0:
                return -1
            C[b, k, NODE] = child
            C[b, k, OPENS] += 1
            T[b, NEW] += 1
            return child
        C[b, k, NODE] = child


@njit
def still_to_open(I: Any, S: Any, T: Any, C: Any, b: int) -> int:
    """The most edges that the candidates under way may still open; 0 without a horizon."""
    total = 0
    for k in range(T[b, FIRST_ACTIVE], T[b, ADMITTED]):
        if C[b, k, STATE] >= 0 and S[HORIZON] > 0:
            total += S[HORIZON] - I[b, C[b, k, NODE], DEPTH]
    return total


@njit
def admit(I: Any, S: Any, T: Any, C: Any, b: int, left: int, held: int) -> bool:
    """Begin one more candidate at the root if the room left beside what is held for others takes all of it; one alone
    begins with any room."""
    if T[b, ADMITTED] >= T[b, GOAL] or T[b, UNDER_WAY] >= S[PARALLEL] or left <= 0:
        return False
    if T[b, UNDER_WAY] > 0 and left - held < max(S[HORIZON], 1):
        return False
    k, root = T[b, ADMITTED], I[b, I.shape[1] - 1, ROOT]
    if I[b, root, CLOSED] == 1:
        return False
    C[b, k, NODE], C[b, k, STATE], C[b, k, OPENS] = root, 0, 0
    T[b, ADMITTED] += 1
    T[b, UNDER_WAY] += 1
    T[b, DRAWN] += 1
    return True


@njit
def advance(
    I: Any,
    F: Any,
    P: Any,
    S: Any,
    W: Any,
    T: Any,
    C: Any,
    scores: Any,
    prior: float,
    keys: Any,
    remaining: Any,
    stop_reason: Any,
    out: Any,
    count: int,
) -> int:
    """Walk the candidates of every row until they wait; fills `out` [4, K] (row, parent, slot, node) from `count` on,
    returns its new length. A row whose iteration is over has UNDER_WAY 0 and ADMITTED = GOAL."""
    header = I.shape[1] - 1
    for b in range(I.shape[0]):
        if stop_reason[b] != RUNNING or (T[b, UNDER_WAY] == 0 and T[b, ADMITTED] == T[b, GOAL]):
            continue
        left, begun, held = remaining[b], count, -1
        k = T[b, FIRST_ACTIVE]
        while True:
            if k == T[b, ADMITTED]:
                held = still_to_open(I, S, T, C, b) if held < 0 else held
                if not admit(I, S, T, C, b, left, held):
                    break
            if C[b, k, STATE] >= 0:
                child = step(I, F, P, S, W, T, C, scores, prior, keys[b], b, k, left)
                if child >= 0:
                    parent = I[b, child, PARENT]
                    out[0, count], out[1, count], out[2, count], out[3, count] = b, parent, I[b, child, SLOT], child
                    count += 1
                    left -= 1
                if held >= 0 and C[b, k, STATE] >= 0 and S[HORIZON] > 0:
                    held += S[HORIZON] - I[b, C[b, k, NODE], DEPTH]
            if k == T[b, FIRST_ACTIVE] and C[b, k, STATE] < 0:
                T[b, FIRST_ACTIVE] += 1
            k += 1
        over = T[b, UNDER_WAY] == 0 and T[b, ADMITTED] == T[b, GOAL]
        if I[b, I[b, header, ROOT], CLOSED] == 1 and T[b, UNDER_WAY] == 0:
            stop_reason[b] = EXHAUSTED
        elif count == begun and I[b, header, FLYING] == 0 and not over:
            stop_reason[b] = BUDGET
    return count


@njit
def close(I: Any, S: Any, row: Any, node: Any) -> None:
    """Answers are in: what cannot be walked further is closed, and every parent of which it was the last open edge."""
    for k in range(len(node)):
        b, n = row[k], node[k]
        I[b, n, VISITS] = 0
        if I[b, n, STATUS] == OPENED:
            ends = I[b, n, TERMINAL] != ONGOING or I[b, n, DEPTH] == S[HORIZON] > 0 or I[b, n, NEXT_SLOT] < 0
            if not ends:
                continue
            I[b, n, CLOSED] = 1
            n = I[b, n, PARENT]
            I[b, n, OPEN] -= 1
        else:
            n = I[b, n, PARENT]
        while I[b, n, OPEN] == 0 and I[b, n, NEXT_SLOT] < 0 and I[b, n, CLOSED] == 0:
            I[b, n, CLOSED] = 1
            if I[b, n, PARENT] < 0:
                break
            n = I[b, n, PARENT]
            I[b, n, OPEN] -= 1


@njit
def stand_back(I: Any, T: Any, C: Any, b: int, node: int) -> None:
    """`node` is given back: candidates that waited for it stand at its parent again, and will draw as they did."""
    for k in range(T[b, FIRST_ACTIVE], T[b, ADMITTED]):
        if C[b, k, STATE] >= 0 and C[b, k, NODE] == node:
            C[b, k, NODE] = I[b, node, PARENT]


@njit
def refit(I: Any, W: Any, b: int, leaves: Any, weights: Any, smoothing: float) -> None:
    """Counts of row b: the old ones times `smoothing`, and (1 - smoothing) weights [K] / (sum of squares) along the
    paths to `leaves` [K]."""
    squares = 0.0
    for k in range(len(leaves)):
        squares += weights[k] ** 2
    if squares <= 0:
        return
    header = I.shape[1] - 1
    for n in range(I[b, header, NEXT_NODE]):
        W[b, n] *= smoothing
    for k in range(len(leaves)):
        node = leaves[k]
        while node >= 0 and weights[k] > 0:
            W[b, node] += (1 - smoothing) * weights[k] / squares
            node = I[b, node, PARENT]
