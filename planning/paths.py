"""Best-of-N, CEM and MPPI over slots, text included: draw paths, weigh their returns, refit what they are drawn from.

The distribution is a categorical at each node of a tree (`categorical.py`); how returns become weights is the planner's
affair (`shooting.py`). Over text a refit keeps the prefixes of what scored well and resamples what follows; MPPI there
is particle resampling: prefixes survive in proportion to the weight of the solutions they led to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .categorical import (
    ADMITTED,
    BEST,
    FIRST_ACTIVE,
    FREE,
    GOAL,
    IDLE,
    ITERATION,
    NEW,
    NODE,
    PATIENCE,
    REFITS,
    UNDER_WAY,
    advance,
    close,
    refit,
    stand_back,
    worth,
)
from .interface import (
    DiscreteActions,
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
from .jit import HAVE_NUMBA
from .records import (
    AWAITED,
    CONVERGED,
    DEAD,
    EXHAUSTED,
    GAMMA,
    ONGOING,
    RAW,
    RETURN,
    RUNNING,
    SLOT,
    STALLED,
    STATUS,
    TERMINAL,
    VISITS,
)
from .shooting_settings import ShootingPlanner
from .tree import Tree
from .tree_search import TreeSearch, shares


class PathsSearch(TreeSearch):
    """One run of `BestOfN`, `CEM` or `MPPI` over slots; see `interface.Search` and the planner's settings.

    `DiscreteActions(n)`: paths of `horizon` steps; all candidates of an iteration are under way at once, as far as the room
        holds them whole. Iterations are sized as for vectors, and the last size goes on while there is budget left.
    `SampledActions()`: paths to their ends; one candidate after the other (`parallel`), each step within the budget, so
        that the last may stay unfinished and what n nodes had found can be read off a larger run.
    A `population` that is given ends the search after `iterations` of it. Planners of one iteration never refit.
    """

    def __init__(
        self,
        planner: ShootingPlanner,
        root: Expansion,
        actions: IndexedActions,
        size: Size,
        keys: Keys,
        after: Any | None = None,
    ) -> None:
        self.planner, self.actions = planner, actions
        self.keys = np.asarray(keys, np.uint64)
        super().__init__(Tree(root, size.nodes + 1, action_count(actions)))
        rows = self.rows
        self.populations, self.endless, horizon = self._schedule(size)
        most = int(max(self.populations))
        parallel = planner.paths.parallel or (1 if isinstance(actions, SampledActions) else most)
        self.settings = np.array([horizon, parallel, planner.paths.width or 0, planner.iterations > 1], np.int64)
        self.counts = np.zeros((rows, self.tree.nodes))
        self.iterations = np.zeros((rows, 10), np.int32)
        self.iterations[:, BEST] = -1
        self.iterations[:, GOAL] = self.populations[0]
        self.candidates = np.zeros((rows, most, 3), np.int32)
        self.scores = np.empty((rows, most))
        self.kept = np.full((rows, planner.keep), -1, np.int32)
        roots = self.tree.I[np.arange(rows), self.tree.root]
        self.why_codes[roots[:, TERMINAL] != ONGOING] = EXHAUSTED
        self.tree.I[np.arange(rows), self.tree.root, VISITS] = 0

    def _schedule(self, size: Size) -> tuple[list[int], bool, int]:
        """Candidates per iteration, whether the last number goes on, and the longest path (0: to the end)."""
        planner = self.planner
        if isinstance(self.actions, DiscreteActions):
            plan = planner.schedule(size)
            return [max(1, int(p)) for p in plan.populations], planner.population is None, plan.horizon
        if planner.population is not None:
            return [planner.population] * planner.iterations, False, 0
        return [size.nodes if planner.iterations == 1 else 4], True, 0

    @property
    def evaluate(self) -> Evaluate:
        """Which states the model is to judge: finished ones of text, all where a horizon cuts paths."""
        return self.planner.paths.evaluate or ("finished" if isinstance(self.actions, SampledActions) else "all")

    def ask(self, remaining: Int) -> EdgeQuery:
        tree = self.tree
        out, count = np.empty((4, sum(max(0, min(r, tree.nodes)) for r in np.asarray(remaining).tolist())), np.int32), 0
        # hashes wrap around; numpy warns of it where numba is absent
        with nullcontext() if HAVE_NUMBA else np.errstate(over="ignore"):
            while True:
                count = advance(
                    tree.I, tree.F, tree.P, self.settings, self.counts, self.iterations, self.candidates, self.scores,
                    self.planner.paths.prior, self.keys, remaining, self.why_codes, out, count,
                )  # fmt: skip
                T = self.iterations
                over = (self.why_codes == RUNNING) & (T[:, UNDER_WAY] == 0) & (T[:, ADMITTED] == T[:, GOAL])
                if not over.any():
                    break
                for rows in self._alike(np.flatnonzero(over)):
                    self._end_iteration(rows)
        return self._asked(remaining, out[:, :count].copy(), isinstance(self.actions, SampledActions), self.evaluate)

    def _alike(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Rows in groups of one population."""
        goals = self.iterations[rows, GOAL]
        for goal in np.unique(goals):
            yield rows[goals == goal]

    def _end_iteration(self, rows: NDArray[np.int64]) -> None:
        """Weigh the iteration of these rows (all of one population), refit, and begin the next."""
        T, planner, prior = self.iterations, self.planner, self.planner.paths.prior
        goal = T[rows[0], GOAL]
        leaves, scores = self.candidates[rows, :goal, NODE], self.scores[rows, :goal]
        one = (leaves == leaves[:, :1]).all(1) & (T[rows, NEW] == 0) & (prior == 0) & (T[rows, ITERATION] > 0)
        if self.settings[REFITS]:
            leaves, scores = self._with_kept(rows, leaves, scores)
            for b, ends, weights in zip(rows, leaves, planner.weigh(scores)):
                refit(self.tree.I, self.counts, int(b), ends, np.asarray(weights, np.float64), planner.smoothing)
        T[rows, ITERATION] += 1
        T[rows, IDLE] = np.where(T[rows, NEW] == 0, T[rows, IDLE] + 1, 0)
        ended = (T[rows, ITERATION] >= len(self.populations)) & (not self.endless)
        stalled = (T[rows, IDLE] >= 2) & (T[rows, FREE] >= PATIENCE)
        self.why_codes[rows] = np.select([ended, one, stalled], [EXHAUSTED, CONVERGED, STALLED], RUNNING)
        following = np.minimum(T[rows, ITERATION], len(self.populations) - 1)
        T[rows, GOAL] = np.array(self.populations, np.int32)[following]
        for word in (ADMITTED, FIRST_ACTIVE, NEW):
            T[rows, word] = 0

    def _with_kept(self, rows: Any, leaves: Any, scores: Any) -> tuple[Any, Any]:
        """The candidates [M, K] and, before them, the best `keep` of all earlier ones; the best of both are kept."""
        keep = self.planner.keep
        if not keep:
            return leaves, scores
        old = self.kept[rows]
        I, F = self.tree.I[rows[:, None], old], self.tree.F[rows[:, None], old]
        told = np.where(old >= 0, F[..., RETURN] + F[..., GAMMA] * F[..., RAW], -np.inf)
        again = (old[:, :, None] == leaves[:, None]).any(2)
        told = np.where((I[..., TERMINAL] == DEAD) | again, -np.inf, told)
        leaves, scores = np.concatenate([old, leaves], 1), np.concatenate([told, scores], 1)
        for b, ends, values in zip(rows, leaves, scores):
            ranked = list(dict.fromkeys(ends[np.argsort(-values, kind="stable")].tolist()))
            self.kept[b, : len(ranked[:keep])] = ranked[:keep]
        return leaves, scores

    def _write(self, query: EdgeQuery, answer: Expansion) -> int:
        bad = super()._write(query, answer)
        if bad < 0:
            close(self.tree.I, self.settings, query.row, query.node)
        return bad

    def _give_back(self, row: int, node: int) -> bool:
        tree = self.tree
        if not 0 <= node < tree.nodes or tree.I[row, node, STATUS] != AWAITED:
            return False
        stand_back(tree.I, self.iterations, self.candidates, row, node)
        return super()._give_back(row, node)

    def _worth(self, row: int, path: list[int]) -> float:
        return worth(self.tree.I, self.tree.F, row, path[-1])

    def _best(self, row: int) -> int:
        """Text: the best finished leaf, else the best open one. `DiscreteActions(n)`: the end of the best candidate, or (with
        answer "mean", once refitted) of the line of the largest counts, whose first action is the most weighted."""
        if isinstance(self.actions, SampledActions):
            return self.tree.best_answer(row)
        node = int(self.tree.root[row])
        if self.planner.answer == "mean" and self.counts[row, node] > 0:
            while heavy := [c for c in self.tree.children(row, node) if self.counts[row, c] > 0]:
                node = max(heavy, key=lambda c: float(self.counts[row, c]))
            return node
        best = int(self.iterations[row, BEST])
        return best if best >= 0 else self.tree.best_open(row)

    def weights(self) -> NDArray[np.float32]:
        """[B, A] shares of the roots' counts per slot; before a refit, of the candidates that have ended."""
        tree = self.tree
        lines = [tree.children(b, int(r)) for b, r in enumerate(tree.root)]
        slots = [tree.I[b, line, SLOT] for b, line in enumerate(lines)]
        wide = tree.slots or max([int(s.max()) + 1 for s in slots if len(s)], default=1)
        weights = np.zeros((self.rows, wide), np.float32)
        for b, line in enumerate(lines):
            refitted = self.counts[b, tree.root[b]] > 0
            weights[b, slots[b]] = self.counts[b, line] if refitted else tree.I[b, line, VISITS]
        return shares(weights)
