"""Which edge a tree search walks next: UCT, PUCT, Gumbel. Each convention below changes visit counts.

| question | here | source |
|---|---|---|
| does a node's own evaluation count? | yes, it is visit 1, at the root too | MuZero pseudocode, mctx |
| PUCT | Q + P sqrt(N) / (1 + n) (c_init + log((N + c_base + 1) / c_base)) | MuZero, appendix B |
| UCT | Q + c sqrt(log N / n); an unopened edge first, in slot order of falling prior | Kocsis and Szepesvari 2006 |
| Gumbel, root | argmax of g + logits + sigma(q) among edges with the visits of the halving | Danihelka et al. 2022 |
| Gumbel, below | argmax of softmax(logits + sigma(q)) - n / (1 + sum n) | ibid., equation 14 |
| Q of an edge | reward + discount x value of the child | MuZero, equation 3 |
| what normalises Q? | the range of edge values seen, of parent and siblings, or bounds; 0 if empty | MuZero B; mctx |
| an unvisited edge | its parent's mean value; "lowest" (`DiscreteActions(n)` only): 0 normalised | Gelly, Wang 2006; MuZero |
| pending visits | count in N and n, not in Q | WU-UCT, Liu et al. 2020 |
| ties | the lower slot | - |
| priors of `SampledActions()` | the share of draws that led to the child; 1 / width for the next draw | - |
| when is a new sample drawn? | while children < C N^alpha, or all children are closed | Couetoux et al. 2011 |
| a finished state | closed and never visited again (`close`), or visited again with value 0 (`absorb`) | design 4 |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import inlined, njit
from .records import (
    AWAITED,
    CHILDREN,
    CLOSED,
    COPIES,
    DRAWS,
    FIRST,
    HIGH,
    LOW,
    MEAN,
    MERGED,
    NEXT,
    NEXT_PRIOR,
    NEXT_SLOT,
    OPEN,
    PENDING,
    PRIOR,
    RAW,
    ROOT,
    SLOT,
    STATUS,
    VISITS,
    Q,
)

UCT, PUCT, GUMBEL = range(3)
BY_TREE, BY_SIBLINGS, BY_BOUNDS = range(3)

# places in the float64 settings array S that every kernel is given
(
    KIND,
    C_UCT,
    C_INIT,
    C_BASE,
    NORM,
    BOUND_LOW,
    BOUND_HIGH,
    PARENT_VALUE,
    CLOSE,
    MAX_BACKUP,
    WIDTH,
    MOST_DRAWS,
    WIDEN,
    WIDEN_C,
    WIDEN_ALPHA,
    LIMIT,
    LEAVES,
    VALUE_SCALE,
    MAXVISIT_INIT,
) = range(19)


@inlined
def can_open(I: Any, S: Any, b: int, node: int) -> bool:
    """Whether a node has a slot left that nobody has walked."""
    return I[b, node, NEXT_SLOT] >= 0 and I[b, node, CHILDREN] < S[WIDTH] and I[b, node, DRAWS] < S[MOST_DRAWS]


@njit
def selectable(I: Any, S: Any, b: int, child: int) -> bool:
    """Whether a walk may go through an opened edge."""
    return I[b, child, STATUS] != MERGED and not (S[CLOSE] > 0 and I[b, child, CLOSED] == 1)


@inlined
def q_range(I: Any, F: Any, S: Any, b: int, node: int) -> tuple[float, float]:
    """The least and the largest value by which the edges of `node` are normalised."""
    if S[NORM] == BY_BOUNDS:
        return S[BOUND_LOW], S[BOUND_HIGH]
    header = I.shape[1] - 1
    if S[NORM] == BY_TREE:
        return F[b, header, LOW], F[b, header, HIGH]
    low = F[b, node, MEAN]
    high = low
    child = I[b, node, FIRST]
    while child >= 0:
        if I[b, child, VISITS] > 0:
            low = min(low, F[b, child, Q])
            high = max(high, F[b, child, Q])
        child = I[b, child, NEXT]
    return low, high


@njit
def visits_in(I: Any, b: int, child: int) -> int:
    """Visits of an edge, those under way included."""
    return I[b, child, VISITS] + I[b, child, PENDING] + (1 if I[b, child, STATUS] == AWAITED else 0)


@inlined
def best_edge(I: Any, F: Any, P: Any, S: Any, C: Any, b: int, node: int) -> tuple[int, int]:
    """UCT and PUCT: (child, -1) to walk on, (-1, slot) to open a slot, (-1, -1) where nothing can be walked.

    C [most visits + 1] is `bonus_table`'s.
    """
    total = I[b, node, VISITS] + I[b, node, PENDING]
    fresh = can_open(I, S, b, node)
    if fresh and S[WIDEN] > 0 and I[b, node, OPEN] > 0:
        fresh = I[b, node, CHILDREN] < max(1.0, S[WIDEN_C] * total ** S[WIDEN_ALPHA])
    if fresh and (S[WIDEN] > 0 or S[KIND] == UCT or I[b, node, OPEN] == 0):
        return -1, I[b, node, NEXT_SLOT]
    low, high = q_range(I, F, S, b, node)
    share = 1.0 / (high - low) if high > low else 0.0
    blank = (F[b, node, MEAN] - low) * share if S[PARENT_VALUE] > 0 and share > 0 else 0.0
    scale = C[total]
    uct, closing, unbounded = S[KIND] == UCT, S[CLOSE] > 0, P.shape[2] == 0
    best, best_slot, best_score = -1, -1, -np.inf
    child = I[b, node, FIRST]
    while child >= 0:
        if I[b, child, STATUS] != MERGED and not (closing and I[b, child, CLOSED] == 1):
            visits = I[b, child, VISITS]
            n = visits + I[b, child, PENDING] + (I[b, child, STATUS] == AWAITED)
            score = (F[b, child, Q] - low) * share if visits > 0 and share > 0 else (blank if visits == 0 else 0.0)
            if uct:
                score += scale / np.sqrt(n)
            else:
                prior = I[b, child, COPIES] / I[b, node, DRAWS] if unbounded else F[b, child, PRIOR]
                score += scale * prior / (1 + n)
            if score > best_score or (score == best_score and I[b, child, SLOT] < best_slot):
                best, best_slot, best_score = child, I[b, child, SLOT], score
        child = I[b, child, NEXT]
    if fresh:
        prior = 1.0 / S[WIDTH] if unbounded else F[b, node, NEXT_PRIOR]
        score = blank + scale * prior
        slot = I[b, node, NEXT_SLOT]
        if score > best_score or (score == best_score and slot < best_slot):
            return -1, slot
    return best, -1


def bonus_table(S: Any, most: int) -> NDArray[np.float64]:
    """The part of the bonus that depends on the visits N of the parent alone, for N = 0 .. most."""
    n = np.arange(most + 1)
    if S[KIND] == UCT:
        return np.asarray(S[C_UCT] * np.sqrt(np.log(np.maximum(n, 1))))
    return np.asarray(np.sqrt(n) * (S[C_INIT] + np.log((n + S[C_BASE] + 1) / S[C_BASE])))


@njit
def edges_of(I: Any, F: Any, P: Any, S: Any, b: int, node: int, X: Any) -> None:
    """Fill scratch X [5, A] for Gumbel: child (-1: none), n, log prior (-inf: not to be walked), Q, sigma(q).

    Q of unvisited edges is the mixed value, and sigma(q) = (maxvisit_init + max n) value_scale q
    (Danihelka et al. 2022, equations 8 and 10, appendix D).
    """
    slots = X.shape[1]
    for a in range(slots):
        p = P[b, node, a]
        X[0, a], X[1, a], X[3, a] = -1.0, 0.0, np.nan
        X[2, a] = np.log(max(p, np.float32(1e-38))) if p >= 0 else -np.inf
    most, weight, mass, total = 0.0, 0.0, 0.0, 0.0
    child = I[b, node, FIRST]
    while child >= 0:
        a = I[b, child, SLOT]
        n = visits_in(I, b, child)
        X[0, a], X[1, a] = child, n
        if not selectable(I, S, b, child):
            X[2, a] = -np.inf
        if I[b, child, VISITS] > 0:
            X[3, a] = F[b, child, Q]
            p = max(P[b, node, a], np.float32(1e-38))
            weight += p * F[b, child, Q]
            mass += p
        total += n
        most = max(most, n)
        child = I[b, child, NEXT]
    mixed = F[b, node, RAW]
    if mass > 0:
        mixed = (mixed + total * weight / mass) / (1 + total)
    low, high = np.inf, -np.inf
    for a in range(slots):
        if np.isnan(X[3, a]):
            X[3, a] = mixed
        low = min(low, X[3, a])
        high = max(high, X[3, a])
    for a in range(slots):
        X[4, a] = (S[MAXVISIT_INIT] + most) * S[VALUE_SCALE] * (X[3, a] - low) / max(high - low, 1e-8)


@njit
def gumbel_edge(I: Any, F: Any, P: Any, S: Any, G: Any, T: Any, b: int, node: int, X: Any) -> tuple[int, int]:
    """Gumbel's choice, as `best_edge`. G [B, A] noise of the root, T [B, simulations] visits halving has come to."""
    edges_of(I, F, P, S, b, node, X)
    slots = X.shape[1]
    best, best_score = -1, -np.inf
    if node == I[b, I.shape[1] - 1, ROOT]:
        step = min(I[b, node, VISITS] + I[b, node, PENDING] - 1, T.shape[1] - 1)
        for strict in range(2):
            for a in range(slots):
                score = G[b, a] + X[2, a] + X[4, a]
                if score > best_score and (strict == 1 or X[1, a] == T[b, step]):
                    best, best_score = a, score
            if best >= 0:
                break
    else:
        top, mass, total = -np.inf, 0.0, 0.0
        for a in range(slots):
            top = max(top, X[2, a] + X[4, a])
            total += X[1, a]
        for a in range(slots):
            mass += np.exp(X[2, a] + X[4, a] - top)
        for a in range(slots):
            score = np.exp(X[2, a] + X[4, a] - top) / mass - X[1, a] / (1 + total)
            if score > best_score and X[2, a] > -np.inf:
                best, best_score = a, score
    if best < 0:
        return -1, -1
    child = int(X[0, best])
    return (child, -1) if child >= 0 else (-1, best)


def halving(considered: int, simulations: int) -> list[int]:
    """Visits that an edge must have to be walked next, per simulation (sequential halving; mctx `seq_halving.py`,
    Danihelka et al. 2022, algorithm 2)."""
    if considered <= 1:
        return list(range(simulations))
    rounds = int(np.ceil(np.log2(considered)))
    sequence: list[int] = []
    visits, left = [0] * considered, considered
    while len(sequence) < simulations:
        for _ in range(max(1, int(simulations / (rounds * left)))):
            sequence.extend(visits[:left])
            visits[:left] = [v + 1 for v in visits[:left]]
        left = max(2, left // 2)
    return sequence[:simulations]
