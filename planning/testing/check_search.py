"""Whether a search keeps its promises, tried on problems with known answers; `check_search` is the only entry.

A conversation with a search is led in four ways (plainly, rows in reverse, telling twice, failing every third call)
and must come to the same plan. Only what `interface.py` promises is used. The problems are in `known.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..budget import Budget
from ..driver import answer, plan
from ..interface import (
    BoxActions,
    DiscreteActions,
    Expansion,
    Keys,
    Plan,
    SampledActions,
    SequenceQuery,
    Size,
)
from ..keys import keys_of
from ..states import store_for
from .problems import Table, TargetProblem, bandit, chain

Tell = Callable[[Any, Any, Callable[[Any], Any], int], bool]
"""Deal with one query of a search, by a function that answers it; the call's number. False: it was dropped."""


class SearchError(AssertionError):
    """A search broke its contract."""


def check_search(planner: Any, model: Any = None, problems: Any = None, *, nodes: int = 48) -> None:
    """Try a planner on one model, or on every built-in one whose action space it takes.

    Checked: whoever is free and not done asks, within its room; `plan` at any time; no row's plan depends on other
    rows or on their order; the same keys give the same plan; telling or dropping what is not awaited is a ValueError;
    a failed call changes neither the plan nor the number of nodes used (planners with `leaves` > 1 must only come to
    an end); budgets are never exceeded;
    problems that are over ask nothing. Without a model also: bandits, chains and a target in a box are solved.

    Errors: SearchError saying which promise was broken where; ValueError if the planner takes no action space.
    """
    if model is not None:
        return _check_on(planner, model, problems, nodes)
    spaces = [table for endless in (False, True) if _takes(planner, (table := _random_table(endless)).actions)]
    for table in spaces:
        _check_on(planner, table, [0, 1, 2], nodes)
        _check_solved(planner, table.endless, nodes)
    aim = TargetProblem(torch.tensor([0.6]))
    if _takes(planner, aim.actions):
        _check_on(planner, aim, [0.0, 0.0, 0.0], 4 * nodes)
        _check_aim(planner, aim, 16 * nodes)
    elif not spaces:
        raise ValueError(f"{planner} takes none of DiscreteActions(n), SampledActions(), BoxActions")


def _random_table(endless: bool) -> Table:
    draw = np.random.default_rng(3)
    shape = (7, 3)
    over = draw.random(shape) < 0.2
    return Table(
        draw.integers(0, 7, shape),
        draw.normal(size=shape),
        np.where(over, 0, 0.9),
        draw.normal(size=7),
        draw.normal(size=shape),
        endless,
    )


def _takes(planner: Any, space: Any) -> bool:
    zero = np.zeros(1, np.float32)
    try:
        planner.begin(Expansion(zero, zero + 1, zero), space, Size(8), keys=keys_of(0, 1))
    except ValueError:
        return False
    return True


def _check_on(planner: Any, model: Any, problems: Any, nodes: int) -> None:
    where = f"{type(planner).__name__} over {model.actions}"
    rows = len(problems)
    keys = keys_of(7, rows)

    def talk(tell: Tell, part: slice = slice(None)) -> Plan:
        return _talk(planner, model, problems[part], nodes, keys[part], tell, where)

    used = np.zeros((2, rows), np.int64)
    course = talk(_counted(_plainly, used[0]))
    _check_same(talk(_plainly), course, f"{where}: the same keys gave another plan")
    _check_same(talk(_backwards), course, f"{where}: the order in which rows were told changed the plan")
    _check_same(talk(_twice), course, f"{where}: refused answers changed the plan")
    failing = talk(_counted(_failing, used[1]))
    if getattr(planner, "leaves", 1) == 1:
        _check_same(failing, course, f"{where}: dropped calls changed the plan")
        if (used[0] != used[1]).any():
            raise SearchError(f"{where}: dropped calls changed the number of nodes used from {used[0]} to {used[1]}")
    for i in range(rows):
        alone = talk(_plainly, slice(i, i + 1))
        _check_same(alone, _row_of(course, i), f"{where}: row {i} alone has another plan than in the batch")
    for cap in (1, 2, nodes // 3, nodes):
        spent = plan(planner, model, problems, Budget(nodes=cap), keys=keys).charged[:, 0]
        if (spent > cap).any():
            raise SearchError(f"{where}: {spent.max():g} nodes were charged under a cap of {cap}")
    _check_over(planner, model, problems, keys, where)


def _talk(planner: Any, model: Any, problems: Any, nodes: int, keys: Keys, tell: Tell, where: str) -> Plan:
    """Ask until nothing is asked, tell all of it, over and over until the search is done."""
    start, root = model.start(problems)
    rows = len(root.value)
    remaining = np.full(rows, nodes // model.cost, np.int32)
    search = planner.begin(root, model.actions, Size(int(remaining[0])), keys=keys)
    states = store_for(start, getattr(getattr(search, "tree", None), "nodes", 1))
    states.put(np.arange(rows, dtype=np.int32), np.zeros(rows, np.int32), start)
    calls = 0
    for _ in range(4 * nodes + 8):
        queries = _ask_all(search, remaining, where)
        if not queries:
            found: Plan = search.plan()
            return found
        for query in queries:
            calls += 1
            if calls < 6:
                _check_plan(search.plan(), model, rows, where)
            if not tell(search, query, lambda q: answer(model, states, q), calls):
                np.add.at(remaining, query.row, _opened(query))
            if calls < 6 or calls % 8 == 0:
                _check_plan(search.plan(), model, rows, where)
    raise SearchError(f"{where}: not done after {4 * nodes + 8} rounds of at most {nodes} nodes a row")


def _ask_all(search: Any, remaining: NDArray[np.int32], where: str) -> list[Any]:
    """Everything that is asked with nothing told; `remaining` is lowered by it."""
    queries: list[Any] = []
    waiting = np.zeros(len(remaining), bool)
    over = np.array(search.done)
    while len(query := search.ask(remaining.copy())):
        if over[query.row].any():
            raise SearchError(f"{where}: row {int(query.row[over[query.row]][0])} asks although it is done")
        np.subtract.at(remaining, query.row, _opened(query))
        if (remaining < 0).any():
            raise SearchError(f"{where}: row {int(np.argmin(remaining))} asks for more nodes than it has room for")
        waiting[query.row] = True
        queries.append(query)
    idle = np.flatnonzero(~waiting & ~np.array(search.done))
    if len(idle):
        raise SearchError(f"{where}: row {idle[0]} is not done, awaits nothing, and asks nothing")
    return queries


def _opened(query: Any) -> Any:
    """Nodes per entry of `query.row`."""
    return query.nodes if isinstance(query, SequenceQuery) else 1


def _parts(query: Any) -> list[Any]:
    """A query as one query per row."""
    if isinstance(query, SequenceQuery):
        return [query.take(slice(i, i + 1)) for i in range(len(query))]
    return [query.take(query.row == b) for b in np.unique(query.row)]


def _plainly(search: Any, query: Any, reply: Callable[[Any], Any], call: int) -> bool:
    search.tell(query, reply(query))
    return True


def _backwards(search: Any, query: Any, reply: Callable[[Any], Any], call: int) -> bool:
    for part in _parts(query)[::-1]:
        search.tell(part, reply(part))
    return True


def _twice(search: Any, query: Any, reply: Callable[[Any], Any], call: int) -> bool:
    said = reply(query)
    search.tell(query, said)
    _refuses(lambda: search.tell(query, said), "telling an answer twice")
    _refuses(lambda: search.drop(query), "dropping a query that was told")
    return True


def _failing(search: Any, query: Any, reply: Callable[[Any], Any], call: int) -> bool:
    if call % 3 == 1:
        search.drop(query)
        _refuses(lambda: search.drop(query), "dropping a query twice")
        return False
    return _plainly(search, query, reply, call)


def _counted(tell: Tell, used: NDArray[np.int64]) -> Tell:
    """`tell`, which also adds the nodes of each answered query to `used` [B]."""

    def count(search: Any, query: Any, reply: Callable[[Any], Any], call: int) -> bool:
        answered = tell(search, query, reply, call)
        if answered:
            np.add.at(used, query.row, _opened(query))
        return answered

    return count


def _refuses(call: Callable[[], None], what: str) -> None:
    try:
        call()
    except ValueError:
        return
    raise SearchError(f"{what} must be a ValueError")


def _check_plan(found: Plan, model: Any, rows: int, where: str) -> None:
    """A plan that may be called for at any time."""
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
    box = model.actions
    if isinstance(box, BoxActions) and ((found.actions < box.low).any() or (found.actions > box.high).any()):
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
        raise SearchError(f"{message}: worth {a.value}, {b.value}")


def _check_over(planner: Any, model: Any, problems: Any, keys: Keys, where: str) -> None:
    """The first problem is over before it began."""
    _, root = model.start(problems)
    root.discount = np.where(np.arange(len(keys)) == 0, 0, np.asarray(root.discount, np.float32)).astype(np.float32)
    root.value = np.where(np.arange(len(keys)) == 0, 0, np.asarray(root.value, np.float32)).astype(np.float32)
    if isinstance(model.actions, BoxActions):
        root.discount, root.value = torch.from_numpy(root.discount), torch.from_numpy(root.value)
    search = planner.begin(root, model.actions, Size(8), keys=keys)
    asked = search.ask(np.full(len(keys), 8, np.int32))
    if (asked.row == 0).any() or not search.done[0]:
        raise SearchError(f"{where}: a problem that is over before it began is planned for")
    _check_plan(search.plan(), model, len(keys), where)


def _check_solved(planner: Any, endless: bool, nodes: int) -> None:
    """The best of four arms, and the end of a chain of three."""
    name = f"{type(planner).__name__} over {SampledActions() if endless else DiscreteActions(4)}"
    arms = [0.2, 0.1, 0.3, 0.0]
    model = bandit(arms, endless=endless)
    arms[int(model.taken(model.start([0])[0], [2])[0])] = 0.9
    earned = _earned(planner, bandit(arms, endless=endless), nodes)
    if min(earned) < 0.9:
        raise SearchError(f"{name}: earns {earned} from a bandit whose best arm pays 0.9")
    earned = _earned(planner, chain(3, endless=endless), 2 * nodes)
    if min(earned) < 1:
        raise SearchError(f"{name}: earns {earned} on a chain whose end pays 1")


def _earned(planner: Any, model: Table, nodes: int) -> list[float]:
    """What the plans of two rows earn when they are carried out."""
    earned = []
    for slots in plan(planner, model, [0, 0], Budget(nodes=nodes)).plan.actions:
        states, total, weight = model.start([0])[0], 0.0, 1.0
        for slot in slots:
            states, said = model.expand(states, np.array([slot]))
            total += weight * float(said.reward[0])
            weight *= float(said.discount[0])
        earned.append(round(total, 6))
    return earned


def _check_aim(planner: Any, aim: TargetProblem, nodes: int) -> None:
    """The plan of a row is nearer to the target than doing nothing."""
    found = plan(planner, aim, [0.0, 0.0], Budget(nodes=nodes)).plan.actions
    if ((found - aim.goal).square().sum((1, 2)) >= aim.goal.square().sum() * found.shape[1]).any():
        raise SearchError(f"{type(planner).__name__} over {aim.actions}: no nearer to {aim.goal.tolist()} than at rest")
