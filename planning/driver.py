"""The drivers: they carry a search's questions to a model and the answers back. `plan` in lock step, `aplan` awaiting.

A driver owns the states and the ledger and nothing of the search's; both loops use only what `interface.py` promises,
so a reader can write his own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .budget import PLAIN, Budget, Ledger
from .constraints import refuse_slots
from .interface import (
    Bool,
    EdgeQuery,
    Expansion,
    IndexedActions,
    Keys,
    Plan,
    SequenceQuery,
    Usage,
)
from .keys import keys_of
from .rollout import rollout
from .states import ListStates, store_for

Booked = dict[tuple[int, int], Usage]
"""What each (row, node) was charged."""

MAX_COMPLETION_STEPS = 1000
"""Steps after which closing gives up: a world without an end (most control problems) is never solved."""


@dataclass
class Outcome:
    """A plan and what it took.

    states: the store; `get(row, node)`. charged, spent, closing: [B, units]; closing is what completing an unfinished
    best leaf took, outside the cap. ends: the state each row ends in (text: the solution), None for vectors.
    node_usage: per (row, node) what that node was charged, for reading smaller budgets off a larger run.
    """

    plan: Plan
    search: Any
    states: Any
    charged: Usage
    spent: Usage
    completion: Usage
    ends: list[Any] = field(default_factory=list)
    node_usage: Booked = field(default_factory=dict)


def answer(model: Any, states: Any, query: Any) -> Any:
    """The model's answer to a query; reached states are stored."""
    if isinstance(query, SequenceQuery):
        return rollout(model, states.get(query.row, np.zeros_like(query.row)), query)
    reached, expansion = model.expand(
        states.get(query.row, query.parent), query.slot, to_end=query.to_end, evaluate=query.evaluate
    )
    expansion.duplicate_of = keep(states, query, reached)
    return expansion


def keep(states: Any, query: EdgeQuery, reached: Any) -> Any:
    """Store what a query reached; the earlier equal siblings, which followed solutions do not look for: they are
    independent samples, each with its own noise to the end, and merging two would make one of them."""
    return states.put(query.row, query.node, reached, None if query.to_end else query.parent)


def plan(
    planner: Any,
    model: Any,
    problems: Any,
    budget: Budget,
    *,
    seed: int = 0,
    keys: Keys | None = None,
    after: Outcome | None = None,
) -> Outcome:
    """Plan for a batch of problems in lock step.

    problems: whatever `model.start` takes, B of them. keys: uint64 [B] in place of those made from `seed`.
    after: the outcome of the decision before, whose search was told by `advance` which actions were taken.
    """
    refuse_slots(model)
    start, root = model.start(problems)
    rows = len(root.value)
    size = budget.size(model.cost)
    search = planner.begin(
        root,
        model.actions,
        size,
        keys=keys_of(seed, rows) if keys is None else keys,
        after=None if after is None else after.search,
    )
    states = _store(start, search, after, rows)
    ledger = Ledger(budget, rows, model.cost, getattr(model, "most_tokens", 0))
    if root.usage is not None:
        ledger.book(np.arange(rows, dtype=np.int32), root.usage, root.spent)
    while len(query := search.ask(ledger.remaining())):
        ledger.reserve(query)
        reply = answer(model, states, query)
        search.tell(query, reply)
        ledger.charge(query, reply.usage, reply.spent)
    return _outcome(search, states, ledger, {})


def _outcome(search: Any, states: Any, ledger: Ledger, booked: Booked) -> Outcome:
    charged = ledger.charged
    completion = np.zeros(charged.shape)
    return Outcome(search.plan(), search, states, charged, ledger.spent, completion, node_usage=booked)


def _store(start: Any, search: Any, after: Outcome | None, rows: int) -> Any:
    """The store of a search's states, with the start states at its roots; a reused tree keeps its own."""
    tree = getattr(search, "tree", None)
    every = np.arange(rows, dtype=np.int32)
    roots = np.zeros(rows, np.int32) if tree is None else tree.root
    reused = after is not None and tree is not None and tree is getattr(after.search, "tree", None)
    states = after.states if after is not None and reused else store_for(start, 1 if tree is None else tree.nodes)
    states.put(every, roots, start)
    return states


async def aplan(
    planner: Any,
    model: Any,
    problem: Any,
    budget: Budget,
    *,
    key: int = 0,
    close: bool = True,
) -> Outcome:
    """Plan for one problem, awaiting the model: one task per group of siblings, told as they land.

    key: the problem's own number for `keys_of`, or its 64-bit key. close: complete the best open leaf along first
    slots when the budget ends without a solution (outside the cap, booked under `completion`).
    A call that raises is given back to the search and the exception goes to the caller.
    """
    start, root = await model.start([problem])
    search = planner.begin(root, model.actions, budget.size(model.cost), keys=np.array([key], np.uint64))
    states = ListStates(start, 0)
    states.put(np.zeros(1, np.int32), np.zeros(1, np.int32), start)
    ledger = Ledger(budget, 1, model.cost, getattr(model, "most_tokens", 0))
    if root.usage is not None:
        ledger.book(np.zeros(1, np.int32), root.usage, root.spent)
    booked: Booked = {}
    await _converse(search, model, states, ledger, booked)
    outcome = _outcome(search, states, ledger, booked)
    await _end(outcome, model, close)
    return outcome


async def _converse(search: Any, model: Any, states: ListStates, ledger: Ledger, booked: Booked) -> None:
    """Ask, await whichever call lands first, tell; until the search is done."""
    flying: dict[asyncio.Task[Any] | None, EdgeQuery] = {}  # None: the one that is awaited right here
    # asyncio.wait would hang a callback on all of `flying` each time
    ready: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    try:
        while True:
            groups = _asked(search, ledger)
            if len(groups) == 1 and not flying:  # a task of its own would take a fifth of the search's time
                flying[None] = groups[0]
                _land(await _answer(model, states, groups[0]), groups[0], search, states, ledger, booked)
                del flying[None]
                continue
            for group in groups:
                task = asyncio.create_task(_answer(model, states, group))
                task.add_done_callback(ready.put_nowait)
                flying[task] = group
            if not flying:
                return
            landed = {await ready.get(), *(ready.get_nowait() for _ in range(ready.qsize()))}
            for done in [task for task in flying if task in landed]:
                _land(done.result(), flying[done], search, states, ledger, booked)
                del flying[done]
    finally:
        for group in flying.values():
            search.drop(group)
            ledger.release(group)
        tasks = [task for task in flying if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _asked(search: Any, ledger: Ledger) -> list[EdgeQuery]:
    """What the search wants to know now, one query per group of siblings, reserved."""
    query = search.ask(ledger.remaining())
    groups: list[EdgeQuery] = query.groups()
    if groups:
        ledger.reserve(query)
    return groups


def _answer(model: Any, states: ListStates, group: EdgeQuery) -> Coroutine[Any, Any, tuple[Any, Expansion]]:
    """What the model will say of a group."""
    under = states.get(group.row, group.parent)
    call: Coroutine[Any, Any, tuple[Any, Expansion]] = model.expand(
        under, group.slot, to_end=group.to_end, evaluate=group.evaluate
    )
    return call


def _land(
    answer: tuple[Any, Expansion], group: EdgeQuery, search: Any, states: ListStates, ledger: Ledger, booked: Booked
) -> None:
    """Keep what a call reached, tell the search and book it."""
    reached, expansion = answer
    expansion.duplicate_of = keep(states, group, reached)
    search.tell(group, expansion)
    ledger.charge(group, expansion.usage, expansion.spent)
    for i, node in enumerate(group.node.tolist()):
        booked[0, node] = PLAIN if expansion.usage is None else expansion.usage[i]


async def _end(outcome: Outcome, model: Any, close: bool) -> None:
    """Set the state the plan ends in, completing it along first slots where the search found no solution."""
    if not outcome.plan.path[0]:
        return
    node = int(outcome.plan.best[0])
    state = outcome.states.states[0, node]
    solved = any(f.node == node for f in outcome.plan.finished[0])
    steps = 0
    while close and not solved and isinstance(model.actions, IndexedActions) and steps < MAX_COMPLETION_STEPS:
        steps += 1
        (state,), expansion = await model.expand([state], np.zeros(1, np.int32), to_end=True, evaluate="finished")
        usage = PLAIN if expansion.usage is None else expansion.usage
        outcome.completion += usage
        outcome.spent += usage if expansion.spent is None else expansion.spent
        solved = bool(np.asarray(expansion.discount)[0] == 0)
    outcome.ends = [state]


def receding_horizon(
    planner: Any,
    model: Any,
    problems: Any,
    act: Callable[[Any], tuple[Any, Bool]],
    budget: Budget,
    steps: int,
    *,
    seed: int = 0,
    warm: bool = True,
) -> Iterator[Outcome]:
    """Model predictive control: plan, take the first action, look again, plan anew.

    act: takes the first actions (int32 [B] slots, or tensor [B, D]) and returns the next problems and which rows are
    still alive [B]; rows that are not are planned for but ignored. warm: go on from the plan before (shifted sequences;
    the subtree of the action taken where the planner has `reuse`). Yields each decision's outcome before acting.
    """
    after: Outcome | None = None
    for step in range(steps):
        outcome = plan(planner, model, problems, budget, keys=keys_of(seed + step, _rows(problems)), after=after)
        yield outcome
        taken = first_actions(outcome.plan)
        problems, alive = act(taken)
        if not alive.any():
            return
        after = None
        if warm and _can_go_on(outcome, taken):
            outcome.search.advance(taken)
            after = outcome


def _rows(problems: Any) -> int:
    return len(problems[0]) if isinstance(problems, tuple) else len(problems)


def _can_go_on(outcome: Outcome, taken: Any) -> bool:
    """Whether the search can be carried over to the next decision in every row."""
    return hasattr(outcome.search, "advance") and (
        not hasattr(outcome.search, "tree") or bool(getattr(outcome.search.planner, "reuse", False))
    )


def first_actions(plan: Plan) -> Any:
    """What to do now: int32 [B] slots of a tree's plans (0 where a plan is empty), or the first vectors [B, D]."""
    if isinstance(plan.actions, list):
        return np.array([a[0] if len(a) else 0 for a in plan.actions], np.int32)
    return plan.actions[:, 0]
