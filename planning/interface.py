"""The contract between models, planners, searches and drivers. Read this file first.

It holds protocols and computes nothing; the data they exchange is in `messages.py`, action spaces are in `spaces.py`,
cost is in `usage.py`, and this module exports all of them. A *model* answers queries about states, a *search* asks
them, and a *driver* (`driver.py`) passes queries and answers between the two. A search never sees a state: it works on
numbers and node ids. A model never sees a tree: it is given K states and K actions and returns what they lead to.

Shapes: B problems (rows) planned at once, K edges or candidates in a query, A actions, H steps of a sequence,
D components of an action vector, P particles or ensemble members.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from .messages import (
    Actions,
    Answer,
    Bool,
    EdgeQuery,
    Evaluate,
    Expansion,
    Finished,
    Float,
    Index,
    Int,
    Keys,
    ModelError,
    Plan,
    Query,
    Returns,
    SequenceQuery,
    Size,
)
from .spaces import ActionSpace, BoxActions, DiscreteActions, IndexedActions, SampledActions, action_count
from .usage import UNITS, Usage

__all__ = [
    "UNITS",
    "ActionSpace",
    "Actions",
    "Answer",
    "AnySearch",
    "AsyncModel",
    "Bool",
    "BoxActions",
    "Constrained",
    "DiscreteActions",
    "EdgeQuery",
    "Evaluate",
    "Expansion",
    "Finished",
    "Float",
    "Index",
    "IndexedActions",
    "Int",
    "Keys",
    "Model",
    "ModelError",
    "Observed",
    "Offering",
    "Plan",
    "Planner",
    "Propagated",
    "Query",
    "Remembering",
    "Returns",
    "SampledActions",
    "Search",
    "SelfAnswering",
    "SequenceQuery",
    "Size",
    "Steppable",
    "Stochastic",
    "Usage",
    "Valued",
    "Vectorised",
    "WarmStartable",
    "action_count",
    "offered",
    "refuse_environment",
]

States = TypeVar("States")
Kind = TypeVar("Kind")
QueryT = TypeVar("QueryT")
AnswerT = TypeVar("AnswerT", contravariant=True)


class Model(Protocol[States]):
    """A world to plan in: physics, a network, an ensemble, a language model.

    actions: the action space. cost: the most nodes one action in one state may be charged; 1, or k for an action that
        is repeated k times.
    """

    @property
    def actions(self) -> ActionSpace: ...

    @property
    def cost(self) -> int: ...

    def start(self, problems: object) -> tuple[States, Expansion]:
        """The B states that B problems begin in. MuZero's representation and prediction h, f.

        The expansion's reward is 0 and discount 1 unless the problem is over before it began.
        """
        ...

    def expand(
        self, states: States, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
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

    async def start(self, problems: object) -> tuple[States, Expansion]: ...

    async def expand(
        self, states: States, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]: ...


class Offering:
    """A model that decides at run time which optional interfaces it offers, such as a wrapper around another model."""

    def offer(self, kind: type[Kind]) -> Kind | None:
        """An object that implements `kind` for this model's states, or None; by default the model itself."""
        return self if isinstance(self, kind) else None


def offered(model: object, kind: type[Kind]) -> Kind | None:
    """What a model offers beyond `start` and `expand`, or None.

    kind: one of the optional interfaces below. A model offers those it inherits from; an `Offering` is asked.
    Attributes of the same name on a model that does not inherit from `kind` are never used.
    """
    if isinstance(model, Offering):
        return model.offer(kind)
    return model if isinstance(model, kind) else None


def refuse_environment(model: object) -> None:
    """Errors: TypeError for a gymnasium environment given as a model."""
    if any(kind.__module__.partition(".")[0] in ("gymnasium", "gym") for kind in type(model).__mro__):
        raise TypeError(
            f"{type(model).__name__} is a gymnasium environment; planning needs a model, which can step any batch of "
            "states: AnalyticModel(dynamics) where the equations are known (such as AnalyticModel(Pendulum())), or a "
            "model learned from the environment's transitions, such as MLPModel by fit_mlp"
        )


class Steppable(ABC, Generic[States]):
    """Optional: a step without values, for the inner steps of a rollout."""

    @abstractmethod
    def step(self, states: States, actions: Tensor) -> tuple[States, Tensor, Tensor]:
        """[K] states and actions to next states, rewards [K] and discounts [K]. It costs one node per particle."""


class Vectorised(ABC, Generic[States]):
    """Optional: the returns of whole action sequences in one call, without derivatives."""

    @abstractmethod
    def rollout_returns(self, states: States, actions: Tensor) -> Tensor:
        """Returns [N] of N states under actions [H, N, D]: discounted rewards, and the discounted value at the end."""


class Stochastic(ABC, Generic[States]):
    """Optional: several sampled outcomes for each candidate, called particles.

    particles: P, how many per candidate; 1 for a deterministic model.
    """

    particles: int

    @abstractmethod
    def repeat(self, states: States, keys: Keys) -> States:
        """N states to N * P, the particles of one state side by side.

        keys: uint64 [N]; they are alike for all candidates of a problem, which are thus compared under common random
        numbers.
        """


class Constrained(ABC, Generic[States]):
    """Optional: a constraint on states and actions."""

    @abstractmethod
    def constraint(self, states: States, actions: Tensor) -> Tensor:
        """g [K] or [K, C], satisfied where g <= 0, of taking K actions in K states.

        actions: vectors [K, D], or indices [K] for indexed action spaces.
        """


class Propagated(ABC):
    """Optional: another way of propagating uncertainty through the same model."""

    @abstractmethod
    def propagated(self, how: str) -> object:
        """The model that follows `how` instead, such as "mean" for the deterministic mean of an ensemble."""


class Remembering(ABC):
    """Optional: a memory between decisions, such as the filtered state of a recurrent model."""

    @abstractmethod
    def remember(self, memory: object | None, actions: Sequence[object] | None, obs: Float, fresh: Bool) -> object:
        """The memory after observing `obs` [B, ...], which is also what `start` takes as problems.

        memory: what the previous call returned, None at first. actions: the B actions the environments were given
        since, None at first. fresh: [B] rows whose episode begins with this observation: their memory is reset.
        """


class Valued(ABC, Generic[States]):
    """Optional: a value function of the model's own, which is already part of its expansions."""

    @abstractmethod
    def state_value(self, states: States) -> Tensor:
        """[K] discounted return still to come from each of K states."""


class Observed(ABC, Generic[States]):
    """Optional: states that hold more than a value function needs, such as particles with their noise."""

    @abstractmethod
    def observation(self, states: States) -> Tensor:
        """[K, ...] the part of K states that value functions are functions of."""


class SelfAnswering(ABC):
    """A query that computes its answer from the model itself, such as one for derivatives."""

    __slots__ = ()

    @abstractmethod
    def answer(self, model: Model[States], states: States) -> Returns:
        """The answer; `states` are those of the M problems asked about, in the order of the query's rows."""


class Search(Protocol[QueryT, AnswerT]):
    """One run of a planner over B problems. It asks queries and is told answers; it never calls a model.

    done: bool [B]. A row that is not done and awaits no answer gets a non-empty `ask` as long as it has nodes left.
    stop_reason: per row; see `Plan`.
    """

    @property
    def done(self) -> Bool: ...

    @property
    def stop_reason(self) -> list[str]: ...

    def ask(self, remaining: Int) -> QueryT:
        """The next query; `remaining` [B] is how many new nodes each row may still open, as the driver counts them.

        The search asks for no more than that; the driver never shortens a query. A row without nodes left that awaits
        no answer is done. Finished rows are absent from the query; an empty query means that answers must come first.
        """
        ...

    def tell(self, query: QueryT, answer: AnswerT) -> None:
        """The answer to a query or to any part of it, in any order. Telling a node twice is a ValueError."""
        ...

    def drop(self, query: QueryT) -> None:
        """The call failed: pending visits and node ids are given back."""
        ...

    def plan(self) -> Plan:
        """The best plan so far; it may be called at any time."""
        ...


class WarmStartable(ABC):
    """Optional for searches: the next decision can begin from this search, as `Planner.begin(after=...)`."""

    @property
    def reusable(self) -> bool:
        """Whether this run was made with settings under which it can be reused."""
        return True

    @abstractmethod
    def advance(self, actions: Actions) -> None:
        """Mark actions as taken in the environment; the next search begins where they lead.

        actions: [B] indices for trees, with -1 for rows that begin anew; [B, D] vectors or [B, n, D] for n steps.
        """

    @abstractmethod
    def plan(self) -> Plan:
        """The plan that the next search begins from."""

    def elites(self) -> tuple[Tensor, Tensor] | None:
        """The best sequences kept [B, K, H, D], the best first, and their returns [B, K]; None where none are kept."""
        return None


AnySearch = Search[EdgeQuery, Expansion] | Search[SequenceQuery, Returns]
"""A search over a tree, or a search over sequences of action vectors."""


class Planner(Protocol):
    """Settings only: immutable and reusable, one object for every problem and every model."""

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: WarmStartable | None = None
    ) -> AnySearch:
        """Start a search over the B problems of `root`.

        keys: uint64 [B], one per problem: a row's random choices come from its key and not from its place in the batch.
        after: an earlier search whose `advance` was called with the actions taken. A search over sequences shifts the
            plan of any other; a tree search reuses the subtree of its own planner.
        """
        ...
