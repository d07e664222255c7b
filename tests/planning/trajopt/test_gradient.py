"""Gradient shooting and polished plans against Riccati, and their conduct."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import (
    CEM,
    ILQR,
    MCTS,
    BoxActions,
    Budget,
    DiscreteActions,
    Expansion,
    GradientShooting,
    ModelError,
    WarmStarted,
    keys_of,
    plan,
)
from forethought.planning.testing.check_model import check_search
from forethought.planning.testing.linear_quadratic import LinearQuadratic
from forethought.planning.usage import NODES
from forethought.planning.vectors.queries import ReturnGradients


def linear(bound: float = 4.0) -> LinearQuadratic:
    a, b = torch.tensor([[1.0, 0.1], [0.0, 1.0]]), torch.tensor([[0.0], [0.1]])
    top, r = torch.tensor([bound]), torch.tensor([[0.05]])
    return LinearQuadratic(
        a, b, torch.diag(torch.tensor([1.0, 0.1])), r, torch.diag(torch.tensor([5.0, 1.0])), BoxActions(-top, top)
    )


STARTS = torch.tensor([[1.0, 0.0], [-0.5, 0.5], [0.3, -0.8]])


def lost(planner: Any, nodes: int) -> Any:
    """[3] share of the optimal cost lost."""
    best = ((STARTS.double() @ linear().optimum(10).cost[0]) * STARTS).sum(-1).numpy()
    return (-plan(planner, linear(), STARTS, Budget(nodes=nodes)).plan.value - best) / best


def test_the_gap_to_riccati_is_small_and_shrinks_with_budget() -> None:
    planner = GradientShooting(horizon=10)
    small, large = lost(planner, 600), lost(planner, 12_000)
    assert (large > -1e-4).all() and (large < 1e-3).all()
    assert large.mean() < small.mean() / 2


def test_its_certificate_falls_to_the_tolerance() -> None:
    outcome = plan(
        GradientShooting(horizon=10, starts=1, tolerance=1e-3, iterations=300), linear(), STARTS, Budget(nodes=9000)
    )
    assert outcome.plan.stop_reason == ["converged"] * 3 and outcome.plan.gradient is not None
    assert (outcome.plan.gradient <= 1e-3 * (1 + abs(outcome.plan.value))).all()


NEWTONIAN = GradientShooting(horizon=4, optimiser="lbfgs")


@pytest.mark.parametrize(
    "planner", [GradientShooting(horizon=4), NEWTONIAN, WarmStarted(CEM(horizon=6), ILQR(horizon=6))]
)
def test_they_keep_the_contract_of_a_search(planner: Any) -> None:
    check_search(planner)


@pytest.mark.parametrize("nodes", [1, 5, 59, 60, 1000])
def test_budgets_are_exact_and_bounds_hold(nodes: int) -> None:
    outcome = plan(GradientShooting(horizon=10, std=3.0), linear(0.3), STARTS, Budget(nodes=nodes))
    assert (outcome.charged[:, NODES] <= nodes).all() and (outcome.charged[:, NODES] > nodes - 30 * 4).all()
    assert (outcome.plan.actions.abs() <= torch.tensor(0.3)).all()


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_rows_told_apart_climb_as_they_do_together(optimiser: Any) -> None:
    model, planner = linear(), GradientShooting(horizon=5, optimiser=optimiser)
    states, root = model.start(STARTS)
    search = planner.begin(root, model.actions, Budget(nodes=600).size(), keys=keys_of(0, 3))
    remaining, order = np.full(3, 600), np.random.default_rng(0)
    waiting: list[Any] = []
    while not search.done.all():
        query = search.ask(remaining)
        waiting += [query.take(slice(i, i + 1)) for i in range(len(query))]
        one = waiting.pop(int(order.integers(len(waiting))))
        remaining[one.row] -= one.nodes
        search.tell(one, one.answer(model, states[one.row]))
    together = plan(planner, model, STARTS, Budget(nodes=600)).plan
    torch.testing.assert_close(search.plan().actions, together.actions)


@dataclass
class Cracked:
    """A step pays -u^2, NaN for u below 0: what such a sequence is worth and its slope are unknown."""

    cost: int = 1
    actions = BoxActions(torch.tensor([-1.0]), torch.tensor([1.0]))

    def start(self, problems: Any) -> Any:
        x = torch.as_tensor(problems, dtype=torch.float32)[:, None]
        return x, Expansion(0 * x[:, 0], 1 + 0 * x[:, 0], 0 * x[:, 0])

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        reward = torch.where(actions[:, 0] < 0, torch.nan, -actions[:, 0].square())
        return states, Expansion(reward, torch.ones_like(reward), torch.zeros_like(reward))


def test_a_nan_return_is_never_the_best_and_does_not_move_the_others() -> None:
    found = plan(GradientShooting(horizon=2, starts=6), Cracked(), [0.0, 1.0], Budget(nodes=600)).plan
    assert (found.actions >= 0).all() and np.isfinite(found.value).all()


def test_risk_is_climbed_through_the_members_it_counts() -> None:
    planner = GradientShooting(horizon=1, starts=1, risk="worst")
    zero = np.zeros(1, np.float32)
    search = planner.begin(
        Expansion(zero, zero + 1, zero), linear().actions, Budget(nodes=90).size(), keys=keys_of(0, 1)
    )
    query = search.ask(np.array([90]))
    search.tell(query, ReturnGradients(torch.tensor([[[3.0, -2.0]]]), gradients=torch.tensor([[[[[9.0]], [[-1.0]]]]])))
    assert search.plan().value.tolist() == [-2.0]
    assert float(search.x[0].detach()) < 0
    with pytest.raises(ModelError, match="gradients must have shape"):
        search.tell(
            search.ask(np.array([87])), ReturnGradients(torch.zeros(1, 1, 2), gradients=torch.zeros(1, 1, 1, 1))
        )


@pytest.mark.parametrize(
    "wrong",
    [{"horizon": 0}, {"starts": 0}, {"rate": -1.0}, {"std": float("inf")}, {"risk": "best"}, {"optimiser": "sgd"}],
)
def test_settings_that_make_no_sense_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GradientShooting(**wrong)


# --- polished plans -----------------------------------------------------------------------------------------------


def test_a_polished_plan_is_the_optimum_where_sampling_alone_is_not() -> None:
    sampled, polished = lost(CEM(horizon=10), 2000), lost(WarmStarted(CEM(horizon=10), ILQR(horizon=10)), 2000)
    assert (polished < 1e-4).all() and (sampled > 10 * polished.max()).all()


def test_the_first_gets_its_share_and_the_second_what_is_left() -> None:
    outcome = plan(WarmStarted(CEM(horizon=10), ILQR(horizon=10), share=0.25), linear(), STARTS, Budget(nodes=2000))
    assert outcome.search.first.iteration.tolist() == [3, 3, 3]
    assert (outcome.charged[:, NODES] <= 500 + 10 * 3 + 2 * 90).all() and outcome.plan.stop_reason == ["converged"] * 3
    timed = plan(WarmStarted(CEM(horizon=10), ILQR(horizon=10), nodes=300), linear(), STARTS, Budget(seconds=60))
    assert timed.plan.stop_reason == ["converged"] * 3 and (timed.charged[:, NODES] < 1000).all()


@pytest.mark.parametrize("nodes", [1, 2, 15, 100])
def test_however_small_the_budget_there_is_a_plan(nodes: int) -> None:
    outcome = plan(WarmStarted(CEM(horizon=10), ILQR(horizon=10)), linear(), STARTS, Budget(nodes=nodes))
    assert (outcome.charged[:, NODES] <= nodes).all() and np.isfinite(outcome.plan.value).all()


def test_the_next_decision_goes_on_from_a_polished_plan() -> None:
    planner = WarmStarted(CEM(horizon=10), ILQR(horizon=10))
    first = plan(planner, linear(), STARTS, Budget(nodes=1000))
    first.search.advance(first.plan.actions[:, 0])
    second = plan(replace(planner, share=0.5), linear(), STARTS, Budget(nodes=40), after=first)
    torch.testing.assert_close(second.search.first.proposal.mean[:, : 10 - 1], first.plan.actions[:, 1:])


def test_warm_starting_needs_vectors_and_a_share() -> None:
    zero = np.zeros(1, np.float32)
    with pytest.raises(ValueError, match="vectors within BoxActions"):
        WarmStarted(MCTS(), ILQR()).begin(
            Expansion(zero, zero + 1, zero), DiscreteActions(2), Budget(nodes=9).size(), keys=keys_of(0, 1)
        )
    with pytest.raises(ValueError, match="share"):
        WarmStarted(CEM(), ILQR(), share=1.0)
