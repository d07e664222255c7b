"""Best-of-N, CEM and MPPI over indexed actions, text included: draw paths, weigh their returns, refit the distribution.

The distribution is a categorical at each node of a tree (`categorical.py`), from which the kernels of
`paths_kernels.py` draw; how returns become weights is defined in `shooting.py`. Over text a refit keeps the prefixes of
what scored well and resamples what follows; MPPI there is particle resampling: prefixes survive in proportion to the
weight of the solutions they led to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from ..compiled import HAVE_NUMBA
from ..interface import (
    DiscreteActions,
    EdgeQuery,
    Evaluate,
    Expansion,
    IndexedActions,
    Int,
    Keys,
    SampledActions,
    Size,
    WarmStartable,
    action_count,
)
from ..shooting_settings import ShootingPlanner
from .base import TreeSearch, normalized
from .categorical import PATHS_SETTINGS, refit
from .nodes import CONVERGED, DEAD_END, EXHAUSTED, ONGOING, RUNNING, STALLED
from .paths_kernels import CANDIDATE, ITERATION, PATIENCE, mark_exhausted, rewind, step_candidates
from .tree import Tree


class PathsSearch(TreeSearch):
    """One run of `BestOfN`, `CEM` or `MPPI` over indexed actions; see `interface.Search` and the planner's settings.

    `DiscreteActions(n)`: paths of `horizon` steps; all candidates of an iteration are active at once, as far as the
        remaining budget holds whole paths. Iterations have the sizes that they have for vectors, and
        the last size is repeated while there is budget left.
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
        after: WarmStartable | None = None,
    ) -> None:
        self.planner, self.actions = planner, actions
        self.keys = np.asarray(keys, np.uint64)
        super().__init__(Tree(root, size.nodes + 1, action_count(actions)))
        rows = self.rows
        self.populations, self.endless, horizon = self._schedule(size)
        most = int(max(self.populations))
        self.settings = np.zeros(1, PATHS_SETTINGS)
        self.settings["horizon"], self.settings["prior"] = horizon, planner.paths.prior
        self.settings["parallel"] = planner.paths.parallel or (1 if isinstance(actions, SampledActions) else most)
        self.settings["width"], self.settings["refits"] = planner.paths.width or 0, planner.iterations > 1
        self.counts = np.zeros((rows, self.tree.capacity))
        self.iterations = np.zeros(rows, ITERATION)
        self.iterations["best"] = -1
        self.iterations["goal"] = self.populations[0]
        self.candidates = np.zeros((rows, most), CANDIDATE)
        self.scores = np.empty((rows, most))
        self.kept = np.full((rows, planner.keep), -1, np.int32)
        roots = np.arange(rows), self.tree.root
        ended = self.tree.nodes["terminal"][roots] != ONGOING
        self.stop_codes[ended & (self.stop_codes == RUNNING)] = EXHAUSTED
        self.tree.nodes["visits"][roots] = 0

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
        most = sum(max(0, min(r, self.tree.capacity)) for r in np.asarray(remaining).tolist())
        leaves, count = np.empty((4, most), np.int32), 0
        # the hash of the random numbers overflows by design, which numpy would warn of without numba
        with nullcontext() if HAVE_NUMBA else np.errstate(over="ignore"):
            while True:
                count = step_candidates(
                    self.tree.block, self.tree.priors, self.counts, self._words(self.iterations),
                    self._words(self.candidates), self.scores, self.settings.view(np.int64), self.keys, remaining,
                    self.stop_codes, leaves, count,
                )  # fmt: skip
                state = self.iterations
                over = (self.stop_codes == RUNNING) & (state["active"] == 0) & (state["started"] == state["goal"])
                if not over.any():
                    break
                for rows in self._by_population(np.flatnonzero(over)):
                    self._end_iteration(rows)
        return self._asked(remaining, leaves[:, :count].copy(), isinstance(self.actions, SampledActions), self.evaluate)

    @staticmethod
    def _words(records: NDArray[np.void]) -> Int:
        """A structured array as the int32 words that kernels take."""
        words: Int = records.view(np.int32)
        return words

    def _by_population(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """The rows in groups of equal population."""
        goals = self.iterations["goal"][rows]
        for goal in np.unique(goals):
            yield rows[goals == goal]

    def _end_iteration(self, rows: NDArray[np.int64]) -> None:
        """Weigh the iteration of these rows, which have the same population, refit, and begin the next."""
        state, planner = self.iterations[rows], self.planner
        goal = state["goal"][0]
        leaves, scores = self.candidates["node"][rows, :goal], self.scores[rows, :goal]
        alike = (leaves == leaves[:, :1]).all(1)
        converged = alike & (state["opened"] == 0) & (planner.paths.prior == 0) & (state["iteration"] > 0)
        if self.settings["refits"][0]:
            leaves, scores = self._with_kept(rows, leaves, scores)
            for b, ends, weights in zip(rows, leaves, planner.weigh(scores)):
                refit(self.tree.block, self.counts, int(b), ends, np.asarray(weights, np.float64), planner.smoothing)
        state["iteration"] += 1
        state["idle_iterations"] = np.where(state["opened"] == 0, state["idle_iterations"] + 1, 0)
        ended = (state["iteration"] >= len(self.populations)) & (not self.endless)
        stalled = (state["idle_iterations"] >= 2) & (state["idle_candidates"] >= PATIENCE)
        self.stop_codes[rows] = np.select([ended, converged, stalled], [EXHAUSTED, CONVERGED, STALLED], RUNNING)
        following = np.minimum(state["iteration"], len(self.populations) - 1)
        state["goal"] = np.array(self.populations, np.int32)[following]
        for field in ("started", "first_active", "opened"):
            state[field] = 0
        self.iterations[rows] = state

    def _with_kept(
        self, rows: NDArray[np.int64], leaves: Int, scores: NDArray[np.float64]
    ) -> tuple[Int, NDArray[np.float64]]:
        """The best `keep` of all earlier candidates and, after them, these [M, K]; the best of both are kept."""
        keep = self.planner.keep
        if not keep:
            return leaves, scores
        old = self.kept[rows]
        values = np.where(old >= 0, self.tree.path_value(rows[:, None], old), -np.inf)
        again = (old[:, :, None] == leaves[:, None]).any(2)
        dead_end = self.tree.nodes["terminal"][rows[:, None], old] == DEAD_END
        values = np.where(dead_end | again, -np.inf, values)
        leaves, scores = np.concatenate([old, leaves], 1), np.concatenate([values, scores], 1)
        for b, ends, returns in zip(rows, leaves, scores):
            ranked = list(dict.fromkeys(ends[np.argsort(-returns, kind="stable")].tolist()))
            self.kept[b, : len(ranked[:keep])] = ranked[:keep]
        return leaves, scores

    def _write(self, query: EdgeQuery, answer: Expansion) -> int:
        bad = super()._write(query, answer)
        if bad == -1:
            mark_exhausted(self.tree.block, self.settings.view(np.int64), query.row, query.node)
        return bad

    def _cancel(self, row: int, node: int) -> bool:
        words = self._words(self.iterations), self._words(self.candidates)
        return rewind(self.tree.block, self.tree.priors, *words, row, node)

    def _value(self, row: int, path: list[int]) -> float:
        """The return so far plus the discounted value at the end, minus infinity for a dead end."""
        dead_end = self.tree.nodes["terminal"][row, path[-1]] == DEAD_END
        return -np.inf if dead_end else float(self.tree.path_value(row, path[-1]))

    def _best(self, row: int) -> int:
        """The node at which the plan ends.

        Text: the best solution, else the best open state. `DiscreteActions(n)`: the end of the best candidate, or (with
        answer "mean", once refitted) of the path along the largest counts, whose first action is the most weighted.
        """
        if isinstance(self.actions, SampledActions):
            return self.tree.best_answer(row)
        node = int(self.tree.root[row])
        if self.planner.answer == "mean" and self.counts[row, node] > 0:
            while counted := [c for c in self.tree.children(row, node) if self.counts[row, c] > 0]:
                node = max(counted, key=lambda c: float(self.counts[row, c]))
            return node
        best = int(self.iterations["best"][row])
        return best if best >= 0 else self.tree.best_open(row)

    def weights(self) -> NDArray[np.float32]:
        """[B, A] shares of the root's counts per action; before a refit, of the candidates that have ended."""
        tree = self.tree
        children = [tree.children(b, int(r)) for b, r in enumerate(tree.root)]
        actions = [tree.nodes["action"][b, ids] for b, ids in enumerate(children)]
        wide = tree.n_actions or max([int(a.max()) + 1 for a in actions if len(a)], default=1)
        weights = np.zeros((self.rows, wide), np.float32)
        for b, ids in enumerate(children):
            refitted = self.counts[b, tree.root[b]] > 0
            weights[b, actions[b]] = self.counts[b, ids] if refitted else tree.nodes["visits"][b, ids]
        return normalized(weights)
