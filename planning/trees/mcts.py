"""Monte Carlo tree search: select a leaf, ask the model, write the answer, back it up.

Here are the planner's settings and the search that the driver calls. The simulations are in `mcts_kernels.py`, the
selection of edges in `selection.py`, and how Python calls the kernels in `kernel_call.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..event_log import EventLog
from ..interface import (
    Actions,
    ActionSpace,
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
)
from ..messages import EVALUATIONS
from ..settings_checks import check_choices, check_flags, check_integers, check_numbers, check_setting, is_pair
from ..spaces import indexed_only
from . import selection as rules
from .base import TreeSearch, normalized
from .kernel_call import (
    TABLE_SIZE,
    call_completed_q_values,
    call_expand,
    call_expand_at,
    call_select_leaves,
    store_pointers,
)
from .mcts_kernels import advance_root, principal_variation, root_visits, set_root_prior
from .tree import Tree, as_numpy

SettingsArray = NDArray[np.void]
"""One record of `selection.MCTS_SETTINGS`."""


@dataclass(frozen=True)
class WideningSettings:
    """How many distinct children a node may have.

    width: the most of a node of `SampledActions()`; its samples are capped at twice that.
    progressive: (C, alpha) of progressive widening, by which a node of N visits has at most C N^alpha children
        (Couetoux et al. 2011); "auto" (on for `SampledActions()`, (1, 0.5)) or None.
    """

    width: int = 4
    progressive: tuple[float, float] | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        check_integers(self, 1, "width")
        given = self.progressive
        holds = given is None or given == "auto" or (is_pair(given) and given[0] > 0 and given[1] >= 0)
        check_setting(holds, "progressive", "auto, None or (C above 0, alpha at least 0)", given)


@dataclass(frozen=True)
class GumbelSettings:
    """Settings of Gumbel MuZero's selection (Danihelka et al. 2022).

    considered: how many actions of the root sequential halving begins with.
    value_scale, maxvisit_init: the constants c_scale and c_visit of sigma(q) (equation 8).
    """

    considered: int = 16
    value_scale: float = 0.1
    maxvisit_init: float = 50.0

    def __post_init__(self) -> None:
        check_integers(self, 1, "considered")
        check_numbers(self, "value_scale", "maxvisit_init", least=0)


@dataclass(frozen=True)
class MCTS:
    """Monte Carlo tree search over `DiscreteActions` or `SampledActions`.

    simulations: simulations per problem; None: as many as the budget has nodes.
    selection: puct, uct, or gumbel (Gumbel noise and sequential halving at the root, deterministic below).
    c_init, c_base: PUCT's constants; c_uct: UCT's.
    normalise: the range that edge values are normalised by before the bonus is added: "tree", "siblings" or
        (low, high) in units of the return.
    first_play: the value that PUCT assumes of an unvisited edge of `DiscreteActions(n)`, its first-play urgency
        (Gelly and Wang 2006): "parent", the mean value of its node, or "lowest", the low end of the normalisation
        (MuZero), under which a node's first edge is selected again and again where some edge elsewhere is far worse.
    backup: "mean", or "max" for deterministic models.
    leaves: how many leaves of one tree may be in flight at once.
    terminal: "close" or "absorb"; None: close for `SampledActions()`, absorb for `DiscreteActions(n)`.
    choose: "visits", "value" or "finished" (best finished leaf); None: finished for `SampledActions()`, else visits.
    dirichlet: (alpha, fraction) of noise mixed into the root's priors (AlphaZero), None for none.
    reuse: keep the subtree of the action taken for the next decision.
    evaluate: which states the model is to evaluate.
    widening: how many children a node may have. gumbel: what selection "gumbel" needs.
    """

    simulations: int | None = None
    selection: Literal["puct", "uct", "gumbel"] = "puct"
    c_init: float = 1.25
    c_base: float = 19652.0
    c_uct: float = 2**0.5
    normalise: Literal["tree", "siblings"] | tuple[float, float] = "tree"
    first_play: Literal["parent", "lowest"] = "parent"
    backup: Literal["mean", "max"] = "mean"
    leaves: int = 1
    terminal: Literal["close", "absorb"] | None = None
    choose: Literal["visits", "value", "finished"] | None = None
    dirichlet: tuple[float, float] | None = None
    reuse: bool = False
    evaluate: Evaluate = "all"
    widening: WideningSettings = WideningSettings()
    gumbel: GumbelSettings = GumbelSettings()

    def __post_init__(self) -> None:
        check_choices(
            self,
            selection=("puct", "uct", "gumbel"),
            first_play=("parent", "lowest"),
            backup=("mean", "max"),
            terminal=(None, "close", "absorb"),
            choose=(None, "visits", "value", "finished"),
            evaluate=EVALUATIONS,
        )
        check_flags(self, "reuse")
        check_setting(isinstance(self.widening, WideningSettings), "widening", "WideningSettings", self.widening)
        check_setting(isinstance(self.gumbel, GumbelSettings), "gumbel", "GumbelSettings", self.gumbel)
        check_integers(self, 1, "leaves")
        check_integers(self, 1, "simulations", optional=True)
        check_numbers(self, "c_init", "c_uct", least=0)
        check_numbers(self, "c_base", above=0)
        bounds, noise = self.normalise, self.dirichlet
        holds = bounds in ("tree", "siblings") if isinstance(bounds, str) else is_pair(bounds) and bounds[0] < bounds[1]
        check_setting(holds, "normalise", "tree, siblings or (low, high) with low < high", bounds)
        holds = noise is None or (is_pair(noise) and noise[0] > 0 and 0 <= noise[1] <= 1)
        check_setting(holds, "dirichlet", "None or (alpha above 0, fraction in [0, 1])", noise)
        if self.reuse and self.selection == "gumbel":
            raise ValueError("reuse is for puct and uct: Gumbel's sequential halving needs a fresh root")

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: WarmStartable | None = None
    ) -> MCTSSearch:
        """Start a search.

        Errors: ValueError for `BoxActions`, whose vectors must first be offered one by one, or if `after`
        has another number of rows.
        """
        before = after if isinstance(after, MCTSSearch) else None
        return MCTSSearch(self, root, indexed_only(actions, "MCTS"), size, keys, before)


@lru_cache(maxsize=256)
def kernel_settings(
    planner: MCTS, actions: IndexedActions, limit: int, most: int
) -> tuple[SettingsArray, NDArray[np.float64]]:
    """The kernels' settings [1] (`MCTS_SETTINGS`) and exploration bonus for up to `most` visits, both never written to.

    They are cached because to make them takes longer than many simulations.
    """
    unbounded = isinstance(actions, SampledActions)
    progressive = planner.widening.progressive
    widening = ((1.0, 0.5) if unbounded else None) if progressive == "auto" else progressive
    width = actions.n if isinstance(actions, DiscreteActions) else planner.widening.width
    settings = np.zeros(1, rules.MCTS_SETTINGS)
    one = settings[0]
    one.selection = {"uct": rules.UCT, "puct": rules.PUCT, "gumbel": rules.GUMBEL}[planner.selection]
    one.c_uct, one.c_init, one.c_base = planner.c_uct, planner.c_init, planner.c_base
    one.value_scale, one.maxvisit_init = planner.gumbel.value_scale, planner.gumbel.maxvisit_init
    one.normalisation = rules.BY_SIBLINGS if planner.normalise == "siblings" else rules.BY_TREE
    if isinstance(planner.normalise, tuple):
        one.normalisation = rules.BY_BOUNDS
        one.q_low, one.q_high = planner.normalise
    one.first_play_parent = unbounded or planner.first_play == "parent"
    one.close_terminal = planner.terminal == "close" or (planner.terminal is None and unbounded)
    one.max_backup = planner.backup == "max"
    one.width, one.max_samples = width, 2 * width if unbounded else width
    one.widening = widening is not None
    one.widening_c, one.widening_alpha = widening or (0.0, 0.0)
    one.max_simulations, one.max_in_flight = limit, planner.leaves
    return settings, rules.exploration_bonus(one, most)


class MCTSSearch(TreeSearch, WarmStartable):
    """One run of `MCTS` over B problems; see `interface.Search`."""

    def __init__(
        self, planner: MCTS, root: Expansion, actions: IndexedActions, size: Size, keys: Keys, after: MCTSSearch | None
    ) -> None:
        self.planner, self.actions, self.keys = planner, actions, keys
        limit = planner.simulations or size.nodes
        n_actions = (
            (planner.widening.width if planner.selection == "gumbel" else 0)
            if isinstance(actions, SampledActions)
            else actions.n
        )
        new, begun = min(limit, size.nodes), 1
        if after is not None and planner.reuse:
            tree = _reused(after.tree, root, n_actions)
            begun = int(tree.nodes["visits"][np.arange(tree.rows), tree.root].max(initial=1))
        else:
            tree = Tree(root, (2 if planner.reuse else 1) * new + 1, n_actions)
        super().__init__(tree, EventLog(tree.rows, tree.rows * planner.leaves, new + 1, planner.evaluate))
        self.noise, self.halving = self._gumbel(limit)
        self.edges = np.zeros((self.noise.shape[1], len(rules.EDGE.names)))
        self.settings, self.bonus = kernel_settings(planner, actions, limit, begun + limit + planner.leaves)
        self._store_pointers()
        if planner.dirichlet is not None:
            self._mix_dirichlet(*planner.dirichlet)

    def _store_pointers(self) -> None:
        """Make the table of addresses that `kernel_call.py` works with."""
        tree = self.tree
        self.table = np.zeros(TABLE_SIZE, np.int64)
        store_pointers(
            self.table, tree.block, tree.priors, self.settings.view(np.float64), self.bonus, self.noise, self.halving,
            self.edges, self.stop_codes,
        )  # fmt: skip

    def __setstate__(self, state: dict[str, object]) -> None:
        """Store the addresses of a copy, whose arrays are its own."""
        self.__dict__.update(state)
        self._store_pointers()

    def _gumbel(self, limit: int) -> tuple[NDArray[np.float64], Int]:
        """Gumbel noise [B, A] of the roots, from each row's key, and the visits of halving [B, simulations]."""
        if self.planner.selection != "gumbel":
            return np.zeros((self.rows, 0)), np.zeros((self.rows, 1), np.int32)
        tree = self.tree
        noise = np.stack([np.random.Generator(np.random.Philox(int(k))).gumbel(size=tree.n_actions) for k in self.keys])
        offered = (tree.priors[np.arange(self.rows), tree.root] >= 0).sum(1)
        visits = [rules.halving_visits(min(self.planner.gumbel.considered, int(n)), limit) for n in offered]
        return noise, np.array(visits, np.int32)

    def _mix_dirichlet(self, alpha: float, fraction: float) -> None:
        """(1 - fraction) P + fraction Dirichlet(alpha) at the roots (Silver et al. 2017)."""
        tree = self.tree
        if tree.n_actions == 0:
            raise ValueError("dirichlet noise needs priors; SampledActions() has none")
        for b, key in enumerate(self.keys):
            prior = tree.priors[b, tree.root[b]]
            real = prior >= 0
            draw = np.random.Generator(np.random.Philox(int(key) ^ 1)).dirichlet([alpha] * int(real.sum()))
            prior[real] = (1 - fraction) * prior[real] + fraction * draw
            set_root_prior(tree.block, tree.priors, b)

    def ask(self, remaining: Int) -> EdgeQuery:
        entry = self.log.next_entry()
        return self.log.log_entry(entry, call_select_leaves(self.table, remaining, entry))

    def _write(self, query: EdgeQuery, answer: Expansion) -> int:
        rows = len(query.row)
        if addresses := self.tree.addresses_of(answer, rows):
            return call_expand_at(self.table, query.row, query.node, *addresses)
        return call_expand(self.table, query.row, query.node, *self.tree.arrays_of(answer, rows))

    def _cancel(self, row: int, node: int) -> bool:
        cancelled = super()._cancel(row, node)
        self.tree.headers["simulations"][row] -= cancelled
        return cancelled

    @property
    def reusable(self) -> bool:
        return self.planner.reuse

    def advance(self, actions: Actions) -> None:
        """Make the roots' children by these actions [B] the roots of a later `begin(after=...)`.

        A row whose child was never evaluated there, or is terminal, starts anew.

        Errors: ValueError while answers are outstanding.
        """
        in_flight = int(self.tree.headers["in_flight"].sum())
        if in_flight:
            raise ValueError(f"advance needs all answers told or dropped; {in_flight} are awaited")
        for b, action in enumerate(actions.tolist()):
            advance_root(self.tree.block, b, action)

    def _value(self, row: int, path: list[int]) -> float:
        """The return of a solution, else the value of the plan's first edge, else that of the root."""
        solved = next((f.value for f in self.tree.finished(row) if f.node == path[-1]), None)
        if solved is not None:
            return solved
        nodes = self.tree.nodes
        return float(nodes["q"][row, path[1]]) if len(path) > 1 else float(nodes["value"][row, path[0]])

    def _best(self, row: int) -> int:
        """The best finished leaf, or the end of the principal variation by visits or values."""
        tree = self.tree
        choose = self.planner.choose or ("finished" if isinstance(self.actions, SampledActions) else "visits")
        if choose == "finished":
            return tree.best_answer(row)
        node = int(tree.root[row])
        if self.planner.selection == "gumbel":
            node = self._gumbel_choice(row)
        return principal_variation(tree.block, row, node, choose == "value")

    def _completed(self, row: int) -> NDArray[np.void]:
        """The edges [A] of the row's root (`selection.EDGE`) with their completed Q."""
        call_completed_q_values(self.table, row)
        return self.edges.view(rules.EDGE)[:, 0]

    def _gumbel_choice(self, row: int) -> int:
        """The child of the largest g + logits + sigma(q) among the most visited (Danihelka et al., algorithm 2)."""
        tree, root = self.tree, int(self.tree.root[row])
        children = tree.children(row, root)
        if not children:
            return root
        edges, actions = self._completed(row), tree.nodes["action"][row]
        score = self.noise[row] + np.log(np.maximum(tree.priors[row, root], 1e-38)) + edges["sigma"]
        return max(children, key=lambda child: (edges["visits"][actions[child]], score[actions[child]]))

    def weights(self) -> NDArray[np.float32]:
        """[B, A] shares of the roots' visits; for gumbel softmax(logits + sigma(q)), equation 11."""
        tree = self.tree
        weights = np.zeros((self.rows, tree.n_actions or int(self.settings["max_samples"][0])), np.float32)
        root_visits(tree.block, weights)
        if self.planner.selection == "gumbel":
            for b in range(self.rows):
                prior = tree.priors[b, tree.root[b]]  # not that of `EDGE`, where exhausted edges have none
                score = np.log(np.maximum(prior, 1e-38)) + self._completed(b)["sigma"]
                score = np.where(prior >= 0, score, -np.inf)
                weights[b] = np.exp(score - max(score.max(), -1e30))
        return normalized(weights)


def _reused(tree: Tree, root: Expansion, n_actions: int) -> Tree:
    """The tree of an earlier search after `advance`, with new roots in the rows that start anew."""
    if tree.n_actions != n_actions:
        raise ValueError(f"after was a search over {tree.n_actions} actions, this is one over {n_actions}; 0: sampled")
    if tree.rows != len(root.value):
        raise ValueError(f"after was a search over {tree.rows} rows, this is one over {len(root.value)}")
    lost = (tree.root < 0) | (as_numpy(root.discount, "discount", (tree.rows,)) == 0)
    tree.faults = {}
    if lost.any():
        tree.restart(root, np.flatnonzero(lost))
    tree.headers["simulations"] = 0
    return tree
