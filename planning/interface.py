"""What a model, a planner and a search owe each other. Read this file first.

Here live the types and protocols of the whole package and nothing that computes. A *model* answers questions about
states, a *search* asks them, a *driver* (`driver.py`) carries them to and fro. A search never sees a state: it holds
numbers and node ids. A model never sees a tree: it is given K states and K actions and says what they lead to.

Shapes: B problems (rows) planned at once, K leaves or candidates in a query, A slots, H steps of a sequence,
D components of an action vector, P particles or ensemble members.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Int = NDArray[np.int32]
Keys = NDArray[np.uint64]
Bool = NDArray[np.bool_]
Float = Any
"""float32 array, numpy or torch; a search converts what it is told to numpy once, at its border."""

States = TypeVar("States")

UNITS = (
    "nodes", "model_calls", "generated_tokens", "prompt_tokens", "cached_tokens", "value_tokens", "seconds", "flops",
)  # fmt: skip
"""The columns of every usage array. A node is a reached state; in control one state and action through the dynamics of
one member. `prompt_tokens` are those computed, `cached_tokens` those found in a cache; `value_tokens` are all tokens a
critic or reward model computed. `flops` are floating-point operations for all tokens but the cached ones, 0 where the
model does not say how many it takes."""

Usage = NDArray[np.float64]
"""[K, len(UNITS)] cost of each of K answers; None in its place means one node and one model call each."""


class ModelError(RuntimeError):
    """A model broke its contract: a field of a wrong shape, or a batch without one finite number."""


@dataclass(frozen=True)
class DiscreteActions:
    """An action is an index in 0 .. n - 1; actions that a state does not have get logit -inf."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"DiscreteActions wants at least one action, got n = {self.n}")


@dataclass(frozen=True)
class SampledActions:
    """An action is the index of one of unboundedly many exchangeable samples of a policy, such as continuations of a text.

    Logits are None: samples come from the policy already, so weighting them by it would count it twice.
    """


@dataclass(frozen=True)
class BoxActions:
    """An action is a vector within finite bounds, `low` and `high` of shape [D]."""

    low: torch.Tensor
    high: torch.Tensor

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or self.low.ndim != 1:
            raise ValueError(
                f"BoxActions wants low and high of one shape [D], got {self.low.shape} and {self.high.shape}"
            )
        if not bool(torch.isfinite(self.low).all() and torch.isfinite(self.high).all()):
            raise ValueError(
                "BoxActions wants finite bounds; wrap the environment in RescaleAction or ClipAction first"
            )
        if not bool((self.low < self.high).all()):
            raise ValueError("BoxActions wants low < high in every component")


IndexedActions = DiscreteActions | SampledActions
"""The spaces whose actions are indices; these are what trees search over."""

ActionSpace = IndexedActions | BoxActions


def action_count(actions: IndexedActions) -> int:
    """How many actions every state offers, 0 where the offer is unbounded."""
    return actions.n if isinstance(actions, DiscreteActions) else 0


@dataclass(slots=True)
class Expansion:
    """What a model says of K reached states.

    reward: [K] reward of the step that reached the state.
    discount: [K] factor on everything after it; 0 ends the episode. A time limit is no end and never sets 0.
    value: [K] discounted return still to come; 0 where discount is 0.
    logits: [K, A] preferences over the state's own actions, -inf where there is no such action; None for
        `SampledActions()` and `BoxActions`; None for `DiscreteActions(n)` means all alike.
    usage: what these answers cost this planner had it run alone (*charged*).
    spent: what they cost the engine just now, None where that is the same.
    duplicate_of: [K] node id of an earlier sibling that is the same state, -1 where there is none; set by the driver.
    dead_end: [K] true where an end (discount 0) is no solution, such as a text cut off before its answer; None: nowhere.
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


@dataclass(slots=True)
class EdgeQuery:
    """Edges to open: walk `slot` of state `parent` of problem `row` and call what is reached `node`.

    row, parent, slot, node: int32 [K].
    to_end: whoever asked will walk first slots from here to the end, so a model may write all of it at once.
    evaluate: which of the reached states need a value.
    """

    row: Int
    parent: Int
    slot: Int
    node: Int
    to_end: bool = False
    evaluate: Evaluate = "all"

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: Any) -> EdgeQuery:
        """The leaves at `index` (array of positions, or a slice) as a query of its own."""
        return EdgeQuery(
            self.row[index], self.parent[index], self.slot[index], self.node[index], self.to_end, self.evaluate
        )

    def groups(self) -> list[EdgeQuery]:
        """One query per parent: siblings asked together are expanded together."""
        if len(self) <= 1:
            return [self] if len(self) else []
        place: dict[tuple[int, int], list[int]] = {}
        for i, pair in enumerate(zip(self.row.tolist(), self.parent.tolist())):
            place.setdefault(pair, []).append(i)
        return [self.take(np.array(index)) for index in place.values()]


@dataclass(slots=True)
class SequenceQuery:
    """Sequences of action vectors to score.

    row: int32 [M] the problems asked about. sequences: tensor [M, K, H, D]. keys: uint64 [M] for a model's own noise.

    A search that wants more than returns of a model that can be differentiated asks one of the kinds in
    `derivatives.py`, which `rollout` answers too.
    """

    row: Int
    sequences: torch.Tensor
    keys: Keys | None = None

    def __len__(self) -> int:
        return len(self.row)

    @property
    def nodes(self) -> int:
        """What the answer costs each row, in units of `Model.cost`: a node per candidate and step."""
        return self.sequences.shape[1] * self.sequences.shape[2]

    def take(self, index: Any) -> Self:
        """The rows at `index` (array of positions, or a slice) as a query of its own."""
        parts: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, x in list(parts.items()):
            parts[name] = x[index] if isinstance(x, np.ndarray | torch.Tensor) else x
        return replace(self, **parts)


@dataclass(slots=True)
class Returns:
    """The answer to `SequenceQuery`: returns [M, K, P] (P = 1 for a deterministic model), usage and spent [M, units].

    violation: [M, K, P] by how much each candidate breaks the model's constraint, 0 where it keeps it; None for a model
        without one (`constraints.py`).
    """

    returns: torch.Tensor
    usage: Usage | None = None
    spent: Usage | None = None
    violation: torch.Tensor | None = field(default=None, kw_only=True)


Query = EdgeQuery | SequenceQuery
Answer = Expansion | Returns


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished leaf of a tree: its node id, its discounted return from the root, how often it was visited."""

    node: int
    value: float
    visits: int


@dataclass
class Plan:
    """What a search recommends for each of B problems.

    best: [B] node id to end at, -1 where the search has no tree.
    path: per problem the node ids from the root to `best`, both included; empty without a tree.
    actions: per problem the slots along `path`, int32 [length]; for vectors a tensor [B, H, D].
    value: [B] estimated return of that plan.
    weights: [B, A] share of the root's visits per slot (a training target); None without a tree; for `SampledActions()`
        as wide as the most draws.
    finished: per problem every finished leaf, in the order they were told.
    stop_reason: per problem the reason for stopping: budget, exhausted, converged, stalled, or "" while it runs.
    gradient: [B] certificate of planners that use derivatives, None for others: the most return, to first order, that
        moving one component of one action by half its range, within its bounds, would add; near 0 at a local optimum,
        NaN where it was not measured at this very plan.
    violation: [B] by how much the plan breaks the model's constraint: 0 where it keeps it; above 0 no candidate kept it
        and this one broke it least; None for models without one (`constraints.py`).
    """

    best: Int
    path: list[list[int]]
    actions: Any
    value: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None
    finished: list[list[Finished]] = field(default_factory=list)
    stop_reason: list[str] = field(default_factory=list)
    gradient: NDArray[np.float32] | None = None
    violation: NDArray[np.float32] | None = None


class Model(Protocol[States]):
    """A world to plan in: physics, a network, an ensemble, a language model.

    actions: what states offer.
    cost: the most nodes one action in one state may be charged (1; a torque held k steps: k).
    """

    @property
    def actions(self) -> ActionSpace: ...

    @property
    def cost(self) -> int: ...

    def start(self, problems: Any) -> tuple[States, Expansion]:
        """The B states that B problems begin in. MuZero's representation and prediction h, f.

        The expansion's reward is 0 and discount 1 unless the problem is over before it began.
        """
        ...

    def expand(
        self, states: States, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]:
        """Take K actions in K states. MuZero's dynamics and prediction g, f.

        actions: int array [K] for `DiscreteActions` or `SampledActions`, tensor [K, D] for `BoxActions`.
        """
        ...


class AsyncModel(Protocol[States]):
    """A `Model` whose two methods are awaited; `most_tokens` is the most one expansion may generate."""

    @property
    def actions(self) -> ActionSpace: ...

    @property
    def cost(self) -> int: ...

    @property
    def most_tokens(self) -> int: ...

    async def start(self, problems: Any) -> tuple[States, Expansion]: ...

    async def expand(
        self, states: States, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]: ...


@dataclass(frozen=True)
class Size:
    """How large a search may grow: what array sizes, widths, populations and halving schedules are made from.

    nodes: how many actions per problem may be tried in a state (the driver has divided by `Model.cost`).
    exact: the cap is in nodes, so that a schedule may be laid out to end on it; False where another unit or the clock
        ends the search and `nodes` is only a bound.
    """

    nodes: int
    exact: bool = True


class Search(Protocol):
    """One run of a planner over B problems: it asks, is told, and never calls a model.

    done: bool [B]. A row with nothing pending that is not done gets a non-empty `ask`, as long as it has room.
    """

    @property
    def done(self) -> Bool: ...

    @property
    def stop_reason(self) -> list[str]: ...

    def ask(self, remaining: Int) -> Any:
        """The next query; `remaining` [B] is how many new nodes each row may still open, as the driver counts them.

        The search cuts its wishes to fit; the driver never does. A row whose room is used up with nothing pending is
        done. Finished rows are absent from the query; an empty query means that answers must come first.
        """
        ...

    def tell(self, query: Any, answer: Any) -> None:
        """The answer to a query or to any part of it, in any order. Telling a leaf twice is a ValueError."""
        ...

    def drop(self, query: Any) -> None:
        """The call failed: pending visits and node ids are given back."""
        ...

    def plan(self) -> Plan:
        """What is best so far; may be called at any time."""
        ...


class Planner(Protocol):
    """Settings only: immutable and reusable, one object for every problem and every model."""

    def begin(
        self,
        root: Expansion,
        actions: ActionSpace,
        size: Size,
        *,
        keys: Keys,
        after: Any | None = None,
    ) -> Any:
        """Start a search over the B problems of `root`.

        keys: uint64 [B], one per problem: a row's random choices come from its key and not from its place in the batch.
        after: an earlier search of the same planner whose `advance` was called with the actions taken: warm start
            for searches over sequences (each takes up the plan of any other), subtree reuse for trees.
        """
        ...
