"""Where the plan of a REBASE search over a fixed number of actions ends when nothing has ended."""

from __future__ import annotations

import numpy as np
import pytest

from forethought.planning import Budget, plan
from forethought.planning.testing.problems import Table
from forethought.planning.trees.rebase import Rebase


@pytest.mark.parametrize(
    ("horizon", "nodes", "complete"), [(1, 100, 1), (2, 100, 2), (3, 100, 3), (3, 9, 2), (2, 5, 1)]
)
def test_the_plan_is_the_best_path_to_the_deepest_complete_layer(horizon: int, nodes: int, complete: int) -> None:
    draw = np.random.default_rng(0)
    model = Table(draw.integers(0, 5, (5, 2)), draw.normal(size=(5, 2)), np.ones((5, 2)), draw.normal(size=5))
    found = plan(Rebase(width=2**horizon, temperature=1e9, horizon=horizon), model, [0], Budget(nodes=nodes))

    def best(state: int, left: int) -> float:
        if not left:
            return float(model.value[state])
        return max(float(model.reward[state, a]) + best(int(model.next[state, a]), left - 1) for a in range(2))

    assert len(found.plan.actions[0]) == complete
    assert found.plan.value[0] == pytest.approx(best(0, complete), rel=1e-5)
