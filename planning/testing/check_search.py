"""Check a planner: whether its searches keep the contract of `interface.Search`, on problems with known answers.

The same search is run in four ways: answered as it asks, answered row by row in reverse, answered twice, and with every
third call failing. All must come to the same plan. The problems are in `problems.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from ..budget import Budget
from ..driver import answer_query, plan
from ..interface import (
    ActionSpace,
    Answer,
    Bool,
    BoxActions,
    DiscreteActions,
    Expansion,
    Int,
    Keys,
    Model,
    Plan,
    Planner,
    Query,
    SampledActions,
    Search,
    SequenceQuery,
    Size,
    States,
)
from ..noise import keys_of
from ..states import store_for
from ..trees.base import TreeSearch
from ..trees.mcts import MCTS
from ..usage import NODES
from .problems import Table, TargetProblem, bandit, chain

AnySearch = Search[Query, Answer]
Reply = Callable[[Query], Answer]
Tell = Callable[[AnySearch, Query, Reply, int], bool]
"""Answer a query of a search by the function given; the number is the call's. False where the query was dropped."""

Problems = list[int] | list[float]


class SearchError(AssertionError):
    """A search broke its contract."""


def check_search(
    planner: Planner, model: Model[States] | None = None, problems: Problems | None = None, *, nodes: int = 48
) -> None:
    """Check a planner on one model and its problems, or on every built-in one whose action space it takes.

    Checked: a row that awaits no answer and is not done asks, for no more nodes than it has left; `plan` at any time;
    no row's plan depends on other rows or on their order; the same keys give the same plan; telling or dropping what is
    not awaited is a ValueError; a failed call changes neither the plan nor the nodes used (MCTS with `leaves` > 1 must
    only come to an end); budgets are never exceeded; nothing is asked about problems that are over. Without a model
    also: bandits, chains and a target in a box are solved.

    Errors: SearchError saying which part of the contract was broken where; ValueError if the planner takes none of the
    action spaces.
    """
    if model is not None:
        return _check_on(planner, model, [] if problems is None else problems, nodes)
    tables = [_random_table(sampled) for sampled in (False, True)]
    takes = [table for table in tables if _takes(planner, table.actions)]
    for table in takes:
        _check_on(planner, table, [0, 1, 2], nodes)
        _check_solved(planner, table.sampled, nodes)
    target = TargetProblem(torch.tensor([0.6]))
    if _takes(planner, target.actions):
        _check_on(planner, target, [0.0, 0.0, 0.0], 4 * nodes)
        _check_target(planner, target, 16 * nodes)
    elif not takes:
        raise ValueError(f"{planner} takes none of DiscreteActions(n), SampledActions(), BoxActions")


def _random_table(sampled: bool) -> Table:
    draw = np.random.default_rng(3)
    shape = (7, 3)
    over = draw.random(shape) < 0.2
    return Table(
        draw.integers(0, 7, shape),
        draw.normal(size=shape),
        np.where(over, 0, 0.9),
        draw.normal(size=7),
        draw.normal(size=shape),
        sampled,
    )


def _takes(planner: Planner, space: ActionSpace) -> bool:
    zero = np.zeros(1, np.float32)
    try:
        planner.begin(Expansion(zero, zero + 1, zero), space, Size(8), keys=keys_of(0, 1))
    except ValueError:
        return False
    return True


def _check_on(planner: Planner, model: Model[States], problems: Problems, nodes: int) -> None:
    where = f"{type(planner).__name__} over {model.actions}"
    rows = len(problems)
    keys = keys_of(7, rows)

    def run(tell: Tell, row: int | None = None) -> Plan:
        if row is None:
            return _run(planner, model, problems, nodes, keys, tell, where)
        return _run(planner, model, problems[row : row + 1], nodes, keys[row : row + 1], tell, where)

    used = np.zeros((2, rows), np.int64)
    reference = run(_counted(_as_asked, used[0]))
    _check_same(run(_as_asked), reference, f"{where}: the same keys gave another plan")
    _check_same(run(_in_reverse), reference, f"{where}: the order in which rows were told changed the plan")
    _check_same(run(_twice), reference, f"{where}: refused answers changed the plan")
    failing = run(_counted(_failing, used[1]))
    if not isinstance(planner, MCTS) or planner.leaves == 1:
        _check_same(failing, reference, f"{where}: dropped calls changed the plan")
        if (used[0] != used[1]).any():
            raise SearchError(f"{where}: dropped calls changed the number of nodes used from {used[0]} to {used[1]}")
    for i in range(rows):
        alone = run(_as_asked, i)
        _check_same(alone, _row_of(reference, i), f"{where}: row {i} alone has another plan than in the batch")
    for cap in (1, 2, nodes // 3, nodes):
        charged = plan(planner, model, problems, Budget(nodes=cap), keys=keys).charged[:, NODES]
        if (charged > cap).any():
            raise SearchError(f"{where}: {charged.max():g} nodes were charged under a cap of {cap}")
    _check_over(planner, model, problems, keys, where)


def _run(
    planner: Planner, model: Model[States], problems: Problems, nodes: int, keys: Keys, tell: Tell, where: str
) -> Plan:
    """Ask until nothing is asked, then tell all of it, over and over until the search is done."""
    start, root = model.start(problems)
    rows = len(root.value)
    remaining = np.full(rows, nodes // model.cost, np.int32)
    begun = planner.begin(root, model.actions, Size(int(remaining[0])), keys=keys)
    states = store_for(start, begun.tree.capacity if isinstance(begun, TreeSearch) else 1)
    states.put(np.arange(rows, dtype=np.int32), np.zeros(rows, np.int32), start)
    search = cast(AnySearch, begun)
    calls = 0
    for _ in range(4 * nodes + 8):
        queries = _ask_all(search, remaining, where)
        if not queries:
            return search.plan()
        for query in queries:
            calls += 1
            if calls < 6:
                _check_plan(search.plan(), model.actions, rows, where)
            if not tell(search, query, lambda q: answer_query(model, states, q), calls):
                np.add.at(remaining, query.row, _nodes_per_entry(query))
            if calls < 6 or calls % 8 == 0:
                _check_plan(search.plan(), model.actions, rows, where)
    raise SearchError(f"{where}: not done after {4 * nodes + 8} rounds of at most {nodes} nodes a row")


def _ask_all(search: AnySearch, remaining: Int, where: str) -> list[Query]:
    """All queries until the search waits for answers; their nodes are subtracted from `remaining`."""
    queries: list[Query] = []
    waiting: Bool = np.zeros(len(remaining), bool)
    over = np.array(search.done)
    while len(query := search.ask(remaining.copy())):
        if over[query.row].any():
            raise SearchError(f"{where}: row {int(query.row[over[query.row]][0])} asks although it is done")
        np.subtract.at(remaining, query.row, _nodes_per_entry(query))
        if (remaining < 0).any():
            raise SearchError(f"{where}: row {int(np.argmin(remaining))} asks for more nodes than it has left")
        waiting[query.row] = True
        queries.append(query)
    idle = np.flatnonzero(~waiting & ~np.array(search.done))
    if len(idle):
        raise SearchError(f"{where}: row {idle[0]} is not done, awaits nothing, and asks nothing")
    return queries


def _nodes_per_entry(query: Query) -> int:
    """Nodes per entry of `query.row`."""
    return query.nodes if isinstance(query, SequenceQuery) else 1


def _parts(query: Query) -> list[Query]:
    """A query as one query per row."""
    if isinstance(query, SequenceQuery):
        return [query.take(slice(i, i + 1)) for i in range(len(query))]
    return [query.take(np.flatnonzero(query.row == b)) for b in np.unique(query.row)]


def _as_asked(search: AnySearch, query: Query, reply: Reply, call: int) -> bool:
    search.tell(query, reply(query))
    return True


def _in_reverse(search: AnySearch, query: Query, reply: Reply, call: int) -> bool:
    for part in _parts(query)[::-1]:
        search.tell(part, reply(part))
    return True


def _twice(search: AnySearch, query: Query, reply: Reply, call: int) -> bool:
    answer = reply(query)
    search.tell(query, answer)
    _refuses(lambda: search.tell(query, answer), "telling an answer twice")
    _refuses(lambda: search.drop(query), "dropping a query that was told")
    return True


def _failing(search: AnySearch, query: Query, reply: Reply, call: int) -> bool:
    if call % 3 == 1:
        search.drop(query)
        _refuses(lambda: search.drop(query), "dropping a query twice")
        return False
    return _as_asked(search, query, reply, call)


def _counted(tell: Tell, used: NDArray[np.int64]) -> Tell:
    """`tell`, which also adds the nodes of each answered query to `used` [B]."""

    def count(search: AnySearch, query: Query, reply: Reply, call: int) -> bool:
        answered = tell(search, query, reply, call)
        if answered:
            np.add.at(used, query.row, _nodes_per_entry(query))
        return answered

    return count


def _refuses(call: Callable[[], None], what: str) -> None:
    try:
        call()
    except ValueError:
        return
    raise SearchError(f"{what} must be a ValueError")


def _check_plan(found: Plan, space: ActionSpace, rows: int, where: str) -> None:
    """Check a plan by itself, whenever it was asked for."""
    if (
        len(found.best) != rows
        or len(found.path) != rows
        or len(found.actions) != rows
        or len(found.stop_reason) != rows
    ):
        raise SearchError(f"{where}: the plan is not about {rows} rows")
    if not np.isfinite(found.value).all():
        raise SearchError(f"{where}: the plan's value is {found.value}")
    for best, path, actions in zip(found.best.tolist(), found.path, found.actions):
        if path and (path[-1] != best or len(actions) != len(path) - 1):
            raise SearchError(f"{where}: path {path} with actions {actions} does not lead to best = {best}")
    if found.weights is not None:
        total = found.weights.sum(1)
        if not (np.isclose(total, 1, atol=1e-4) | (total == 0)).all() or (found.weights < 0).any():
            raise SearchError(f"{where}: the plan's weights sum to {total}")
    if isinstance(space, BoxActions) and (
        bool((found.vectors < space.low).any()) or bool((found.vectors > space.high).any())
    ):
        raise SearchError(f"{where}: the plan's actions leave the box")


def _row_of(found: Plan, row: int) -> Plan:
    part = slice(row, row + 1)
    return Plan(found.best[part], found.path[part], found.actions[part], found.value[part])


def _check_same(a: Plan, b: Plan, message: str) -> None:
    for mine, other in zip(a.actions, b.actions, strict=True):
        x, y = torch.as_tensor(mine), torch.as_tensor(other)
        if x.shape != y.shape or not torch.allclose(x.double(), y.double(), atol=1e-4):
            raise SearchError(f"{message}: {x.tolist()}, {y.tolist()}")
    if not np.allclose(a.value, b.value, atol=1e-4):
        raise SearchError(f"{message}: values {a.value}, {b.value}")


def _check_over(planner: Planner, model: Model[States], problems: Problems, keys: Keys, where: str) -> None:
    """Check that nothing is asked about a first problem that is over before it began."""
    _, root = model.start(problems)
    first = np.arange(len(keys)) == 0
    discount = np.where(first, 0, np.asarray(root.discount, np.float32)).astype(np.float32)
    value = np.where(first, 0, np.asarray(root.value, np.float32)).astype(np.float32)
    vectors = isinstance(model.actions, BoxActions)
    root.discount, root.value = (torch.from_numpy(x) if vectors else x for x in (discount, value))
    search = planner.begin(root, model.actions, Size(8), keys=keys)
    asked = search.ask(np.full(len(keys), 8, np.int32))
    if (asked.row == 0).any() or not search.done[0]:
        raise SearchError(f"{where}: a problem that is over before it began is planned for")
    _check_plan(search.plan(), model.actions, len(keys), where)


def _check_solved(planner: Planner, sampled: bool, nodes: int) -> None:
    """Check that the best of four arms is found, and the end of a chain of three."""
    name = f"{type(planner).__name__} over {SampledActions() if sampled else DiscreteActions(4)}"
    arms = [0.2, 0.1, 0.3, 0.0]
    model = bandit(arms, sampled=sampled)
    arms[int(model.taken(model.start([0])[0], [2])[0])] = 0.9
    earned = _earned(planner, bandit(arms, sampled=sampled), nodes)
    if min(earned) < 0.9:
        raise SearchError(f"{name}: earns {earned} from a bandit whose best arm pays 0.9")
    earned = _earned(planner, chain(3, sampled=sampled), 2 * nodes)
    if min(earned) < 1:
        raise SearchError(f"{name}: earns {earned} on a chain whose end pays 1")


def _earned(planner: Planner, model: Table, nodes: int) -> list[float]:
    """The returns of the plans of two rows."""
    earned = []
    for indices in plan(planner, model, [0, 0], nodes).plan.indices:
        states, total, weight = model.start([0])[0], 0.0, 1.0
        for action in indices:
            states, said = model.expand(states, np.array([action]))
            total += weight * float(said.reward[0])
            weight *= float(said.discount[0])
        earned.append(round(total, 6))
    return earned


def _check_target(planner: Planner, target: TargetProblem, nodes: int) -> None:
    """Check that the plans of two rows are nearer to the target than doing nothing."""
    found = plan(planner, target, [0.0, 0.0], nodes).plan.vectors
    goal = target.goal
    if bool(((found - goal).square().sum((1, 2)) >= goal.square().sum() * found.shape[1]).any()):
        raise SearchError(f"{type(planner).__name__} over {target.actions}: no nearer to {goal.tolist()} than at rest")
