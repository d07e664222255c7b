"""A batch of trees as arrays: made from a root, and read off. The layout and what changes it are `records.py`'s."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .interface import Expansion, Finished, Int, ModelError
from .jit import njit
from .records import (
    DEPTH,
    FIRST,
    GAMMA,
    MERGED,
    NEXT,
    NEXT_NODE,
    ONGOING,
    OPENED,
    ORDER,
    PARENT,
    RAW,
    RETURN,
    ROOT,
    SLOT,
    SOLUTIONS,
    SOLVED,
    STATUS,
    TERMINAL,
    VISITS,
    R,
    plant,
)

FLOAT32 = np.dtype(np.float32)
NO_SAME = np.zeros(0, np.int32)
ALL_ALIVE = np.zeros(0, np.bool_)
NO_LOGITS = np.zeros((0, 0), np.float32)


def as_numpy(x: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """`x` as a float32 numpy array of exactly `shape`; ModelError naming the field where it is of another."""
    if isinstance(x, np.ndarray):
        if x.dtype is FLOAT32 and x.shape == shape and x.flags.carray:
            return x
    elif isinstance(x, torch.FloatTensor) and not x.requires_grad:
        x = x.numpy()
        if x.shape == shape and x.flags.c_contiguous:
            return x
    elif isinstance(x, torch.Tensor):
        x = x.to(torch.float32).numpy(force=True)
    else:
        x = np.asarray(x)
    if x.shape != shape:
        raise ModelError(f"the model's {name} has shape {tuple(x.shape)}, expected {shape}")
    if (x.dtype is not FLOAT32 and x.dtype != FLOAT32) or not x.flags.carray:
        # a strided or read-only array would compile the kernels anew
        x = np.array(x, np.float32, order="C")
    return x


def place_of(x: Any, shape: tuple[int, ...]) -> int:
    """Where the numbers of a plain float32 tensor of `shape` lie, 0 for all that wants a closer look. `FloatTensor` are
    those on the CPU whose memory holds their numbers as they are (no lazy sign or conjugate, nothing sparse)."""
    if isinstance(x, torch.FloatTensor) and x.shape == shape and x.is_contiguous():
        return x.data_ptr()
    return 0


@njit
def solutions(I: Any, b: int) -> Any:
    """Ids of the finished leaves of row b in the order told, int32 [K]."""
    header = I.shape[1] - 1
    ids = np.empty(I[b, header, SOLUTIONS], np.int32)
    orders = np.empty(I[b, header, SOLUTIONS], np.int32)
    found = 0
    for n in range(I[b, header, NEXT_NODE]):
        if I[b, n, TERMINAL] == SOLVED and I[b, n, STATUS] == OPENED and I[b, n, ORDER] > 0:
            ids[found], orders[found] = n, I[b, n, ORDER]
            found += 1
    return ids[np.argsort(orders[:found], kind="mergesort")]


@njit
def best_solution(I: Any, F: Any, b: int) -> int:
    """The finished leaf of row b of the largest return, the earliest told of equals; -1 where there is none."""
    best = -1
    for n in solutions(I, b):
        if best < 0 or F[b, n, RETURN] > F[b, best, RETURN]:
            best = n
    return best


class Tree:
    """B trees of at most `nodes` nodes each (root included) over states that offer `slots` (0: unbounded) edges."""

    def __init__(self, root: Expansion, nodes: int, slots: int) -> None:
        rows = len(root.value)
        self.rows, self.nodes, self.slots = rows, nodes, slots
        self.I = np.zeros((rows, nodes + 1, R), np.int32)
        self.F = self.I.view(np.float32)
        self.P = np.zeros((rows, nodes, slots), np.float32)
        discount, value = as_numpy(root.discount, "discount", (rows,)), as_numpy(root.value, "value", (rows,))
        finite = plant(self.I, self.F, self.P, discount, value, self.logits_of(root, rows))
        if finite < min(rows, 1):
            raise ModelError("the model's start has no finite value, or a discount that is not finite")

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

    def places_of(self, answer: Expansion, rows: int) -> tuple[int, ...]:
        """Addresses of reward, discount, value [K] and logits (0: none) of an answer of plain tensors without merged or
        dead leaves; empty for any other, which is `numbers_of`'s to check and convert."""
        if answer.duplicate_of is not None or answer.dead_end is not None:
            return ()
        shape = (rows,)
        reward, discount, value = answer.reward, answer.discount, answer.value
        places = place_of(reward, shape), place_of(discount, shape), place_of(value, shape)
        if self.slots == 0 or answer.logits is None:
            return (*places, 0) if all(places) else ()
        logits = place_of(answer.logits, (rows, self.slots))
        return (*places, logits) if logits and all(places) else ()

    def numbers_of(self, answer: Expansion, rows: int) -> tuple[Any, ...]:
        """reward, discount, value [K], logits, same_as and dead of an answer, checked, as the kernels want them."""
        shape = (rows,)
        return (
            as_numpy(answer.reward, "reward", shape),
            as_numpy(answer.discount, "discount", shape),
            as_numpy(answer.value, "value", shape),
            self.logits_of(answer, rows),
            NO_SAME
            if answer.duplicate_of is None
            else as_numpy(answer.duplicate_of, "duplicate_of", shape).astype(np.int32),
            ALL_ALIVE if answer.dead_end is None else as_numpy(answer.dead_end, "dead_end", shape) != 0,
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
        ids = solutions(self.I, row)
        returns, visits = self.F[row, ids, RETURN].tolist(), self.I[row, ids, VISITS].tolist()
        return [Finished(n, (r - base) / scale, v) for n, r, v in zip(ids.tolist(), returns, visits)]

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
        return int(best_solution(self.I, self.F, row))

    def best_answer(self, row: int) -> int:
        """The best solution, or where there is none the leaf to complete."""
        best = self.best_finished(row)
        return best if best >= 0 else self.best_open(row)
