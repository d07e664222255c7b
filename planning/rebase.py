"""Reward balanced search: a frontier's states share a width among them by how good they look.

Wu et al. 2024, "Inference Scaling Laws", section 3.2 and algorithm 1. Where a beam keeps the best few and gives each as
many children, here a good state gets many and a bad one few or none, and every solution that ends frees nothing: its
share of the width is spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .beam import REACHED, BeamSearch
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
from .records import (
    BUDGET,
    CHILDREN,
    DRAWS,
    EXHAUSTED,
    FLYING,
    GAMMA,
    NEXT_SLOT,
    ONGOING,
    RAW,
    RETURN,
    RUNNING,
    STALLED,
    TERMINAL,
    open_slot,
)
from .tree import Tree
from .tree_search import TreeSearch


@dataclass(frozen=True)
class Rebase:
    """Reward balanced search (Wu et al. 2024) over `DiscreteActions` or `SampledActions`.

    width: solutions that a sweep is after, their N; the root gets as many distinct children, and of a frontier state
        j gets N' exp(R_j / temperature) / sum, R being its return so far plus discounted value and N' the width less
        the solutions and dead ends so far. None: 1, 2, 4, ... one sweep after the other on the same tree, each paying
        only for what is new, until the budget is gone.
    temperature: their T_b; 0.2 in their experiments, for values in [0, 1].
    horizon: deepest layer; None: until nothing is open for `SampledActions()`, 16 for `DiscreteActions(n)`.
    evaluate: which states the model is to judge.
    """

    width: int | None = None
    temperature: float = 0.2
    horizon: int | None = None
    evaluate: Evaluate = "all"

    def __post_init__(self) -> None:
        for name in ("width", "horizon"):
            given = getattr(self, name)
            if given is not None and given < 1:
                raise ValueError(f"{name} is at least 1, got {given}")
        if not self.temperature > 0:
            raise ValueError(f"temperature is above 0, got {self.temperature}")

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: Any | None = None
    ) -> RebaseSearch:
        """Start a search; nothing in it is random, and nothing is carried over. ValueError for `BoxActions`."""
        if not isinstance(actions, IndexedActions):
            raise ValueError(
                "Rebase wants indexed actions; offer the vectors of BoxActions one by one: DiscretizedActions(model, n)"
            )
        return RebaseSearch(self, root, actions, size)


class RebaseSearch(BeamSearch):
    """One run of `Rebase` over B problems; its plan is read off the tree as a beam's is.

    front: per row the frontier's states with their shares of the width. One frontier is in flight at a time.
    """

    def __init__(self, planner: Any, root: Expansion, actions: IndexedActions, size: Size) -> None:
        TreeSearch.__init__(self, Tree(root, size.nodes + 1, action_count(actions)))
        self.rebase: Rebase = planner
        self.planner, self.actions = planner, actions
        self.horizon = planner.horizon or (0 if isinstance(actions, SampledActions) else 16)
        self.width = [planner.width or 1] * self.rows
        self.sweeps = np.zeros((self.rows, 7), np.int32)
        self.shared: list[list[tuple[int, int]]] = [[] for _ in range(self.rows)]
        self.layer, self.ended, self.left_out = [0] * self.rows, [0] * self.rows, [False] * self.rows
        for b in range(self.rows):
            self._restart(b)

    def ask(self, remaining: Int) -> EdgeQuery:
        found: list[tuple[int, int, int, int]] = []
        for b in range(self.rows):
            if self.why_codes[b] == RUNNING and self.tree.header(FLYING)[b] == 0:
                found += self._ask_row(b, min(int(remaining[b]), self.tree.nodes))
        out = np.array(found, np.int32).reshape(-1, 4).T.copy()
        return self._asked(remaining, out, False, self.planner.evaluate)

    def _ask_row(self, b: int, remaining: int) -> list[tuple[int, int, int, int]]:
        """The next edges of a row; layers that earlier sweeps opened are walked at no cost."""
        if self.tree.I[b, self.tree.root[b], TERMINAL] != ONGOING:
            self.why_codes[b] = EXHAUSTED
        while self.why_codes[b] == RUNNING:
            opened, cut = self._open_layer(b, remaining)
            if opened:
                return opened
            if cut:
                self.why_codes[b] = BUDGET
                break
            self._deepen(b)
            if not self.shared[b] or self.layer[b] == self.horizon:
                self.why_codes[b] = self._widen(b)
                self._restart(b)
        return []

    def _open_layer(self, b: int, remaining: int) -> tuple[list[tuple[int, int, int, int]], bool]:
        """Open what each state of the frontier lacks of its share of distinct children, two draws a child at most; and
        whether room or ids cut that short."""
        tree = self.tree
        opened: list[tuple[int, int, int, int]] = []
        for node, share in self.shared[b]:
            word = tree.I[b, node]
            while word[NEXT_SLOT] >= 0 and word[CHILDREN] < share and word[DRAWS] < 2 * share:
                slot = int(word[NEXT_SLOT])
                child = open_slot(tree.I, tree.F, tree.P, b, node, slot) if len(opened) < remaining else -1
                if child < 0:
                    return opened, True
                opened.append((b, node, slot, child))
        return opened, False

    def _deepen(self, b: int) -> None:
        """The layer is complete: its open children share what the ended ones have left of the width."""
        tree, children = self.tree, []
        for node, share in self.shared[b]:
            below = tree.children(b, node)
            self.left_out[b] |= len(below) > share or tree.I[b, node, NEXT_SLOT] >= 0
            children += below[:share]
        going = [child for child in children if tree.I[b, child, TERMINAL] == ONGOING]
        self.ended[b] += len(children) - len(going)
        worth = [float(tree.F[b, n, RETURN] + tree.F[b, n, GAMMA] * tree.F[b, n, RAW]) for n in going]
        split = shared_out(max(0, self.width[b] - self.ended[b]), worth, self.rebase.temperature)
        self.left_out[b] |= 0 in split
        self.shared[b] = [(child, share) for child, share in zip(going, split) if share]
        self.layer[b] += 1
        self.sweeps[b, REACHED] = max(self.sweeps[b, REACHED], self.layer[b])

    def _widen(self, b: int) -> int:
        """After a sweep: RUNNING at twice the width, or the reason to stop."""
        if not self.left_out[b] or self.rebase.width is not None:
            return EXHAUSTED
        self.width[b] *= 2
        return STALLED if self.width[b] > 2 * self.tree.nodes else RUNNING

    def _restart(self, b: int) -> None:
        """Begin a sweep at the root, which has all of the width."""
        self.shared[b] = [(int(self.tree.root[b]), self.width[b])]
        self.layer[b], self.ended[b], self.left_out[b] = 0, 0, False


def shared_out(width: int, worth: Sequence[float], temperature: float) -> list[int]:
    """`width` divided in proportion to exp(worth / temperature), whole numbers with exactly that sum.

    The best is served first and gets at least one, each rounded within what is left; of equals the earlier is better.
    """
    if not len(worth):
        return []
    weights = np.exp((np.asarray(worth, np.float64) - max(worth)) / temperature)
    split, mass = np.zeros(len(worth), np.int64), float(weights.sum())
    for place, i in enumerate(np.argsort(-weights, kind="stable")):
        share = int(np.floor(width * weights[i] / mass + 0.5)) if mass > 0 else 0
        split[i] = min(width, max(share, int(place == 0)))
        width, mass = width - int(split[i]), mass - float(weights[i])
    return [int(share) for share in split]
