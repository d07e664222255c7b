"""Mixed values against the definition written out, value iteration, a quadratic solved by hand, and their limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import (
    CEM,
    ICEM,
    ILQR,
    MCTS,
    MPPI,
    Beam,
    BestOfN,
    BoxActions,
    Budget,
    GradientShooting,
    LambdaReturn,
    plan,
)
from forethought.planning.interface import Expansion, SequenceQuery
from forethought.planning.rollout import rollout
from forethought.planning.testing.linear_quadratic import LinearQuadratic
from forethought.planning.testing.problems import Table
from forethought.planning.wrappers.rollout_value import RolloutValue

MakeTable = Callable[..., Table]
GAMMA = 0.9


def linear() -> LinearQuadratic:
    a, b = torch.tensor([[1.0, 0.1], [0.0, 1.0]]).double(), torch.tensor([[0.0], [0.1]]).double()
    q, r = torch.diag(torch.tensor([1.0, 0.1])).double(), torch.tensor([[0.05]]).double()
    top, final = torch.tensor([9.0]).double(), torch.diag(torch.tensor([5.0, 1.0])).double()
    return LinearQuadratic(a, b, q, r, final, BoxActions(-top, top), gamma=GAMMA)


STARTS = torch.tensor([[1.0, 0.0], [-0.5, 0.5], [0.3, -0.8]]).double()


def by_definition(start: torch.Tensor, actions: torch.Tensor, lambda_: float) -> float:
    """(1 - l) sum of l^(n - 1) G_n, and the rest of the weight on G_H, each G_n walked by itself."""
    world, horizon = linear(), len(actions)

    def n_step(n: int) -> float:
        x, total = start, 0.0
        for t in range(n):
            total -= GAMMA**t * float(x @ world.q @ x + actions[t] @ world.r @ actions[t])
            x = world.a @ x + world.b @ actions[t]
        return total - GAMMA**n * float(x @ world.final @ x)

    weights = [(1 - lambda_) * lambda_ ** (n - 1) for n in range(1, horizon)] + [lambda_ ** (horizon - 1)]
    assert sum(weights) == pytest.approx(1)
    return sum(w * n_step(n) for n, w in enumerate(weights, 1))


@pytest.mark.parametrize("lambda_", [0.01, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("horizon", [1, 2, 7])
def test_returns_are_the_weighted_n_step_returns(lambda_: float, horizon: int) -> None:
    actions = torch.from_numpy(np.random.default_rng(0).uniform(-2, 2, (3, 4, horizon, 1)))
    found = rollout(
        LambdaReturn(linear(), lambda_), STARTS, SequenceQuery(np.arange(3, dtype=np.int32), actions)
    ).returns
    for m in range(3):
        for k in range(4):
            assert float(found[m, k, 0]) == pytest.approx(by_definition(STARTS[m], actions[m, k], lambda_))


PLANNERS = [
    BestOfN(horizon=6),
    CEM(horizon=6),
    ICEM(horizon=6),
    MPPI(horizon=6, answer="best"),
    GradientShooting(horizon=6),
    GradientShooting(horizon=6, optimiser="lbfgs"),
    ILQR(horizon=6),
]


@pytest.mark.parametrize("planner", PLANNERS, ids=lambda p: type(p).__name__)
def test_every_planner_over_vectors_says_the_mixed_return_of_its_plan(planner: Any) -> None:
    found = plan(planner, LambdaReturn(linear(), 0.7), STARTS, Budget(nodes=2000)).plan
    for b in range(3):
        known = by_definition(STARTS[b], found.actions[b], 0.7)
        assert found.value[b] == pytest.approx(known, rel=1e-5)


@pytest.mark.parametrize("lambda_", [0.3, 0.9])
@pytest.mark.parametrize("planner", [ILQR(horizon=5), GradientShooting(horizon=5, optimiser="lbfgs")])
def test_derivatives_go_through_the_values_to_the_best_mixed_return(planner: Any, lambda_: float) -> None:
    """The mixed return is quadratic in the actions: its Hessian and gradient by differences give the optimum."""
    found = plan(replace(planner, tolerance=1e-7), LambdaReturn(linear(), lambda_), STARTS, Budget(nodes=20_000)).plan
    for b in range(3):
        score = lambda u: by_definition(STARTS[b], torch.tensor(u)[:, None], lambda_)  # noqa: E731, B023
        unit, zero = np.eye(5), np.zeros(5)
        slope = np.array([(score(e) - score(-e)) / 2 for e in unit])
        pairs = [[score(e + f) - score(e) - score(f) + score(zero) for f in unit] for e in unit]
        best = np.linalg.solve(-np.array(pairs), slope)
        np.testing.assert_allclose(found.actions[b, :, 0].numpy(), best, atol=1e-4)


@pytest.mark.compiled
@pytest.mark.parametrize("lambda_", [0.4, 0.8, 1.0])
def test_a_tree_comes_to_the_value_iteration_of_the_mixed_world(lambda_: float, table: MakeTable) -> None:
    """V = max over a of r + d ((1 - l) v(x') + l V(x')), v what the model says of a state."""
    model = table(2, states=5, slots=2, gamma=0.6)
    model.logits[:] = 0.0  # type: ignore[index]
    assert model.value is not None
    best = np.zeros(5)
    for _ in range(200):
        after = (1 - lambda_) * model.value[model.next] + lambda_ * best[model.next]
        best = (model.reward + model.discount * after).max(1)
    planner = MCTS(selection="uct", backup="max", c_uct=4.0, choose="value")
    found = plan(planner, LambdaReturn(model, lambda_), list(range(5)), Budget(nodes=1500)).plan
    np.testing.assert_allclose(found.value, best, atol=0.03)


@pytest.mark.parametrize("planner", [MCTS(), MCTS(selection="gumbel"), Beam(horizon=3), CEM(horizon=3)])
def test_a_mixing_of_one_changes_no_plan(planner: Any, table: MakeTable) -> None:
    model = table(4)
    plain, mixed = (plan(planner, m, [0, 1, 2], Budget(nodes=60)).plan for m in (model, LambdaReturn(model, 1.0)))
    np.testing.assert_allclose(plain.value, mixed.value, rtol=1e-5)
    assert [list(a) for a in plain.actions] == [list(a) for a in mixed.actions]


@pytest.mark.parametrize("lambda_", [0.2, 0.7])
def test_the_rollouts_at_leaves_mix_too(lambda_: float) -> None:
    """Three steps of a fixed policy from what the action reached."""
    law = torch.tensor([0.4]).double()
    model = RolloutValue(LambdaReturn(linear(), lambda_), 3, lambda states, logits: law.expand(len(states), 1))
    _, said = model.expand(STARTS, torch.zeros(3, 1).double())
    for b in range(3):
        reached = linear().a @ STARTS[b]
        assert float(said.value[b]) == pytest.approx(by_definition(reached, law.expand(3, 1), lambda_))


def test_what_is_said_behind_an_end_counts_for_nothing() -> None:
    class Ending:
        actions = BoxActions(torch.tensor([-1.0]), torch.tensor([1.0]))
        cost = 1

        def start(self, problems: Any) -> Any:
            zero = torch.zeros(len(problems))
            return zero, Expansion(zero, zero + 1, zero)

        def expand(self, states: Any, actions: Any, **more: Any) -> Any:
            over = states >= 1
            value = torch.where(over, torch.nan, 8.0)
            return states + 1, Expansion(torch.where(states > 1, torch.nan, 1.0), 1 - over.float(), value)

    found = rollout(
        LambdaReturn(Ending(), 0.5), torch.zeros(1), SequenceQuery(np.zeros(1, np.int32), torch.zeros(1, 1, 4, 1))
    )
    assert found.returns.tolist() == [[[1 + 0.5 * 8 + 0.5 * 1]]]


@pytest.mark.parametrize("wrong", [0.0, 1.1, -1.0, float("nan")])
def test_a_mixing_that_makes_no_sense_is_named(wrong: float) -> None:
    with pytest.raises(ValueError, match="lambda_"):
        LambdaReturn(linear(), wrong)
