"""Monte Carlo tree search: walk to an edge nobody has opened, ask, write the answer, back it up.

Here belong the planner's settings and the search that speaks to the driver. The walk and backup are `simulation.py`'s,
which edge is walked is `selection.py`'s, the records are `tree.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import selection as sel
from .desk import SIZE as DESK
from .desk import land_at, lay, walk_at
from .interface import (
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
from .journal import Notes
from .records import (
    FLYING,
    MEAN,
    NEXT_SLOT,
    ODD,
    ONGOING,
    PRIOR,
    ROOT,
    SLOT,
    TERMINAL,
    VISITS,
    WALKS,
    Q,
    child_at,
    next_slot,
)
from .selection import GUMBEL, PUCT, UCT, halving
from .simulation import count_visits, descend, land, move_root
from .tree import Tree, as_numpy
from .tree_search import TreeSearch, shares


@dataclass(frozen=True)
class MCTS:
    """Monte Carlo tree search over `DiscreteActions` or `SampledActions`.

    simulations: walks per problem; None: as many as the budget has nodes.
    selection: puct, uct, or gumbel (Gumbel noise and sequential halving at the root, deterministic below).
    c_init, c_base: PUCT's constants; c_uct: UCT's.
    normalise: "tree", "siblings" or (low, high): what edge values are divided by before they meet the bonus.
    first_play: what PUCT takes an unvisited edge of `DiscreteActions(n)` to be worth, its first-play urgency (Gelly and Wang
        2006): "parent", the mean value of its node, or "lowest", the low end of the normalisation (MuZero), under
        which a node's first edge is walked again and again where some edge elsewhere is far worse.
    backup: "mean", or "max" for deterministic worlds.
    leaves: how many leaves of one tree may be in flight.
    width: most distinct children of a node of `SampledActions()`; draws are capped at twice that.
    widening: (C, alpha) of progressive widening, "auto" (on for `SampledActions()`, (1, 0.5)) or None.
    terminal: "close" or "absorb"; None: close for `SampledActions()`, absorb for `DiscreteActions(n)`.
    choose: "visits", "value" or "finished" (best finished leaf); None: finished for `SampledActions()`, else visits.
    considered, value_scale, maxvisit_init: Gumbel's.
    dirichlet: (alpha, fraction) of noise mixed into the root's priors (AlphaZero), None for none.
    reuse: keep the subtree of the action taken for the next decision.
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
    width: int = 4
    widening: tuple[float, float] | Literal["auto"] | None = "auto"
    terminal: Literal["close", "absorb"] | None = None
    choose: Literal["visits", "value", "finished"] | None = None
    considered: int = 16
    value_scale: float = 0.1
    maxvisit_init: float = 50.0
    dirichlet: tuple[float, float] | None = None
    reuse: bool = False
    evaluate: Evaluate = "all"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("selection", ("puct", "uct", "gumbel")),
            ("first_play", ("parent", "lowest")),
            ("backup", ("mean", "max")),
            ("terminal", (None, "close", "absorb")),
            ("choose", (None, "visits", "value", "finished")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; there are {', '.join(map(str, allowed))}")
        bounds = self.normalise
        if bounds not in ("tree", "siblings") and not (isinstance(bounds, tuple) and bounds[0] < bounds[1]):
            raise ValueError(f"normalise is {bounds!r}; there are tree, siblings and (low, high) with low < high")
        if self.leaves < 1 or self.width < 1 or (self.simulations is not None and self.simulations < 1):
            raise ValueError("leaves, width and simulations must be at least 1")
        if self.reuse and self.selection == "gumbel":
            raise ValueError("reuse is for puct and uct: Gumbel's sequential halving needs a fresh root")

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: WarmStartable | None = None
    ) -> MCTSSearch:
        """Start a search; ValueError for `BoxActions`, whose vectors a tree must first be offered one by one."""
        if not isinstance(actions, IndexedActions):
            raise ValueError(
                "MCTS wants indexed actions; offer the vectors of BoxActions one by one: DiscretizedActions(model, n)"
            )
        return MCTSSearch(self, root, actions, size, keys, after if isinstance(after, MCTSSearch) else None)


@lru_cache(maxsize=256)
def kernel_settings(
    planner: MCTS, slots: IndexedActions, limit: int, most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The arrays S and C (for up to `most` visits) of `selection.py`; never written to, so they are made once."""
    unbounded = isinstance(slots, SampledActions)
    widening = ((1.0, 0.5) if unbounded else None) if planner.widening == "auto" else planner.widening
    bounds = planner.normalise if isinstance(planner.normalise, tuple) else (0.0, 1.0)
    norm = {"tree": sel.BY_TREE, "siblings": sel.BY_SIBLINGS}.get(str(planner.normalise), sel.BY_BOUNDS)
    wide = slots.n if isinstance(slots, DiscreteActions) else planner.width
    settings = np.array(
        [
            {"uct": UCT, "puct": PUCT, "gumbel": GUMBEL}[planner.selection],
            planner.c_uct,
            planner.c_init,
            planner.c_base,
            norm,
            *bounds,
            unbounded or planner.first_play == "parent",
            planner.terminal == "close" or (planner.terminal is None and unbounded),
            planner.backup == "max",
            wide,
            2 * planner.width if unbounded else wide,
            widening is not None,
            *(widening or (0.0, 0.0)),
            limit,
            planner.leaves,
            planner.value_scale,
            planner.maxvisit_init,
        ],
        np.float64,
    )
    return settings, sel.bonus_table(settings, most)


class MCTSSearch(TreeSearch, WarmStartable):
    """One run of `MCTS` over B problems; see `interface.Search`."""

    def __init__(
        self, planner: MCTS, root: Expansion, actions: IndexedActions, size: Size, keys: Keys, after: MCTSSearch | None
    ) -> None:
        limit = planner.simulations or size.nodes
        slots = (
            (planner.width if planner.selection == "gumbel" else 0)
            if isinstance(actions, SampledActions)
            else actions.n
        )
        self.planner, self.actions, self.keys = planner, actions, keys
        new = min(limit, size.nodes)
        begun = 1
        if after is not None and planner.reuse:
            tree = after.tree
            if tree.rows != len(root.value):
                raise ValueError(f"after was a search over {tree.rows} rows, this is one over {len(root.value)}")
            lost = (tree.root < 0) | (as_numpy(root.discount, "discount", (tree.rows,)) == 0)
            if lost.any():
                tree.replant(root, np.flatnonzero(lost))
            tree.header(WALKS)[:] = 0
            begun = int(tree.I[np.arange(tree.rows), tree.root, VISITS].max(initial=1))
        else:
            tree = Tree(root, (2 if planner.reuse else 1) * new + 1, slots)
        super().__init__(tree, Notes(tree.rows, tree.rows * planner.leaves, new + 1, planner.evaluate))
        self.scratch = np.zeros((5, slots))
        self.noise, self.table = self._gumbel(limit)
        self.settings, self.bonus = kernel_settings(planner, actions, limit, begun + limit + planner.leaves)
        self._lay_desk()
        if planner.dirichlet is not None:
            self._mix_dirichlet(*planner.dirichlet)

    def _lay_desk(self) -> None:
        tree = self.tree
        self.desk = np.zeros(DESK, np.int64)
        lay(
            self.desk, tree.I, tree.P, self.settings, self.bonus, self.noise, self.table, self.scratch, self.why_codes
        )  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy has arrays of its own, so it lays a desk of its own."""
        self.__dict__.update(state)
        self._lay_desk()

    def _gumbel(self, limit: int) -> tuple[NDArray[np.float64], Int]:
        """Gumbel noise [B, A] of the roots, from each row's key, and the halving table [B, simulations]."""
        if self.planner.selection != "gumbel":
            return np.zeros((self.rows, 0)), np.zeros((self.rows, 1), np.int32)
        tree = self.tree
        noise = np.stack([np.random.Generator(np.random.Philox(int(k))).gumbel(size=tree.slots) for k in self.keys])
        offered = (tree.P[np.arange(self.rows), tree.root] >= 0).sum(1)
        table = [halving(min(self.planner.considered, int(n)), limit) for n in offered]
        return noise, np.array(table, np.int32)

    def _mix_dirichlet(self, alpha: float, fraction: float) -> None:
        """(1 - fraction) P + fraction Dirichlet(alpha) at the roots (Silver et al. 2017)."""
        tree = self.tree
        if tree.slots == 0:
            raise ValueError("dirichlet noise needs priors; SampledActions() has none")
        for b, key in enumerate(self.keys):
            prior = tree.P[b, tree.root[b]]
            real = prior >= 0
            draw = np.random.Generator(np.random.Philox(int(key) ^ 1)).dirichlet([alpha] * int(real.sum()))
            prior[real] = (1 - fraction) * prior[real] + fraction * draw
            for child in tree.children(b, int(tree.root[b])):  # of a reused root
                tree.F[b, child, PRIOR] = prior[self._slot(b, child)]
            tree.I[b, tree.root[b], NEXT_SLOT], tree.I[b, tree.root[b], ODD] = -1, 1
            next_slot(tree.I, tree.F, tree.P, b, int(tree.root[b]))

    def ask(self, remaining: Int) -> EdgeQuery:
        page = self.notes.page()
        return self.notes.asked(page, walk_at(self.desk, remaining, page))

    def _write(self, query: EdgeQuery, answer: Expansion) -> int:
        tree, rows = self.tree, len(query.row)
        if places := tree.places_of(answer, rows):
            return land_at(self.desk, query.row, query.node, *places)
        numbers = tree.numbers_of(answer, rows)
        return land(tree.I, tree.F, tree.P, self.settings, query.row, query.node, *numbers)

    def _give_back(self, row: int, node: int) -> bool:
        given = super()._give_back(row, node)
        self.tree.I[row, self.tree.nodes, WALKS] -= given
        return given

    @property
    def reusable(self) -> bool:
        return self.planner.reuse

    def advance(self, actions: Actions) -> None:
        """The slots [B] were taken in the roots: their children become the roots of a later `begin(after=...)`.

        A row that was never answered there, or ended, has no subtree to go on with and starts anew. ValueError while
        answers are outstanding.
        """
        tree = self.tree
        if tree.header(FLYING).any():
            raise ValueError(f"advance wants all answers told or dropped; {tree.header(FLYING).sum()} are awaited")
        for b, slot in enumerate(actions.tolist()):
            child = child_at(tree.I, b, int(tree.root[b]), slot)
            if child < 0 or tree.I[b, child, TERMINAL] != ONGOING:
                tree.I[b, tree.nodes, ROOT] = -1
            else:
                move_root(tree.I, tree.P, b, child)

    def _slot(self, row: int, node: int) -> int:
        return int(self.tree.I[row, node, SLOT])

    def _worth(self, row: int, path: list[int]) -> float:
        """The return of a solution, else the mean that the first step of the line has."""
        solved = next((f.value for f in self.tree.finished(row) if f.node == path[-1]), None)
        if solved is not None:
            return solved
        return float(self.tree.F[row, path[1], Q]) if len(path) > 1 else float(self.tree.F[row, path[0], MEAN])

    def _best(self, row: int) -> int:
        """The best finished leaf, or the end of the line that visits or values lead along."""
        tree = self.tree
        choose = self.planner.choose or ("finished" if isinstance(self.actions, SampledActions) else "visits")
        if choose == "finished":
            return tree.best_answer(row)
        node = int(tree.root[row])
        if self.planner.selection == "gumbel":
            node = self._gumbel_choice(row)
        return descend(tree.I, tree.F, row, node, choose == "value")

    def _gumbel_choice(self, row: int) -> int:
        """The child of the largest g + logits + sigma(q) among the most visited (Danihelka et al., algorithm 2)."""
        tree, root, X = self.tree, int(self.tree.root[row]), self.scratch
        if not tree.children(row, root):
            return root
        sel.edges_of(tree.I, tree.F, tree.P, self.settings, row, root, X)
        score = self.noise[row] + np.log(np.maximum(tree.P[row, root], 1e-38)) + X[4]
        return max(tree.children(row, root), key=lambda c: (X[1, self._slot(row, c)], score[self._slot(row, c)]))

    def weights(self) -> NDArray[np.float32]:
        """[B, A] shares of the roots' visits; for gumbel softmax(logits + sigma(q)), equation 11."""
        tree = self.tree
        weights = np.zeros((self.rows, tree.slots or int(self.settings[sel.MOST_DRAWS])), np.float32)
        count_visits(tree.I, weights)
        if self.planner.selection == "gumbel":
            for b in range(self.rows):
                sel.edges_of(tree.I, tree.F, tree.P, self.settings, b, int(tree.root[b]), self.scratch)
                prior = tree.P[b, tree.root[b]]  # closed edges keep their weight
                score = np.where(prior >= 0, np.log(np.maximum(prior, 1e-38)) + self.scratch[4], -np.inf)
                weights[b] = np.exp(score - max(score.max(), -1e30))
        return shares(weights)
