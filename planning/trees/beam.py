"""Beam search: open a whole layer, keep the best of the states it reached, go one step deeper.

Here are the planner's settings and the search that the driver calls; the passes are in `beam_kernels.py`.
"""

from __future__ import annotations

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
from ..settings_checks import check_choices, check_integers
from ..spaces import indexed_only
from .beam_kernels import BEAM_SETTINGS, PASS, next_layers, start_passes
from .layers import LayeredSearch

NOTHING = EdgeQuery(*np.empty((4, 0), np.int32))
"""The query of a search whose every row waits for answers."""


def affordable(nodes: int, children: int, horizon: int) -> int:
    """The widest beam whose pass of `horizon` layers takes at most `nodes`; at least 1."""

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
    """Breadth-first search with a beam (Tree of Thoughts, Yao et al. 2023, algorithm 1) over indexed actions.

    beam, children: how many states a layer keeps and how many distinct children each of them gets (samples are capped
        at twice that). Both given, as in `Beam(beam=5, children=3)`, is Tree of Thoughts' BFS, in one pass. A width
        that is None grows: pass follows pass on the same tree, (1, 1) (1, 2) (2, 2) (2, 4) (4, 4) ..., each paying
        only for what is new, until the budget is used up. Over `DiscreteActions(n)` children None means all n (with
        equal priors the first few would be an arbitrary few), and the beam starts as wide as a budget in nodes can
        complete.
    horizon: deepest layer; None: until nothing is open for `SampledActions()`, 16 for `DiscreteActions(n)`, whose
        episodes may never end.
    trees: that many children of the root get a beam of their own: diverse verifier tree search (Beeching et al. 2024,
        "Scaling test-time compute with open models").
    evaluate: which states the model is to judge.
    """

    beam: int | None = None
    children: int | None = None
    horizon: int | None = None
    trees: int = 1
    evaluate: Evaluate = "all"

    def __post_init__(self) -> None:
        check_integers(self, 1, "beam", "children", "horizon", optional=True)
        check_integers(self, 1, "trees")
        check_choices(self, evaluate=EVALUATIONS)

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: WarmStartable | None = None
    ) -> BeamSearch:
        """Start a search; nothing in it is random, and nothing is carried over.

        Errors: ValueError for `BoxActions`.
        """
        return BeamSearch(self, root, indexed_only(actions, "Beam"), size)

    def widths(self, actions: IndexedActions, size: Size) -> tuple[int, int, int]:
        """The first pass's beam and children, and the deepest layer (0: no limit)."""
        if isinstance(actions, SampledActions):
            return self.beam or 1, self.children or 1, self.horizon or 0
        children, horizon = min(self.children or actions.n, actions.n), self.horizon or 16
        start = affordable(size.nodes, children, horizon) if size.exact and self.trees == 1 else 1
        return self.beam or start, children, horizon


class BeamSearch(LayeredSearch):
    """One run of `Beam` over B problems; see `interface.Search`.

    passes [B]: how far each row's pass has come (`beam_kernels.PASS`). frontiers: int32 [B, 2, N].
    """

    def __init__(self, planner: Beam, root: Expansion, actions: IndexedActions, size: Size) -> None:
        self.planner = planner
        super().__init__(root, actions, size)
        beam, children, horizon = planner.widths(actions, size)
        capacity = self.tree.capacity
        self.settings = np.zeros(1, BEAM_SETTINGS)
        self.settings["grow_beam"] = planner.beam is None
        self.settings["grow_width"] = planner.children is None and isinstance(actions, SampledActions)
        self.settings["horizon"], self.settings["subtrees"] = horizon, planner.trees
        self.settings["limit"] = max(capacity, beam, children)
        self.passes = np.zeros(self.rows, PASS)
        self.passes["beam"], self.passes["width"] = beam, children
        self.frontiers = np.empty((self.rows, 2, capacity), np.int32)
        self.out = np.empty((4, self.rows * capacity), np.int32)
        start_passes(self.tree.block, self.passes.view(np.int32), self.frontiers)

    def ask(self, remaining: Int) -> EdgeQuery:
        in_flight = self.tree.headers["in_flight"]
        if self.rows == 0 or (in_flight[0] and in_flight.all()):
            return NOTHING
        tree = self.tree
        leaves = next_layers(
            tree.block, tree.priors, self.passes.view(np.int32), self.settings.view(np.int64), self.frontiers,
            remaining, self.stop_codes, self.out,
        )  # fmt: skip
        return self._asked(remaining, leaves, False, self.planner.evaluate)

    def _deepest(self, row: int) -> int:
        return int(self.passes["deepest"][row])


BFS = Beam
"""`Beam` by the name for its defaults: breadth-first search whose width grows until the budget is used up."""
