"""The data that models, searches and drivers exchange: queries, answers and plans."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .usage import Usage

Int = NDArray[np.int32]
Keys = NDArray[np.uint64]
Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Float = Float32 | Tensor
"""A float32 array, numpy or torch; a tree search converts answers to numpy once, when it is told them."""

Actions = Int | Tensor
"""Indices [K] for indexed action spaces, vectors [K, D] for `BoxActions`."""

Index = NDArray[np.int64] | slice  # type: ignore[explicit-any]  # of any bounds
"""Positions in a query, as an array or a slice."""


class ModelError(RuntimeError):
    """A model broke its contract: a field of a wrong shape, or a batch without one finite number."""


@dataclass(slots=True)
class Expansion:
    """A model's answer for K edges: the rewards of the steps, and what it predicts of the states they reach.

    reward: [K] reward of the step that reached the state.
    discount: [K] factor on everything after it; 0 ends the episode. A time limit (truncation) never sets 0.
    value: [K] discounted return still to come; 0 where discount is 0.
    logits: [K, A] policy logits over the actions of the reached state, -inf where it has no such action; None for
        `SampledActions()` and `BoxActions`; None for `DiscreteActions(n)` means a uniform policy.
    usage: [K, units] what these answers cost this planner as if it had run alone (*charged*); None means one node and
        one model call each.
    spent: [K, units] what they actually cost just now, None where that is the same as `usage`.
    duplicate_of: [K] node id of an earlier sibling that is the same state, -1 where there is none; set by the driver.
    dead_end: [K] true where an end (discount 0) is no solution, such as a text cut off before its answer; None means
        that there is no such state.
    """

    reward: Float
    discount: Float
    value: Float
    logits: Float | None = None
    usage: Usage | None = None
    spent: Usage | None = None
    duplicate_of: Int | None = None
    dead_end: Bool | None = None


Evaluate = Literal["none", "finished", "all"]
"""Which reached states need a value: none, only finished ones (whose reward is then their score), all of them."""

EVALUATIONS: tuple[Evaluate, ...] = ("none", "finished", "all")
"""The values of `Evaluate`."""


@dataclass(slots=True)
class EdgeQuery:
    """Edges to open: take `action` in state `parent` of problem `row` and store the reached state as `node`.

    row, parent, action, node: int32 [K].
    to_end: the search will take action 0 from here to the end, so a model may generate the whole rest at once.
    evaluate: which of the reached states need a value.
    """

    row: Int
    parent: Int
    action: Int
    node: Int
    to_end: bool = False
    evaluate: Evaluate = "all"

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: Index) -> EdgeQuery:
        """The edges at `index` (array of positions, or a slice) as a query of its own."""
        return EdgeQuery(
            self.row[index], self.parent[index], self.action[index], self.node[index], self.to_end, self.evaluate
        )

    def groups(self) -> list[EdgeQuery]:
        """One query per parent: siblings asked together are expanded together."""
        if len(self) <= 1:
            return [self] if len(self) else []
        siblings: dict[tuple[int, int], list[int]] = {}
        for i, parent in enumerate(zip(self.row.tolist(), self.parent.tolist())):
            siblings.setdefault(parent, []).append(i)
        return [self.take(np.array(index)) for index in siblings.values()]


@dataclass(slots=True)
class SequenceQuery:
    """Sequences of action vectors to score.

    row: int32 [M] the problems asked about. sequences: tensor [M, K, H, D]. keys: uint64 [M] for a model's own noise.

    Queries for derivatives and trajectories inherit from it; see `vectors/queries.py`.
    """

    row: Int
    sequences: Tensor
    keys: Keys | None = None

    def __len__(self) -> int:
        return len(self.row)

    @property
    def nodes(self) -> int:
        """Nodes that the answer costs each row, in units of `Model.cost`: one per candidate and step."""
        return self.sequences.shape[1] * self.sequences.shape[2]

    def take(self, index: Index) -> Self:
        """The rows at `index` (array of positions, or a slice) as a query of its own."""
        rows = {f.name: x[index] for f in fields(self) if isinstance(x := getattr(self, f.name), np.ndarray | Tensor)}
        return replace(self, **rows)  # type: ignore[arg-type]


@dataclass(slots=True)
class Returns:
    """The answer to `SequenceQuery`: returns [M, K, P] (P = 1 for a deterministic model), usage and spent [M, units].

    violation: [M, K, P] by how much each candidate violates the model's constraint, 0 where it is feasible; None for a
        model without one (`scoring.py`).
    """

    returns: Tensor
    usage: Usage | None = None
    spent: Usage | None = None
    violation: Tensor | None = field(default=None, kw_only=True)


Query = EdgeQuery | SequenceQuery
Answer = Expansion | Returns


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished leaf of a tree.

    node: its id. value: its discounted return from the root, values included, in units of the reward. visits: how often
    the search selected it; what votes are weighted by.
    """

    node: int
    value: float
    visits: int


@dataclass
class Plan:
    """What a search recommends for each of B problems.

    best: [B] node id to end at, -1 where the search has no tree.
    path: per problem the node ids from the root to `best`, both included; empty without a tree.
    actions: per problem the action indices along `path`, int32 [length]; for vectors a tensor [B, H, D]. Read them as
        `indices` or `vectors`.
    value: [B] estimated return of that plan.
    weights: [B, A] share of the root's visits per action (a training target); None without a tree; for
        `SampledActions()` as wide as the most samples.
    finished: per problem every finished leaf, in the order in which they were told.
    stop_reason: per problem the reason for stopping: budget, exhausted, converged, stalled, or "" while it runs;
        "invalid" where the model's answers about this problem cannot be planned with.
    faults: for each invalid problem what was wrong with the answers. Its plan is what was known before, or empty.
    gradient: [B] certificate of planners that use derivatives, None for others: the most return, to first order, that
        moving one component of one action by half its range, within its bounds, would add; near 0 at a local optimum,
        NaN where it was not measured at this very plan.
    violation: [B] by how much the plan violates the model's constraint: 0 where it is feasible; above 0 no candidate
        was feasible and this one violates it least; None for models without one (`scoring.py`).
    """

    best: Int
    path: list[list[int]]
    actions: list[Int] | Tensor
    value: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None
    finished: list[list[Finished]] = field(default_factory=list)
    stop_reason: list[str] = field(default_factory=list)
    gradient: NDArray[np.float32] | None = None
    violation: NDArray[np.float32] | None = None
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def indices(self) -> list[Int]:
        """Per problem the action indices, int32 [length]. Errors: ValueError for a plan of vectors."""
        if isinstance(self.actions, Tensor):
            raise ValueError("this plan's actions are vectors [B, H, D]; read them as plan.vectors")
        return self.actions

    @property
    def vectors(self) -> Tensor:
        """The action vectors [B, H, D]. Errors: ValueError for a plan of action indices."""
        if not isinstance(self.actions, Tensor):
            raise ValueError("this plan's actions are indices, one array per problem; read them as plan.indices")
        return self.actions


@dataclass(frozen=True)
class Size:
    """How large a search may grow; array sizes, widths, populations and halving schedules are computed from it.

    nodes: how many edges per problem may be opened (the driver has divided by `Model.cost`).
    exact: the cap is in nodes, so that a schedule may be planned to end on it; False where another unit or the clock
        ends the search and `nodes` is only a bound.
    """

    nodes: int
    exact: bool = True
