"""The drivers: they pass a search's queries to a model and the answers back. `plan` in lock step, `aplan` with asyncio.

A driver owns the states and the ledger. Both loops use only the contract of `interface.py`, so a reader can write one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sized
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

import numpy as np

from .budget import Budget, Ledger, budget_of
from .chained import FixedOutcome
from .interface import (
    Actions,
    Answer,
    AnySearch,
    AsyncModel,
    Bool,
    EdgeQuery,
    Expansion,
    IndexedActions,
    Int,
    Keys,
    Model,
    ModelError,
    Plan,
    Planner,
    Query,
    Search,
    SequenceQuery,
    States,
    Usage,
    WarmStartable,
    refuse_environment,
)
from .noise import keys_of
from .rollout import rollout
from .scoring import refuse_constrained_indices
from .states import ListStates, StateStore, store_for
from .trees.base import TreeSearch
from .trees.tree import Tree
from .usage import ONE_STEP_USAGE, no_usage, usage_or_one_step

State = TypeVar("State")

NodeUsage = dict[tuple[int, int], Usage]
"""The usage [units] that each (row, node) was charged."""

MAX_COMPLETION_STEPS = 1000  # then a completion gives up: the world has no end, like most control problems


@dataclass
class Outcome(Generic[States]):
    """A plan and its cost.

    states: the store; `get(row, node)`. charged, spent, completion: [B, units]; completion is the cost of completing an
    unfinished best leaf, outside the cap. ends: the state each row ends in (text: the solution), empty for vectors.
    node_usage: per (row, node) the usage that node was charged, for reading smaller budgets off a larger run.
    """

    plan: Plan
    search: AnySearch
    states: StateStore[States]
    charged: Usage
    spent: Usage
    completion: Usage
    ends: list[object] = field(default_factory=list)
    node_usage: NodeUsage = field(default_factory=dict)

    @property
    def tree(self) -> Tree:
        """The tree that was searched. Errors: ValueError for a search over sequences of vectors."""
        if not isinstance(self.search, TreeSearch):
            raise ValueError(f"{type(self.search).__name__} searched no tree")
        return self.search.tree


def answer_query(model: Model[States], states: StateStore[States], query: Query) -> Answer:
    """The model's answer to a query; reached states are stored."""
    if isinstance(query, SequenceQuery):
        return rollout(model, states.get(query.row, np.zeros_like(query.row)), query)
    parents = states.get(query.row, query.parent)
    reached, expansion = model.expand(parents, query.action, to_end=query.to_end, evaluate=query.evaluate)
    expansion.duplicate_of = store_reached(states, query, reached)
    return expansion


def store_reached(states: StateStore[States], query: EdgeQuery, reached: States) -> Int | None:
    """Store the states that a query reached, and find earlier equal siblings of each.

    States of a query `to_end` have no duplicates: they are independent samples, each with its own noise.
    """
    return states.put(query.row, query.node, reached, None if query.to_end else query.parent)


def plan(
    planner: Planner,
    model: Model[States],
    problems: object,
    budget: Budget | int,
    *,
    seed: int = 0,
    keys: Keys | None = None,
    after: Outcome[States] | FixedOutcome | None = None,
) -> Outcome[States]:
    """Plan for a batch of problems in lock step.

    problems: whatever `model.start` takes, B of them. budget: of each problem; a number means nodes. keys: uint64 [B]
    in place of those made from `seed`. after: the outcome of the decision before, whose search was told by `advance`
    which actions were taken.

    Errors: TypeError for a gymnasium environment given as a model, ValueError for a planner that does not take the
    model's actions, ModelError for answers that break the contract, and where no problem can be planned for. Where only
    some cannot, their `Plan.stop_reason` is "invalid" and `Plan.faults` says why.
    """
    refuse_environment(model)
    refuse_constrained_indices(model)
    budget = budget_of(budget)
    start, root = model.start(problems)
    rows = _started(root)
    search = planner.begin(
        root,
        model.actions,
        budget.size(model.cost),
        keys=keys_of(seed, rows) if keys is None else keys,
        after=None if after is None else cast(WarmStartable, after.search),
    )
    states = _store(start, search, after, rows)
    ledger = Ledger(budget, rows, model.cost)
    if root.usage is not None:
        ledger.book(np.arange(rows, dtype=np.int32), root.usage, root.spent)
    _run(search, model, states, ledger)
    return _outcome(search, states, ledger, {})


def _started(root: Expansion) -> int:
    """How many problems the model has started. Errors: ModelError for values without a length."""
    try:
        return len(root.value)
    except TypeError:
        raise ModelError(f"the model's value at the start must be [B], got {type(root.value).__name__}") from None


def _run(search: AnySearch, model: Model[States], states: StateStore[States], ledger: Ledger) -> None:
    """Ask and tell until the search asks nothing."""
    any_search = cast("Search[Query, Answer]", search)
    while len(query := any_search.ask(ledger.remaining())):
        ledger.reserve(query)
        answer = answer_query(model, states, query)
        any_search.tell(query, answer)
        ledger.charge(query, answer.usage, answer.spent)


def _outcome(search: AnySearch, states: StateStore[States], ledger: Ledger, node_usage: NodeUsage) -> Outcome[States]:
    completion, found = no_usage(ledger.rows), search.plan()
    if found.faults and set(found.stop_reason) == {"invalid"}:
        raise ModelError(f"no problem can be planned for: {found.faults[min(found.faults)]}")
    return Outcome(found, search, states, ledger.charged, ledger.spent, completion, node_usage=node_usage)


def _store(
    start: States, search: AnySearch, after: Outcome[States] | FixedOutcome | None, rows: int
) -> StateStore[States]:
    """The store of a search's states, with the start states at its roots; a reused tree keeps its own."""
    row = np.arange(rows, dtype=np.int32)
    if not isinstance(search, TreeSearch):
        states = store_for(start, 1)
        states.put(row, np.zeros(rows, np.int32), start)
        return states
    tree = search.tree
    reused = isinstance(after, Outcome) and isinstance(after.search, TreeSearch) and after.search.tree is tree
    states = after.states if isinstance(after, Outcome) and reused else store_for(start, tree.capacity)
    states.put(row, tree.root, start)
    return states


async def aplan(
    planner: Planner,
    model: AsyncModel[list[State]],
    problem: object,
    budget: Budget | int,
    *,
    key: int = 0,
    close: bool = True,
) -> Outcome[list[State]]:
    """Plan for one problem, awaiting the model: one task per group of siblings, told as they arrive.

    budget: a number means nodes. key: the problem's own number for `keys_of`, or its 64-bit key. close: complete the
    best open leaf along action 0 when the budget ends without a solution (outside the cap, booked under `completion`).
    After a call that raises, its query is dropped and the exception goes to the caller.

    Errors: as `plan`.
    """
    refuse_environment(model)
    budget = budget_of(budget)
    start, root = await model.start([problem])
    search = planner.begin(root, model.actions, budget.size(model.cost), keys=np.array([key], np.uint64))
    states: ListStates[State] = ListStates(start, 0)
    states.put(np.zeros(1, np.int32), np.zeros(1, np.int32), start)
    ledger = Ledger(budget, 1, model.cost, model.most_tokens)
    if root.usage is not None:
        ledger.book(np.zeros(1, np.int32), root.usage, root.spent)
    conversation = _Conversation(cast("Search[EdgeQuery, Expansion]", search), model, states, ledger)
    await conversation.run()
    outcome = _outcome(search, states, ledger, conversation.node_usage)
    await _complete(outcome, model, states, close)
    return outcome


class _Conversation(Generic[State]):
    """The loop of `aplan`: ask, await whichever call ends first, tell; until the search is done."""

    def __init__(
        self,
        search: Search[EdgeQuery, Expansion],
        model: AsyncModel[list[State]],
        states: ListStates[State],
        ledger: Ledger,
    ) -> None:
        self.search, self.model, self.states, self.ledger = search, model, states, ledger
        self.node_usage: NodeUsage = {}
        self.in_flight: dict[asyncio.Task[tuple[list[State], Expansion]], EdgeQuery] = {}

    async def run(self) -> None:
        # asyncio.wait would attach a callback to every task in flight each time
        ready: asyncio.Queue[asyncio.Task[tuple[list[State], Expansion]]] = asyncio.Queue()
        in_flight = self.in_flight
        try:
            while True:
                for group in self._ask():
                    task = asyncio.create_task(self._call(group))
                    task.add_done_callback(ready.put_nowait)
                    in_flight[task] = group
                if not in_flight:
                    return
                ended = {await ready.get(), *(ready.get_nowait() for _ in range(ready.qsize()))}
                for task in [each for each in in_flight if each in ended]:
                    self._tell(task.result(), in_flight[task])
                    del in_flight[task]
        finally:
            await self._drop_in_flight()

    async def _drop_in_flight(self) -> None:
        for group in self.in_flight.values():
            self.search.drop(group)
            self.ledger.release(group)
        for task in self.in_flight:
            task.cancel()
        await asyncio.gather(*self.in_flight, return_exceptions=True)

    def _ask(self) -> list[EdgeQuery]:
        """The search's next query, reserved, as one query per group of siblings."""
        query = self.search.ask(self.ledger.remaining())
        groups = query.groups()
        if groups:
            self.ledger.reserve(query)
        return groups

    def _call(self, group: EdgeQuery) -> Coroutine[object, object, tuple[list[State], Expansion]]:
        """The model's answer to a group, to be awaited."""
        parents = self.states.get(group.row, group.parent)
        call = self.model.expand(parents, group.action, to_end=group.to_end, evaluate=group.evaluate)
        return cast("Coroutine[object, object, tuple[list[State], Expansion]]", call)

    def _tell(self, answer: tuple[list[State], Expansion], group: EdgeQuery) -> None:
        """Store the states that a call reached, tell the search and charge the call."""
        reached, expansion = answer
        expansion.duplicate_of = store_reached(self.states, group, reached)
        self.search.tell(group, expansion)
        self.ledger.charge(group, expansion.usage, expansion.spent)
        for i, node in enumerate(group.node.tolist()):
            self.node_usage[0, node] = ONE_STEP_USAGE if expansion.usage is None else expansion.usage[i]


async def _complete(
    outcome: Outcome[list[State]], model: AsyncModel[list[State]], states: ListStates[State], close: bool
) -> None:
    """Set the state the plan ends in, completing it along action 0 where the search found no solution."""
    if not outcome.plan.path[0]:
        return
    node = int(outcome.plan.best[0])
    state = states.states[0, node]
    solved = any(f.node == node for f in outcome.plan.finished[0])
    steps = 0
    while close and not solved and isinstance(model.actions, IndexedActions) and steps < MAX_COMPLETION_STEPS:
        steps += 1
        (state,), expansion = await model.expand([state], np.zeros(1, np.int32), to_end=True, evaluate="finished")
        usage = usage_or_one_step(expansion.usage, 1)
        outcome.completion += usage
        outcome.spent += usage if expansion.spent is None else expansion.spent
        solved = bool(np.asarray(expansion.discount)[0] == 0)
    outcome.ends = [state]


def receding_horizon(
    planner: Planner,
    model: Model[States],
    problems: object,
    act: Callable[[Actions], tuple[object, Bool]],
    budget: Budget | int,
    steps: int,
    *,
    seed: int = 0,
    warm: bool = True,
) -> Iterator[Outcome[States]]:
    """Model predictive control: plan, take the first action, observe, plan anew.

    act: takes the first actions (int32 [B] indices, or tensor [B, D]) and returns the next problems and which rows are
    still alive [B]; rows that are not are planned for but ignored. budget: of each decision; a number means nodes.
    warm: begin from the plan before (shifted sequences; the subtree of the action taken where the planner has `reuse`).
    Yields each decision's outcome before acting.
    """
    after: Outcome[States] | None = None
    for step in range(steps):
        outcome = plan(planner, model, problems, budget, keys=keys_of(seed + step, _count(problems)), after=after)
        yield outcome
        actions = first_actions(outcome.plan)
        problems, alive = act(actions)
        if not alive.any():
            return
        after = outcome if warm and advance_search(outcome, actions) else None


def _count(problems: object) -> int:
    return len(cast(Sized, problems[0] if isinstance(problems, tuple) else problems))


def advance_search(outcome: Outcome[States], actions: Actions) -> bool:
    """Mark the actions [B] or [B, D] as taken, so that the next decision can begin from this search.

    False where it cannot: a search that is not `WarmStartable`, or a tree that was searched without `reuse`.
    """
    search: object = outcome.search
    if not isinstance(search, WarmStartable) or not search.reusable:
        return False
    search.advance(actions)
    return True


def first_actions(plan: Plan) -> Actions:
    """The actions to take now: int32 [B] indices of a tree's plans (0 where a plan is empty), or vectors [B, D]."""
    if isinstance(plan.actions, list):
        return np.array([a[0] if len(a) else 0 for a in plan.actions], np.int32)
    return plan.actions[:, 0]
