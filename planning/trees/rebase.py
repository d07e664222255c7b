"""Reward balanced search: a frontier's states share a width among them in proportion to exp(value / temperature).

Wu et al. 2024, "Inference Scaling Laws", section 3.2 and algorithm 1. A beam keeps the best few states and gives each
as many children; here a good state gets many and a bad one few or none, and the share of a state that ends is not given
to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..interface import (
    ActionSpace,
    EdgeQuery,
    Evaluate,
    Expansion,
    IndexedActions,
    Int,
    Keys,
    SampledActions,
    Size,
    WarmStartable,
)
from ..messages import EVALUATIONS
from ..settings_checks import check_choices, check_integers, check_numbers
from ..spaces import indexed_only
from .layers import LayeredSearch
from .nodes import BUDGET, EXHAUSTED, ONGOING, RUNNING, STALLED
from .rebase_kernels import open_children

Leaf = tuple[int, int, int, int]
"""Row, parent, action and node of a leaf."""


@dataclass(frozen=True)
class Rebase:
    """Reward balanced search (Wu et al. 2024) over `DiscreteActions` or `SampledActions`.

    width: how many solutions a pass looks for, N in the paper. The root gets as many distinct children, and state j of
        a frontier gets N' exp(R_j / temperature) / sum, R being its return so far plus discounted value and N' the
        width less the solutions and dead ends so far. None: 1, 2, 4, ... one pass after the other on the same tree,
        each paying only for what is new, until the budget is used up.
    temperature: T_b in the paper, in units of the value; 0.2 in its experiments, for values in [0, 1].
    horizon: deepest layer; None: until nothing is open for `SampledActions()`, 16 for `DiscreteActions(n)`.
    evaluate: which states the model is to judge.
    """

    width: int | None = None
    temperature: float = 0.2
    horizon: int | None = None
    evaluate: Evaluate = "all"

    def __post_init__(self) -> None:
        check_integers(self, 1, "width", "horizon", optional=True)
        check_numbers(self, "temperature", above=0)
        check_choices(self, evaluate=EVALUATIONS)

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: WarmStartable | None = None
    ) -> RebaseSearch:
        """Start a search; nothing in it is random, and nothing is carried over.

        Errors: ValueError for `BoxActions`.
        """
        return RebaseSearch(self, root, indexed_only(actions, "Rebase"), size)


class RebaseSearch(LayeredSearch):
    """One run of `Rebase` over B problems; see `interface.Search`.

    frontier: per row the states of the layer with their shares of the width.
    """

    def __init__(self, planner: Rebase, root: Expansion, actions: IndexedActions, size: Size) -> None:
        self.planner = planner
        super().__init__(root, actions, size)
        self.horizon = planner.horizon or (0 if isinstance(actions, SampledActions) else 16)
        self.width = [planner.width or 1] * self.rows
        self.frontier: list[list[tuple[int, int]]] = [[] for _ in range(self.rows)]
        self.layer, self.ended, self.left_out = [0] * self.rows, [0] * self.rows, [False] * self.rows
        self.deepest = [0] * self.rows
        for b in range(self.rows):
            self._restart(b)

    def ask(self, remaining: Int) -> EdgeQuery:
        found: list[Leaf] = []
        for b in range(self.rows):
            if self.stop_codes[b] == RUNNING and self.tree.headers["in_flight"][b] == 0:
                found += self._ask_row(b, min(int(remaining[b]), self.tree.capacity))
        leaves = np.array(found, np.int32).reshape(-1, 4).T.copy()
        return self._asked(remaining, leaves, False, self.planner.evaluate)

    def _ask_row(self, b: int, remaining: int) -> list[Leaf]:
        """The next leaves of a row; layers that earlier passes opened cost nothing."""
        if self.tree.nodes["terminal"][b, self.tree.root[b]] != ONGOING:
            self.stop_codes[b] = EXHAUSTED
        while self.stop_codes[b] == RUNNING:
            opened, cut = self._open_layer(b, remaining)
            if opened:
                return opened
            if cut:
                self.stop_codes[b] = BUDGET
                break
            self._share_width(b)
            if not self.frontier[b] or self.layer[b] == self.horizon:
                self.stop_codes[b] = self._increase_width(b)
                self._restart(b)
        return []

    def _open_layer(self, b: int, remaining: int) -> tuple[list[Leaf], bool]:
        """Open the children that each state of the frontier lacks of its share; whether nodes or ids ran out."""
        tree = self.tree
        leaves: list[Leaf] = []
        for node, share in self.frontier[b]:
            out = np.empty((2, max(0, remaining - len(leaves))), np.int32)
            count, cut = open_children(tree.block, tree.priors, b, node, share, out)
            leaves += [(b, node, action, child) for action, child in out[:, :count].T.tolist()]
            if cut:
                return leaves, True
        return leaves, False

    def _share_width(self, b: int) -> None:
        """Let the ongoing states of the completed layer share what ended states have left of the width."""
        tree, children = self.tree, []
        for node, share in self.frontier[b]:
            below = tree.children(b, node)
            self.left_out[b] |= len(below) > share or bool(tree.nodes["next_action"][b, node] >= 0)
            children += below[:share]
        ongoing = [child for child in children if tree.nodes["terminal"][b, child] == ONGOING]
        self.ended[b] += len(children) - len(ongoing)
        values = [float(tree.path_value(b, node)) for node in ongoing]
        split = shared_out(max(0, self.width[b] - self.ended[b]), values, self.planner.temperature)
        self.left_out[b] |= 0 in split
        self.frontier[b] = [(child, share) for child, share in zip(ongoing, split) if share]
        self.layer[b] += 1
        self.deepest[b] = max(self.deepest[b], self.layer[b])

    def _increase_width(self, b: int) -> int:
        """After a pass: RUNNING at twice the width, or the reason to stop."""
        if not self.left_out[b] or self.planner.width is not None:
            return EXHAUSTED
        self.width[b] *= 2
        return STALLED if self.width[b] > 2 * self.tree.capacity else RUNNING

    def _restart(self, b: int) -> None:
        """Begin a pass at the root, which has all of the width."""
        self.frontier[b] = [(int(self.tree.root[b]), self.width[b])]
        self.layer[b], self.ended[b], self.left_out[b] = 0, 0, False

    def _deepest(self, row: int) -> int:
        return self.deepest[row]


def shared_out(width: int, values: Sequence[float], temperature: float) -> list[int]:
    """`width` divided in proportion to exp(value / temperature), in whole numbers with exactly that sum.

    The best is served first and gets at least one, each rounded within what is left; of equals the earlier is better.
    """
    if not len(values):
        return []
    weights = np.exp((np.asarray(values, np.float64) - max(values)) / temperature)
    split, mass = np.zeros(len(values), np.int64), float(weights.sum())
    for place, i in enumerate(np.argsort(-weights, kind="stable")):
        share = int(np.floor(width * weights[i] / mass + 0.5)) if mass > 0 else 0
        split[i] = min(width, max(share, int(place == 0)))
        width, mass = width - int(split[i]), mass - float(weights[i])
    return [int(share) for share in split]
