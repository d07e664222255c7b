"""Beam search: open a whole frontier, keep the best of what it reached, go one step deeper.

Here belong the planner's settings, the sweeps and the choice of what a frontier keeps. Records are `tree.py`'s, model
calls the driver's. Nothing is backed up: a state counts for its return so far plus its discounted value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .interface import (
    ActionSpace,
    EdgeQuery,
    Evaluate,
    Expansion,
    IndexedActions,
    Int,
    Keys,
    SampledActions,
    Size,
    action_count,
)
from .jit import njit
from .records import (
    BUDGET,
    CHILDREN,
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
    OPENED,
    ORDER,
    PARENT,
    RAW,
    RETURN,
    ROOT,
    RUNNING,
    SLOT,
    STALLED,
    STATUS,
    TERMINAL,
    open_slot,
)
from .tree import Tree
from .tree_search import TreeSearch, shares

BEAM, WIDTH, LAYER, COUNT, BEAM_CUT, WIDTH_CUT, REACHED = range(7)
"""Words of a row's sweep, int32 T [B, 7]: its two widths, the frontier's depth and size, whether either width has left
anything out, and the deepest layer that any sweep completed."""

GROW_BEAM, GROW_WIDTH, HORIZON, TREES, CAP = range(5)
"""Words of the settings, int64 S: which widths grow, deepest layer (0: no limit), DVTS's sub-beams, widest width."""


NOTHING = EdgeQuery(*np.empty((4, 0), np.int32))
"""The query of a search whose every row waits for answers."""


@njit
def restart(I: Any, T: Any, front: Any, b: int) -> None:
    """Begin a sweep of row b at its root: the only node of its frontier, front [B, 2, N] (node, sub-beam)."""
    T[b, LAYER], T[b, COUNT], T[b, BEAM_CUT], T[b, WIDTH_CUT] = 0, 1, 0, 0
    front[b, 0, 0], front[b, 1, 0] = I[b, I.shape[1] - 1, ROOT], 0


@njit
def open_layer(
    I: Any, F: Any, P: Any, T: Any, S: Any, front: Any, b: int, left: int, out: Any, count: int
) -> tuple[int, bool]:
    """Open what the frontier's nodes still lack of their distinct children, the best node first, two draws a child at
    most. Returns how many edges were opened into `out` from `count` on, and whether room or ids cut it short."""
    width = S[TREES] if S[TREES] > 1 and T[b, LAYER] == 0 else T[b, WIDTH]
    opened = 0
    for k in range(T[b, COUNT]):
        node = front[b, 0, k]
        while I[b, node, NEXT_SLOT] >= 0 and I[b, node, CHILDREN] < width and I[b, node, DRAWS] < 2 * width:
            child = open_slot(I, F, P, b, node, I[b, node, NEXT_SLOT]) if opened < left else -1
            if child < 0:
                return opened, True
            at = count + opened
            out[0, at], out[1, at], out[2, at], out[3, at] = b, node, I[b, child, SLOT], child
            opened += 1
    return opened, False


@njit
def gather(I: Any, F: Any, T: Any, S: Any, front: Any, pool: Any, cost: Any, b: int) -> int:
    """The frontier's open children, by parent and slot, into pool [2, N] (node, sub-beam), minus their worth into
    cost [N]; returns how many."""
    first_of_trees = S[TREES] > 1 and T[b, LAYER] == 0
    found = 0
    for k in range(T[b, COUNT]):
        node, start = front[b, 0, k], found
        if I[b, node, NEXT_SLOT] >= 0 and not first_of_trees:
            T[b, WIDTH_CUT] = 1
        child = I[b, node, FIRST]
        while child >= 0:
            if I[b, child, STATUS] == OPENED and I[b, child, TERMINAL] == ONGOING:
                at = found
                while at > start and I[b, pool[0, at - 1], SLOT] > I[b, child, SLOT]:
                    pool[0, at] = pool[0, at - 1]
                    at -= 1
                pool[0, at] = child
                found += 1
            child = I[b, child, NEXT]
        for at in range(start, found):
            n = pool[0, at]
            pool[1, at] = at if first_of_trees else front[b, 1, k]
            cost[at] = -(F[b, n, RETURN] + F[b, n, GAMMA] * F[b, n, RAW])
    return found


@njit
def deepen(I: Any, F: Any, T: Any, S: Any, front: Any, b: int) -> None:
    """The layer is complete: its best open states, at most BEAM per sub-beam, become the frontier. Ties go to the
    child of the better parent, then to the lower slot, so that neither drops nor the order of tells matters."""
    header = I.shape[1] - 1
    pool, cost = np.empty((2, I[b, header, NEXT_NODE]), np.int32), np.empty(I[b, header, NEXT_NODE])
    found = gather(I, F, T, S, front, pool, cost, b)
    T[b, LAYER] += 1
    T[b, REACHED] = max(T[b, REACHED], T[b, LAYER])
    members = np.zeros(max(S[TREES], 1), np.int32)
    kept = 0
    for at in np.argsort(cost[:found], kind="mergesort"):
        tree = pool[1, at]
        if members[tree] < T[b, BEAM]:
            members[tree] += 1
            front[b, 0, kept], front[b, 1, kept] = pool[0, at], tree
            kept += 1
    if kept < found:
        T[b, BEAM_CUT] = 1
    T[b, COUNT] = kept


@njit
def widen(T: Any, S: Any, b: int) -> int:
    """After a sweep: RUNNING with the next wider pair, (1, 1) (1, 2) (2, 2) (2, 4) (4, 4) ..., or the reason to stop.

    A sweep that left nothing out has opened all there is; one whose widths are given is the only one.
    """
    by_beam, by_width = S[GROW_BEAM] > 0, S[GROW_WIDTH] > 0
    if not ((by_beam and T[b, BEAM_CUT] == 1) or (by_width and T[b, WIDTH_CUT] == 1)):
        return EXHAUSTED
    word = WIDTH if by_width and (not by_beam or T[b, WIDTH] <= T[b, BEAM]) else BEAM
    if T[b, word] >= S[CAP]:
        return STALLED
    T[b, word] = min(2 * T[b, word], S[CAP])
    return RUNNING


@njit
def sweep(I: Any, F: Any, P: Any, T: Any, S: Any, front: Any, remaining: Any, stop_reason: Any, out: Any) -> Any:
    """The next layer of every row that waits for no answer, int32 [4, K] (row, parent, slot, node); `out` [4, B * N] is
    written on the way.

    Layers that were opened by earlier sweeps are walked at no cost until something new is wanted.
    """
    header = I.shape[1] - 1
    count = 0
    for b in range(I.shape[0]):
        if I[b, I[b, header, ROOT], TERMINAL] != ONGOING and stop_reason[b] == RUNNING:
            stop_reason[b] = EXHAUSTED
        while stop_reason[b] == RUNNING and I[b, header, FLYING] == 0:
            opened, cut = open_layer(I, F, P, T, S, front, b, remaining[b], out, count)
            count += opened
            if opened > 0:
                break
            if cut:
                stop_reason[b] = BUDGET
                break
            deepen(I, F, T, S, front, b)
            if T[b, COUNT] == 0 or T[b, LAYER] == S[HORIZON]:
                stop_reason[b] = widen(T, S, b)
                restart(I, T, front, b)
    return out[:, :count].copy()


@njit
def last_slot(I: Any, b: int) -> int:
    """The highest slot of row b's root that leads to an answered node, -1 for none."""
    last, child = -1, I[b, I[b, I.shape[1] - 1, ROOT], FIRST]
    while child >= 0:
        if I[b, child, STATUS] == OPENED:
            last = max(last, I[b, child, SLOT])
        child = I[b, child, NEXT]
    return last


@njit
def nodes_below(I: Any, b: int, share: Any) -> None:
    """How many answered nodes lie below each slot of the root of row b, into share [A]."""
    header = I.shape[1] - 1
    root = I[b, header, ROOT]
    for n in range(I[b, header, NEXT_NODE]):
        if I[b, n, STATUS] != OPENED or n == root:
            continue
        node = n
        while I[b, node, PARENT] != root:
            node = I[b, node, PARENT]
        share[I[b, node, SLOT]] += 1


@njit
def best_end(I: Any, F: Any, b: int, layer: int) -> int:
    """Of the finished, the stuck and the open states of one layer the one of the largest return so far plus discounted
    value, ties to the lower id; -1 where there is none."""
    best, most = -1, -np.inf
    for n in range(I[b, I.shape[1] - 1, NEXT_NODE]):
        if I[b, n, STATUS] != OPENED or I[b, n, ORDER] == 0 or I[b, n, TERMINAL] == DEAD:
            continue
        going = I[b, n, TERMINAL] == ONGOING and (I[b, n, NEXT_SLOT] >= 0 or I[b, n, FIRST] >= 0)
        worth = F[b, n, RETURN] + F[b, n, GAMMA] * F[b, n, RAW]
        if worth > most and (not going or I[b, n, DEPTH] == layer):
            best, most = n, worth
    return best


def affordable(nodes: int, children: int, horizon: int) -> int:
    """The widest beam whose sweep of `horizon` layers takes at most `nodes`; at least 1."""

    def cost(beam: int) -> int:
        layer, total = 1, 0
        for _ in range(horizon):
            total += layer * children
            layer = min(beam, layer * children)
        return total

    low, high = 1, max(2, nodes)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= nodes else (low, middle)
    return low


@dataclass(frozen=True)
class Beam:
    """Breadth-first search with a beam (Tree of Thoughts, Yao et al. 2023, algorithm 1) over `DiscreteActions` or `SampledActions`.

    beam, children: how many states a frontier keeps and how many distinct children each of them gets (draws are capped
        at twice that). Both given, as in `Beam(beam=5, children=3)`, is Tree of Thoughts' BFS: one sweep. A width that
        is None grows: sweep follows sweep on the same tree, (1, 1) (1, 2) (2, 2) (2, 4) (4, 4) ..., each paying only
        for what is new, until the budget is gone. Over `DiscreteActions(n)` children None means all n (with priors alike, the
        first few would be an arbitrary few), and the beam starts as wide as a budget in nodes can complete.
    horizon: deepest layer; None: until nothing is open for `SampledActions()`, 16 for `DiscreteActions(n)`, where nothing may end.
    trees: that many children of the root, each with a beam of its own: diverse verifier tree search (Beeching et al.
        2024, "Scaling test-time compute with open models").
    evaluate: which states the model is to judge.
    """

    beam: int | None = None
    children: int | None = None
    horizon: int | None = None
    trees: int = 1
    evaluate: Evaluate = "all"

    def __post_init__(self) -> None:
        for name in ("beam", "children", "horizon", "trees"):
            given = getattr(self, name)
            if given is not None and given < 1:
                raise ValueError(f"{name} is at least 1, got {given}")

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: Any | None = None
    ) -> BeamSearch:
        """Start a search; nothing in it is random, and nothing is carried over. ValueError for `BoxActions`."""
        if not isinstance(actions, IndexedActions):
            raise ValueError(
                "Beam wants indexed actions; offer the vectors of BoxActions one by one: DiscretizedActions(model, n)"
            )
        return BeamSearch(self, root, actions, size)

    def widths(self, slots: IndexedActions, size: Size) -> tuple[int, int, int]:
        """The first sweep's beam and children, and the deepest layer (0: no limit)."""
        if isinstance(slots, SampledActions):
            return self.beam or 1, self.children or 1, self.horizon or 0
        children, horizon = min(self.children or slots.n, slots.n), self.horizon or 16
        start = affordable(size.nodes, children, horizon) if size.exact and self.trees == 1 else 1
        return self.beam or start, children, horizon


class BeamSearch(TreeSearch):
    """One run of `Beam` over B problems; see `interface.Search`. One frontier of each row is in flight at a time."""

    def __init__(self, planner: Beam, root: Expansion, actions: IndexedActions, size: Size) -> None:
        self.planner, self.actions = planner, actions
        super().__init__(Tree(root, size.nodes + 1, action_count(actions)))
        beam, children, horizon = planner.widths(actions, size)
        grow = planner.beam is None, planner.children is None and isinstance(actions, SampledActions)
        cap = max(self.tree.nodes, beam, children)
        self.flying = self.tree.header(FLYING)
        self.settings = np.array([*grow, horizon, planner.trees, cap], np.int64)
        self.sweeps = np.zeros((self.rows, 7), np.int32)
        self.sweeps[:, :2] = beam, children
        self.front = np.empty((self.rows, 2, self.tree.nodes), np.int32)
        self.out = np.empty((4, self.rows * self.tree.nodes), np.int32)
        for b in range(self.rows):
            restart(self.tree.I, self.sweeps, self.front, b)

    def ask(self, remaining: Int) -> EdgeQuery:
        if self.rows == 0 or (self.flying[0] and self.flying.all()):
            return NOTHING
        tree = self.tree
        found = sweep(
            tree.I, tree.F, tree.P, self.sweeps, self.settings, self.front, remaining, self.why_codes, self.out
        )  # fmt: skip
        return self._asked(remaining, found, False, self.planner.evaluate)

    def _worth(self, row: int, path: list[int]) -> float:
        """Return so far plus discounted value."""
        word = self.tree.F[row, path[-1]]
        return float(word[RETURN] + word[GAMMA] * word[RAW])

    def _best(self, row: int) -> int:
        """Of `SampledActions()` the best finished leaf, else the best open one. Of `DiscreteActions(n)` the best of the finished, the
        stuck and the deepest complete layer: states of one depth, since among costs every shallow state looks best."""
        if isinstance(self.actions, SampledActions):
            return self.tree.best_answer(row)
        tree, layer = self.tree, int(self.sweeps[row, REACHED])
        if layer == 0:
            layer = int(tree.I[row, : tree.nodes, DEPTH].max())
        while (best := best_end(tree.I, tree.F, row, layer)) < 0 and layer > 0:
            layer -= 1
        return best if best >= 0 else int(tree.root[row])

    def weights(self) -> NDArray[np.float32]:
        """[B, A] shares of the nodes below each slot of the roots."""
        tree = self.tree
        wide = tree.slots or max([1, *(1 + last_slot(tree.I, b) for b in range(self.rows))])
        weights = np.zeros((self.rows, wide), np.float32)
        for b in range(self.rows):
            nodes_below(tree.I, b, weights[b])
        return shares(weights)


BFS = Beam
