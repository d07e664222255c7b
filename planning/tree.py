"""The numbers of a batch of trees as arrays, and the few kernels every tree search is made of.

Here belong records, their links, and opening, answering and dropping an edge. Which edge comes next is the business of
`selection.py` and of the searches; states are the driver's, and no function here has ever seen one.

One record of `R` 32-bit words per node, int32 array `I` [B, N + 1, R] and its float32 view `F` of the same memory;
`P` [B, N, A] holds the softmaxed priors of a node's own slots (-1: no such slot; A = 0 for `Slots(None)`). Record N is
the row's header. Children hang on first-child / next-sibling links, so that a node of an unbounded offer costs the
same as any other; the next unopened slot of a node is kept in its record in the order of falling prior (ties: lower
index), so that no walk ever scans what has not been opened.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .interface import Expansion, Finished, Int, ModelError
from .jit import njit

# words of a node's record; those a walk reads come first, so that they share a cache line
NEXT, SLOT, STATUS, CLOSED, VISITS, PENDING, Q, PRIOR = range(8)
FIRST, MEAN, NEXT_SLOT, NEXT_PRIOR, PARENT, REWARD, DISCOUNT, OPEN = range(8, 16)
CHILDREN, DRAWS, DEPTH, ORDER, COPIES, ODD, RAW, RETURN, GAMMA, TERMINAL, SAME_AS = range(16, 27)
R = 32

# words of the header
NEXT_NODE, FREE, ROOT, CLOCK, FLYING, WALKS, LOW, HIGH, NANS, MERGES, SOLUTIONS = range(11)

FREED, AWAITED, OPENED, MERGED = range(4)
"""STATUS: unused, asked for, told, told to be the same state as an earlier sibling."""

ONGOING, SOLVED, DEAD = range(3)
"""TERMINAL: goes on, an end that is a solution, an end that is none."""


@njit
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


@njit
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
    above = parent
    while above >= 0:
        I[b, above, PENDING] += 1
        above = I[b, above, PARENT]
    I[b, I.shape[1] - 1, FLYING] += 1
    return node


@njit
def settle(I: Any, b: int, node: int) -> None:
    """The answer to `node` is in (or given up): it is no longer pending anywhere above."""
    above = I[b, node, PARENT]
    while above >= 0:
        I[b, above, PENDING] -= 1
        above = I[b, above, PARENT]
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


@njit
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


@njit
def write(I: Any, F: Any, b: int, node: int, reward: float, discount: float, value: float, dead: bool) -> None:
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
    I[b, node, TERMINAL] = (DEAD if dead or not finite else SOLVED) if terminal else ONGOING
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


@njit
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


@njit
def answer_leaves(
    I: Any,
    F: Any,
    P: Any,
    row: Any,
    node: Any,
    reward: Any,
    discount: Any,
    value: Any,
    logits: Any,
    same_as: Any,
    dead: Any,
) -> int:
    """Write K answers (or merge them); for searches that back up nothing. As `check_awaited`, before any is written."""
    bad = check_awaited(I, row, node)
    if bad >= 0:
        return bad
    for k in range(len(node)):
        b, n = row[k], node[k]
        if I[b, n, STATUS] != AWAITED:
            return k
        settle(I, b, n)
        if len(same_as) > 0 and same_as[k] >= 0:
            merge(I, F, b, n, same_as[k])
            continue
        set_prior(P, b, n, logits, k)
        write(I, F, b, n, reward[k], discount[k], value[k], len(dead) > 0 and dead[k])
        next_slot(I, F, P, b, n)
    return -1


@njit
def plant(I: Any, F: Any, P: Any, discount: Any, value: Any, logits: Any) -> None:
    """Make node 0 of every row its root."""
    header = I.shape[1] - 1
    for b in range(I.shape[0]):
        I[b, header, NEXT_NODE], I[b, header, FREE] = 1, -1
        F[b, header, LOW], F[b, header, HIGH] = np.inf, -np.inf
        I[b, 0, PARENT], I[b, 0, FIRST], I[b, 0, NEXT], I[b, 0, NEXT_SLOT] = -1, -1, -1, -1
        I[b, 0, STATUS], I[b, 0, VISITS], I[b, 0, COPIES], I[b, 0, SAME_AS] = OPENED, 1, 1, -1
        I[b, 0, TERMINAL] = SOLVED if discount[b] == 0 else ONGOING
        F[b, 0, RAW], F[b, 0, MEAN], F[b, 0, DISCOUNT] = value[b], value[b], discount[b]
        F[b, 0, GAMMA], F[b, 0, PRIOR] = 1.0, 1.0
        set_prior(P, b, 0, logits, b)
        next_slot(I, F, P, b, 0)


FLOAT32 = np.dtype(np.float32)
NO_SAME = np.zeros(0, np.int32)
ALL_ALIVE = np.zeros(0, np.bool_)
NO_LOGITS = np.zeros((0, 0), np.float32)


def as_numpy(x: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """`x` as a float32 numpy array of exactly `shape`; ModelError naming the field where it is of another."""
    if isinstance(x, torch.Tensor):
        try:
            x = x.numpy()
        except (RuntimeError, TypeError):  # on another device, or part of a graph
            x = x.detach().to("cpu", torch.float32).numpy()
    elif not isinstance(x, np.ndarray):
        x = np.asarray(x)
    if x.shape != shape:
        raise ModelError(f"the model's {name} has shape {tuple(x.shape)}, expected {shape}")
    if (
        x.dtype is not FLOAT32 and x.dtype != FLOAT32
    ) or not x.flags.carray:
        # a strided or read-only array would compile the kernels anew
        x = np.array(x, np.float32, order="C")
    return x


class Tree:
    """B trees of at most `nodes` nodes each (root included) over states that offer `slots` (0: unbounded) edges."""

    def __init__(self, root: Expansion, nodes: int, slots: int) -> None:
        rows = len(root.value)
        self.rows, self.nodes, self.slots = rows, nodes, slots
        self.I = np.zeros((rows, nodes + 1, R), np.int32)
        self.F = self.I.view(np.float32)
        self.P = np.zeros((rows, nodes, slots), np.float32)
        discount, value = as_numpy(root.discount, "discount", (rows,)), as_numpy(root.value, "value", (rows,))
        if not np.isfinite(discount).all() or (rows and not np.isfinite(value).any()):
            raise ModelError("the model's start has no finite value, or a discount that is not finite")
        value = np.where(np.isfinite(value), value, np.float32(0))
        plant(self.I, self.F, self.P, discount, value, self.logits_of(root, rows))

    def replant(self, root: Expansion, rows: Any) -> None:
        """Start the rows at these places (int [M]) anew from their part of `root` [B]."""
        fresh = Tree(root, 1, self.slots)
        self.I[rows], self.P[rows] = 0, 0
        self.I[rows, 0], self.I[rows, self.nodes] = fresh.I[rows, 0], fresh.I[rows, 1]
        self.P[rows, 0] = fresh.P[rows, 0]

    def logits_of(self, answer: Expansion, rows: int) -> NDArray[np.float32]:
        """[K, A] logits of an answer; [0, 0] where the model has none."""
        if self.slots == 0 or answer.logits is None:
            return NO_LOGITS
        return as_numpy(answer.logits, "logits", (rows, self.slots))

    def numbers_of(self, answer: Expansion, rows: int) -> tuple[Any, ...]:
        """reward, discount, value [K], logits, same_as and dead of an answer, checked, as the kernels want them."""
        shape = (rows,)
        return (
            as_numpy(answer.reward, "reward", shape),
            as_numpy(answer.discount, "discount", shape),
            as_numpy(answer.value, "value", shape),
            self.logits_of(answer, rows),
            NO_SAME if answer.same_as is None else as_numpy(answer.same_as, "same_as", shape).astype(np.int32),
            ALL_ALIVE if answer.dead is None else as_numpy(answer.dead, "dead", shape) != 0,
        )

    @property
    def root(self) -> Int:
        """[B] node id of each row's root."""
        return self.I[:, self.nodes, ROOT]

    def header(self, word: int) -> Int:
        """[B] one word of each row's header."""
        return self.I[:, self.nodes, word]

    def path(self, row: int, node: int) -> list[int]:
        """Node ids from the root to `node`, both included."""
        path = [node]
        while path[-1] != self.I[row, self.nodes, ROOT]:
            path.append(int(self.I[row, path[-1], PARENT]))
        return path[::-1]

    def slots_along(self, row: int, path: list[int]) -> Int:
        """The slots walked along a path from the root."""
        return self.I[row, path[1:], SLOT]

    def children(self, row: int, node: int) -> list[int]:
        """Ids of the answered children of a node in order of their slots, merged ones left out."""
        found, child = [], int(self.I[row, node, FIRST])
        while child >= 0:
            if self.I[row, child, STATUS] == OPENED:
                found.append(child)
            child = int(self.I[row, child, NEXT])
        return sorted(found, key=lambda c: int(self.I[row, c, SLOT]))

    def told(self, row: int) -> list[int]:
        """Ids of all answered and merged nodes but the root, in the order they were told."""
        status = self.I[row, : self.nodes, STATUS]
        ids = np.flatnonzero((status == OPENED) | (status == MERGED))
        ids = ids[(self.I[row, ids, ORDER] > 0)]
        return [int(n) for n in ids[np.argsort(self.I[row, ids, ORDER], kind="stable")]]

    def finished(self, row: int) -> list[Finished]:
        """Every finished leaf with its discounted return from the root, in the order told."""
        if self.I[row, self.nodes, SOLUTIONS] == 0:
            return []
        root = int(self.root[row])
        base, scale = float(self.F[row, root, RETURN]), float(self.F[row, root, GAMMA])
        I = self.I[row, : self.nodes]
        ids = np.flatnonzero((I[:, TERMINAL] == SOLVED) & (I[:, STATUS] == OPENED) & (I[:, ORDER] > 0))
        return [
            Finished(int(n), (float(self.F[row, n, RETURN]) - base) / scale, int(I[n, VISITS]))
            for n in ids[np.argsort(I[ids, ORDER], kind="stable")]
        ]

    def best_open(self, row: int) -> int:
        """The unfinished leaf to complete when there is no solution: the largest return so far plus discounted value,
        ties to the deeper, then to the earlier; the root where nothing is open."""
        I, F = self.I[row], self.F[row]
        leaves = [n for n in self.told(row) if I[n, TERMINAL] == ONGOING and I[n, STATUS] == OPENED]
        leaves = [n for n in leaves if not self.children(row, n)]
        if not leaves:
            return int(self.root[row])
        return max(leaves, key=lambda n: (float(F[n, RETURN] + F[n, GAMMA] * F[n, RAW]), int(I[n, DEPTH]), -n))

    def best_finished(self, row: int) -> int:
        """The solution of the largest return, the earliest of equals; -1 where there is none."""
        finished = self.finished(row)
        return max(finished, key=lambda f: f.value).node if finished else -1
