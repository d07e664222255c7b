"""A planner that begins with another's plan loses nothing by a call that failed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import (
    CEM,
    ILQR,
    MPPI,
    BoxActions,
    Expansion,
    GradientShooting,
    Size,
    WarmStarted,
    keys_of,
)
from forethought.planning.chained import WarmStartedSearch
from forethought.planning.driver import answer_query
from forethought.planning.interface import Int, Keys
from forethought.planning.states import store_for
from forethought.planning.testing.check_model import SearchError, check_search
from forethought.planning.testing.problems import TargetProblem

MODEL = TargetProblem(torch.tensor([0.6, -0.3]))
ROWS, NODES = 3, 400


def converse(planner: Any, size: Size, drops: int) -> tuple[Int, list[torch.Tensor], Any]:
    """Nodes used [B], the candidates of each query and the plan, if each of the first `drops` queries fails once."""
    start, root = MODEL.start([0.0] * ROWS)
    search = planner.begin(root, MODEL.actions, size, keys=keys_of(5, ROWS))
    states = store_for(start, 1)
    states.put(np.arange(ROWS, dtype=np.int32), np.zeros(ROWS, np.int32), start)
    remaining, used, asked = np.full(ROWS, NODES, np.int32), np.zeros(ROWS, np.int32), []
    while len(query := search.ask(remaining.copy())):
        if len(asked) < drops:
            search.drop(query)
            again = search.ask(remaining.copy())
            torch.testing.assert_close(again.sequences, query.sequences)
            assert again.row.tolist() == query.row.tolist() and (again.keys == query.keys).all()
            query = again
        asked.append(query.sequences)
        remaining[query.row] -= query.nodes
        used[query.row] += query.nodes
        search.tell(query, answer_query(MODEL, states, query))
    return used, asked, search.plan()


@pytest.mark.parametrize("size", [Size(NODES), Size(4 * NODES, exact=False)], ids=["exact", "bound"])
@pytest.mark.parametrize("kind", [ILQR, MPPI, GradientShooting])
def test_calls_that_fail_once_cost_the_first_planner_nothing(kind: Any, size: Size) -> None:
    planner = WarmStarted(CEM(horizon=5, iterations=2), kind(horizon=5), nodes=200)
    used, asked, found = converse(planner, size, 0)
    assert len(asked) > 2 and (used <= NODES).all()
    for drops in (1, 3):
        again = converse(planner, size, drops)
        assert again[0].tolist() == used.tolist() and len(again[1]) == len(asked)
        for one, other in zip(again[1], asked):
            torch.testing.assert_close(one, other)
        torch.testing.assert_close(again[2].actions, found.actions)
        np.testing.assert_array_equal(again[2].value, found.value)


CHAINS = [WarmStarted(CEM(), ILQR()), WarmStarted(CEM(horizon=4), MPPI(horizon=4)), WarmStarted(ILQR(), CEM(), 0.3)]


@pytest.mark.parametrize("planner", CHAINS, ids=["CEM, ILQR", "CEM, MPPI", "ILQR, CEM"])
def test_a_planner_that_begins_with_another_s_plan_keeps_the_contract_of_a_search(planner: Any) -> None:
    check_search(planner)


class Forfeiting(WarmStartedSearch):
    """What the first planner had asked for in a call that failed is lost to it."""

    def drop(self, query: Any) -> None:
        (self.first if self.second is None else self.second).drop(query)


class Chain(WarmStarted):
    """`WarmStarted` with that fault."""

    def begin(self, root: Expansion, actions: Any, size: Size, *, keys: Keys, after: Any | None = None) -> Any:
        if not isinstance(actions, BoxActions):
            raise ValueError("BoxActions only")
        return Forfeiting(self, root, actions, size, keys, after)


@pytest.mark.parametrize("then", [ILQR(), MPPI()], ids=["ILQR", "MPPI"])
def test_the_conformance_kit_notices_nodes_that_a_failed_call_costs(then: Any) -> None:
    with pytest.raises(SearchError, match="dropped calls changed"):
        check_search(Chain(CEM(), then))
