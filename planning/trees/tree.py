"""A batch of trees: made from the roots, filled by kernels, and read by Python. `nodes.py` describes its memory."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..interface import Expansion, Finished, Int, ModelError
from .leaves import init_roots
from .nodes import DUPLICATE, EVALUATED, ONGOING, WORDS, view_headers, view_nodes
from .reading import best_solution, solutions

FLOAT32 = np.dtype(np.float32)
NO_SAME = np.zeros(0, np.int32)
ALL_ALIVE = np.zeros(0, np.bool_)
NO_LOGITS = np.zeros((0, 0), np.float32)


def as_numpy(x: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """`x` as a contiguous float32 numpy array of exactly `shape`.

    Errors: ModelError naming the field `name` if the shape is another.
    """
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
    if x.dtype.kind not in "fiub":
        raise ModelError(f"the model's {name} holds no numbers: its type is {x.dtype}")
    if (x.dtype is not FLOAT32 and x.dtype != FLOAT32) or not x.flags.carray:
        # the kernels would be compiled once more for an array that is strided or read-only
        x = np.array(x, np.float32, order="C")
    return x


def address_of(x: Any, shape: tuple[int, ...]) -> int:
    """The address of a contiguous float32 tensor of `shape` on the CPU, 0 for anything else.

    A `torch.FloatTensor` is such a tensor unless it is strided: it is neither sparse nor lazily conjugated or negated.
    """
    if isinstance(x, torch.FloatTensor) and x.shape == shape and x.is_contiguous():
        return x.data_ptr()
    return 0


def root_faults(logits: NDArray[np.float32], discount: NDArray[np.float32]) -> dict[int, str]:
    """For each row whose root cannot be planned from what is wrong with its discount or its logits ([0, 0]: none)."""
    faults = dict.fromkeys(np.flatnonzero(~np.isfinite(discount)).tolist(), "the root's discount is not finite")
    if not logits.size:
        return faults
    ongoing = np.isfinite(discount) & (discount != 0)
    missing = np.flatnonzero(ongoing & ~np.isfinite(logits).any(1))
    wrong = np.flatnonzero(ongoing & np.isnan(logits).any(1))
    faults |= dict.fromkeys(missing.tolist(), "the root has no action")
    return faults | dict.fromkeys(wrong.tolist(), "the root's logits are NaN")


class Tree:
    """B trees of at most `capacity` nodes each, roots included, with `n_actions` actions a node (0: unbounded).

    block: int32 [B, capacity + 1, WORDS], what kernels take. priors: float32 [B, capacity, n_actions].
    faults: what is wrong with the roots that cannot be planned from.
    nodes, headers: the same memory as structured arrays, `tree.nodes["visits"][row, node]`.
    """

    def __init__(self, root: Expansion, capacity: int, n_actions: int) -> None:
        rows = len(root.value)
        self.rows, self.capacity, self.n_actions = rows, capacity, n_actions
        self.block = np.zeros((rows, capacity + 1, WORDS), np.int32)
        self.priors = np.zeros((rows, capacity, n_actions), np.float32)
        discount, value = as_numpy(root.discount, "discount", (rows,)), as_numpy(root.value, "value", (rows,))
        logits = self.logits_of(root, rows)
        self.faults = root_faults(logits, discount)
        finite = init_roots(self.block, self.priors, np.nan_to_num(discount, posinf=0, neginf=0), value, logits)
        if not finite and rows:
            raise ModelError("the model's start has no finite value")

    @cached_property
    def nodes(self) -> Any:
        """The nodes' records [B, capacity] (`nodes.NODE`), a view of `block`."""
        return _plain(view_nodes)(self.block)[:, : self.capacity]

    @cached_property
    def headers(self) -> Any:
        """The rows' headers [B] (`nodes.HEADER`), a view of `block`."""
        return _plain(view_headers)(self.block)

    def __getstate__(self) -> dict[str, Any]:
        """All but the views, which a copy would separate from the block."""
        return {name: x for name, x in self.__dict__.items() if name not in ("nodes", "headers")}

    def restart(self, root: Expansion, rows: Any) -> None:
        """Make new trees in the rows at these places (int [M]) from their part of `root` [B]."""
        fresh = Tree(root, 1, self.n_actions)
        self.faults = {row: fault for row, fault in fresh.faults.items() if row in rows}
        self.block[rows], self.priors[rows] = 0, 0
        self.block[rows, 0], self.block[rows, self.capacity] = fresh.block[rows, 0], fresh.block[rows, 1]
        self.priors[rows, 0] = fresh.priors[rows, 0]

    def logits_of(self, answer: Expansion, rows: int) -> NDArray[np.float32]:
        """[K, A] logits of an answer; [0, 0] where the model has none."""
        if self.n_actions == 0 or answer.logits is None:
            return NO_LOGITS
        return as_numpy(answer.logits, "logits", (rows, self.n_actions))

    def addresses_of(self, answer: Expansion, rows: int) -> tuple[int, ...]:
        """Addresses of reward, discount, value [K] and logits (0: none) of an answer.

        Empty for all but float32 tensors on the CPU without `duplicate_of` and `dead_end`; `arrays_of` converts others.
        """
        if answer.duplicate_of is not None or answer.dead_end is not None:
            return ()
        shape = (rows,)
        reward, discount, value = answer.reward, answer.discount, answer.value
        found = address_of(reward, shape), address_of(discount, shape), address_of(value, shape)
        if self.n_actions == 0 or answer.logits is None:
            return (*found, 0) if all(found) else ()
        logits = address_of(answer.logits, (rows, self.n_actions))
        return (*found, logits) if logits and all(found) else ()

    def arrays_of(self, answer: Expansion, rows: int) -> tuple[Any, ...]:
        """reward, discount, value [K], logits, duplicate_of and dead_end of an answer, as the kernels take them.

        Errors: ModelError naming the field that has a wrong shape, or node ids that are not in the tree.
        """
        shape = (rows,)
        return (
            as_numpy(answer.reward, "reward", shape),
            as_numpy(answer.discount, "discount", shape),
            as_numpy(answer.value, "value", shape),
            self.logits_of(answer, rows),
            NO_SAME if answer.duplicate_of is None else self._duplicates(answer.duplicate_of, shape),
            ALL_ALIVE if answer.dead_end is None else as_numpy(answer.dead_end, "dead_end", shape) != 0,
        )

    def _duplicates(self, duplicate_of: Int, shape: tuple[int, ...]) -> Int:
        """Node ids [K] of earlier siblings, -1 where there is none, within the tree."""
        ids = as_numpy(duplicate_of, "duplicate_of", shape).astype(np.int32)
        if ((ids < -1) | (ids >= self.capacity)).any():
            raise ModelError(f"duplicate_of has ids outside -1 .. {self.capacity - 1}")
        return ids

    @property
    def root(self) -> Int:
        """[B] node id of each row's root."""
        root: Int = self.headers["root"]
        return root

    def path(self, row: int, node: int) -> list[int]:
        """Node ids from the root to `node`, both included."""
        parents, root = self.nodes["parent"][row], self.root[row]
        path = [node]
        while path[-1] != root:
            path.append(int(parents[path[-1]]))
        return path[::-1]

    def actions_along(self, row: int, path: list[int]) -> Int:
        """The actions along a path from the root, int32 [length - 1]."""
        actions: Int = self.nodes["action"][row, path[1:]]
        return actions

    def children(self, row: int, node: int) -> list[int]:
        """Ids of the evaluated children of a node in order of their actions, duplicates left out."""
        nodes = self.nodes[row]
        status, following, action = nodes["status"], nodes["next_sibling"], nodes["action"]
        found, child = [], int(nodes["first_child"][node])
        while child >= 0:
            if status[child] == EVALUATED:
                found.append(child)
            child = int(following[child])
        return sorted(found, key=lambda c: int(action[c]))

    def evaluated(self, row: int) -> list[int]:
        """Ids of all evaluated nodes and duplicates but the first root, in the order of their answers."""
        nodes = self.nodes[row]
        status, order = nodes["status"], nodes["event_index"]
        ids = np.flatnonzero(((status == EVALUATED) | (status == DUPLICATE)) & (order > 0))
        return [int(n) for n in ids[np.argsort(order[ids], kind="stable")]]

    def finished(self, row: int) -> list[Finished]:
        """Every solution with its discounted return from the root, in the order of their answers."""
        if self.headers["solutions"][row] == 0:
            return []
        nodes = self.nodes[row]
        ids = solutions(self.block, row)
        returns, visits = nodes["path_return"][ids].tolist(), nodes["visits"][ids].tolist()
        return [Finished(n, r, v) for n, r, v in zip(ids.tolist(), returns, visits)]

    def path_value(self, row: Any, node: Any) -> Any:
        """Return from the root to `node` plus the discounted value there, float32; works on arrays too."""
        nodes = self.nodes[row, node]
        return nodes["path_return"] + nodes["path_discount"] * nodes["prior_value"]

    def best_open(self, row: int) -> int:
        """The unfinished leaf of the largest path value, ties to the deeper, then to the lower id; else the root."""
        terminal, status, depth = (self.nodes[name][row] for name in ("terminal", "status", "depth"))
        leaves = [n for n in self.evaluated(row) if terminal[n] == ONGOING and status[n] == EVALUATED]
        leaves = [n for n in leaves if not self.children(row, n)]
        if not leaves:
            return int(self.root[row])
        return max(leaves, key=lambda n: (float(self.path_value(row, n)), int(depth[n]), -n))

    def best_finished(self, row: int) -> int:
        """The solution of the largest return, the earliest of equals; -1 where there is none."""
        return int(best_solution(self.block, row))

    def best_answer(self, row: int) -> int:
        """The best solution, or where there is none the leaf to complete."""
        best = self.best_finished(row)
        return best if best >= 0 else self.best_open(row)


def _plain(kernel: Any) -> Any:
    """The Python function of a kernel; called compiled, it would return structured arrays slowly."""
    return getattr(kernel, "py_func", kernel)
