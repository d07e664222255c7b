"""What remains of a budget where some answers state their cost and others cost one node each."""

from __future__ import annotations

import numpy as np
import pytest

from forethought.planning import UNITS, Budget, EdgeQuery, Ledger
from forethought.planning.usage import NODES


def of_row(row: int) -> EdgeQuery:
    """A query for one edge of a row."""
    return EdgeQuery(*np.array([[row], [0], [0], [1]], np.int32))


def costing(nodes: float) -> np.ndarray:
    usage = np.zeros((1, len(UNITS)))
    usage[:, NODES] = nodes
    return usage


@pytest.mark.parametrize("cost", [1, 4])
def test_what_remains_is_the_budget_less_all_answers_over_the_most_that_one_may_cost(cost: int) -> None:
    ledger, used = Ledger(Budget(nodes=40), 2, cost=cost), np.zeros(2)
    for row, nodes in [(0, None), (0, None), (1, cost), (0, cost), (1, None), (0, None), (0, cost)]:
        ledger.reserve(of_row(row))
        ledger.charge(of_row(row), None if nodes is None else costing(nodes))
        used[row] += 1 if nodes is None else nodes
        assert ledger.charged[:, NODES].tolist() == used.tolist()
        assert ledger.remaining().tolist() == ((40 - used) // cost).tolist()
