"""Simulations are counted anew in every decision, also in a tree that goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forethought.planning import MCTS, Budget, first_actions, plan


def test_each_decision_has_all_of_its_simulations(table: Callable[..., Any]) -> None:
    model, planner = table(3, ends=0.0), MCTS(simulations=7, reuse=True)
    first = plan(planner, model, [0, 1], Budget(nodes=50))
    assert first.charged[:, 0].tolist() == [7, 7]
    actions = first_actions(first.plan)
    first.search.advance(actions)
    states, _ = model.expand(model.start([0, 1])[0], actions)
    second = plan(planner, model, states.numpy(), Budget(nodes=50), after=first)
    assert second.charged[:, 0].tolist() == [7, 7]
