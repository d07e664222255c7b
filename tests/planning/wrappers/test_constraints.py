"""Constraints against scipy's SLSQP, rules written out, and what must never be chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

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
    Expansion,
    GaussianSettings,
    GradientShooting,
    Masked,
    ModelError,
    Penalised,
    PolicyPrior,
    SequenceQuery,
    WarmStarted,
    plan,
)
from forethought.planning.interface import Constrained, Stochastic
from forethought.planning.rollout import rollout
from forethought.planning.scoring import order_of, scores_of
from forethought.planning.testing.check_model import check_search
from forethought.planning.testing.linear_quadratic import LinearQuadratic
from forethought.planning.testing.problems import Table, TargetProblem

HORIZON = 6


@dataclass(frozen=True)
class Slow(LinearQuadratic, Constrained):
    """A double integrator whose speed may not go below `least` (taken before each step) and whose forces are bounded
    together with the place: 0.1 x + u <= 1."""

    least: float = -0.3

    def constraint(self, states: Tensor, actions: Tensor) -> Tensor:
        return torch.stack([self.least - states[:, 1], 0.1 * states[:, 0] + actions[:, 0] - 1], 1)


def slow(least: float = -0.3) -> Slow:
    a, b = torch.tensor([[1.0, 0.2], [0.0, 1.0]]).double(), torch.tensor([[0.0], [0.2]]).double()
    q, r = torch.diag(torch.tensor([1.0, 0.1])).double(), torch.tensor([[0.01]]).double()
    top, final = torch.tensor([3.0]).double(), torch.diag(torch.tensor([5.0, 1.0])).double()
    return Slow(a, b, q, r, final, BoxActions(-top, top), least=least)


STARTS = torch.tensor([[1.0, 0.0], [0.6, -0.1]]).double()


def walked(model: Slow, start: Tensor, actions: Any) -> tuple[float, float, np.ndarray]:
    """Return, violation and all g of a plan [H], by a loop."""
    x, total, every = start, 0.0, []
    for u in np.asarray(actions, dtype=float).reshape(-1):
        force = torch.tensor([u]).double()
        every += [model.least - float(x[1]), 0.1 * float(x[0]) + float(u) - 1]
        total -= float(x @ model.q @ x + force @ model.r @ force)
        x = model.a @ x + model.b @ force
    g = np.array(every)
    return total - float(x @ model.final @ x), float(np.maximum(g, 0).sum()), g


def optimum(model: Slow, start: Tensor) -> float:
    """The best feasible return by sequential quadratic programming."""
    found = minimize(
        lambda u: -walked(model, start, u)[0],
        np.zeros(HORIZON),
        bounds=[(-3, 3)] * HORIZON,
        constraints={"type": "ineq", "fun": lambda u: -walked(model, start, u)[2]},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert found.success
    return -float(found.fun)


SAMPLING = [BestOfN(horizon=HORIZON), CEM(horizon=HORIZON, iterations=8), ICEM(horizon=HORIZON), MPPI(horizon=HORIZON)]


@pytest.mark.parametrize("planner", SAMPLING, ids=lambda p: type(p).__name__)
def test_the_plan_keeps_a_constraint_that_the_best_plan_would_break(planner: Any) -> None:
    free = plan(ILQR(horizon=HORIZON), Penalised(slow(), 0.0), STARTS, Budget(nodes=4000)).plan
    found = plan(planner, slow(), STARTS, Budget(nodes=6000)).plan
    for b in range(2):
        assert walked(slow(), STARTS[b], free.actions[b])[1] > 0.1
        total, over, _ = walked(slow(), STARTS[b], found.actions[b])
        assert over == pytest.approx(0, abs=1e-9) and total <= optimum(slow(), STARTS[b]) + 1e-6
        assert found.value[b] == pytest.approx(total, rel=1e-5)
    assert found.violation is not None and found.violation.tolist() == [0, 0]


def test_cem_comes_near_to_sequential_quadratic_programming() -> None:
    planner = CEM(
        horizon=HORIZON,
        iterations=20,
        elites=0.05,
        smoothing=0.3,
        vectors=GaussianSettings(noise_beta=0.0, min_std=0.0),
    )
    found = plan(planner, slow(), STARTS, Budget(nodes=40_000)).plan
    for b in range(2):
        assert found.value[b] == pytest.approx(optimum(slow(), STARTS[b]), rel=0.02)


NEWTONIAN = GradientShooting(horizon=HORIZON, optimiser="lbfgs", iterations=1000)


@pytest.mark.parametrize("planner", [ILQR(horizon=HORIZON), NEWTONIAN])
def test_a_smooth_penalty_leads_derivatives_to_the_constrained_optimum(planner: Any) -> None:
    """With a weight of w the violation of each is about its multiplier / 2 w (Nocedal and Wright, section 17.1)."""
    far = 1.0
    for weight in (1e2, 1e4):
        found = plan(planner, Penalised(slow(), weight, 2), STARTS, Budget(nodes=60_000)).plan
        told = [walked(slow(), STARTS[b], found.actions[b]) for b in range(2)]
        assert max(t[1] for t in told) < far
        far = max(t[1] for t in told) / 10
        if weight == 1e4:
            assert [t[0] for t in told] == pytest.approx([optimum(slow(), s) for s in STARTS], rel=0.01)


def test_a_penalty_is_its_weight_times_the_violation() -> None:
    actions = torch.from_numpy(np.random.default_rng(0).uniform(-3, 3, (2, 5, HORIZON, 1)))
    query = SequenceQuery(np.arange(2, dtype=np.int32), actions)
    found = rollout(Penalised(slow(), 7.0), STARTS, query)
    assert found.violation is None
    over = rollout(slow(), STARTS, query).violation
    assert over is not None
    for b in range(2):
        for k in range(5):
            total, broken, g = walked(slow(), STARTS[b], actions[b, k])
            assert float(over[b, k, 0]) == pytest.approx(broken)
            assert float(found.returns[b, k, 0]) == pytest.approx(total - 7 * broken)
    squared = rollout(Penalised(slow(), 7.0, 2), STARTS, query).returns
    assert float(squared[1, 4, 0]) == pytest.approx(total - 7 * (np.maximum(g, 0) ** 2).sum())


def test_the_rules_of_rank_are_deb_s() -> None:
    """Feasible ones by return, then infeasible ones by violation, then what is not finite."""
    nan = float("nan")
    draw = np.random.default_rng(0)
    for _ in range(50):
        returns = draw.integers(-3, 4, 8).astype(float)
        over = np.maximum(draw.integers(-3, 3, 8), 0).astype(float)
        returns[draw.random(8) < 0.2] = nan

        def key(k: int) -> tuple[bool, float, float, int]:
            lost = bool(np.isnan(returns[k]))  # noqa: B023
            return lost, 0 if lost else over[k], 0 if lost else -returns[k], k  # noqa: B023

        told = torch.from_numpy(np.where(np.isnan(returns), -np.inf, returns))[None]
        ranked = sorted(range(8), key=key)
        found = order_of(told, torch.from_numpy(over)[None])[0].tolist()
        finite = int((~np.isnan(returns)).sum())
        assert found[:finite] == ranked[:finite]
        scores = scores_of(told, torch.from_numpy(over)[None])[0]
        feasible = (over == 0) & ~np.isnan(returns)
        wanted = np.where(feasible, returns, -np.inf) if feasible.any() else np.where(np.isnan(returns), -np.inf, -over)
        np.testing.assert_array_equal(scores.numpy(), wanted)


class Narrow(TargetProblem, Constrained):
    """Only actions within 0.05 of 0.9 are allowed, while 0 would pay most; only those, or none at all."""

    def __init__(self, width: float = 0.05) -> None:
        super().__init__(torch.zeros(1))
        self.width = width

    def constraint(self, states: Tensor, actions: Tensor) -> Tensor:
        return (actions[:, 0] - 0.9).abs() - self.width


@pytest.mark.parametrize(
    "planner", [kind(horizon=1, vectors=replace(kind.vectors, std=1.0)) for kind in (CEM, ICEM, MPPI)]
)
def test_infeasible_candidates_are_never_elite_nor_kept_while_there_is_a_feasible_one(planner: Any) -> None:
    model = Narrow()
    search = plan(replace(planner, keep=2), model, [0.0, 1.0, 2.0], Budget(nodes=512)).search
    assert (model.constraint(search.plan().actions[:, 0], search.plan().actions[:, 0]) <= 0).all()
    assert ((search.kept[:, :, 0] - 0.9).abs() <= model.width).all()
    assert ((search.proposal.mean - 0.9).abs() <= model.width + 1e-6).all() or planner.smoothing > 0
    assert search.plan().actions.flatten().tolist() == pytest.approx([0.85] * 3, abs=0.02)


@pytest.mark.parametrize("planner", [BestOfN(horizon=2), CEM(horizon=2), ICEM(horizon=2), MPPI(horizon=2)])
def test_where_none_is_feasible_the_least_violating_is_the_plan_and_the_plan_says_so(planner: Any) -> None:
    found = plan(planner, Narrow(-0.2), [0.0, 1.0], Budget(nodes=2000)).plan
    assert found.violation is not None and (found.violation > 0.39).all()
    away = (found.actions[..., 0] - 0.9).abs().sum(1).numpy()
    np.testing.assert_allclose(found.violation, away + 0.4, rtol=1e-4)
    assert (away < 0.35).all()
    assert found.value.tolist() == pytest.approx((-found.actions.square().sum((1, 2))).tolist(), rel=1e-4)


@pytest.mark.parametrize("planner", [CEM(horizon=2), ICEM(horizon=2)])
def test_the_contract_of_a_search_holds_under_a_constraint(planner: Any) -> None:
    check_search(planner, Narrow(), [0.0, 1.0, 2.0], nodes=200)


def test_a_plan_must_be_feasible_in_every_world() -> None:
    """Two particles, one of which may not act above 0.3."""

    class BatchedEnv(TargetProblem, Stochastic, Constrained):
        particles, cost = 2, 2

        def repeat(self, states: Any, keys: Any) -> Any:
            return torch.arange(2.0).repeat(len(states))

        def constraint(self, states: Tensor, actions: Tensor) -> Tensor:
            return torch.where(states == 1, actions[:, 0] - 0.3, -1.0)

    for risk in ("mean", "worst", ("cvar", 0.5)):
        planner = CEM(horizon=1, risk=risk)  # type: ignore[arg-type]
        found = plan(planner, BatchedEnv(torch.tensor([0.8])), [0, 0], Budget(nodes=800)).plan
        assert (found.actions <= 0.3).all() and (found.actions > 0.25).all()


def test_what_happens_behind_an_end_violates_nothing() -> None:
    class Ending(TargetProblem, Constrained):
        def start(self, problems: Any) -> Any:
            return torch.zeros(len(problems)), super().start(problems)[1]

        def expand(self, states: Any, actions: Any, **more: Any) -> Any:
            _, said = super().expand(states, actions)
            return states + 1, replace(said, discount=1 - states)

        def constraint(self, states: Tensor, actions: Tensor) -> Tensor:
            return states

    query = SequenceQuery(np.zeros(1, np.int32), torch.zeros(1, 1, 5, 1))
    assert rollout(Ending(torch.zeros(1)), torch.zeros(1), query).violation.tolist() == [[[1.0]]]  # type: ignore[union-attr]


class Halls(Table, Constrained):
    """A table in which action 1 is forbidden in even states."""

    def constraint(self, states: Tensor, actions: Tensor) -> Tensor:
        return torch.where((states % 2 == 0) & (actions == 1), 1.0, -1.0)


def halls() -> Halls:
    draw = np.random.default_rng(5)
    return Halls(draw.integers(0, 6, (6, 3)), draw.random((6, 3)), np.full((6, 3), 0.8))


@pytest.mark.parametrize(
    "planner", [MCTS(), MCTS(selection="gumbel"), Beam(horizon=4), CEM(horizon=4), MPPI(horizon=4)]
)
def test_masked_slots_are_never_walked(planner: Any) -> None:
    outcome = plan(planner, Masked(halls()), list(range(6)), Budget(nodes=120))
    for b, line in enumerate(outcome.plan.actions):
        state = b
        assert len(line)
        for action in line.tolist():
            assert not (state % 2 == 0 and action == 1)
            state = int(halls().next[state, action])
    assert not outcome.plan.weights[[0, 2, 4], 1].any()  # type: ignore[index]


def test_a_masked_tree_comes_to_value_iteration_over_what_is_allowed() -> None:
    model = halls()
    model.reward[::2, 1] = 5.0
    allowed = np.ones((6, 3), bool)
    allowed[::2, 1] = False
    best = np.zeros(6)
    for _ in range(300):
        best = np.where(allowed, model.reward + model.discount * best[model.next], -np.inf).max(1)
    planner = MCTS(selection="uct", backup="max", c_uct=4.0, choose="value")
    model.value = best
    found = plan(planner, Masked(model), list(range(6)), Budget(nodes=400)).plan
    np.testing.assert_allclose(found.value, best, atol=0.03)
    assert (model.optimum() > best + 1).all()


def test_where_every_slot_violates_the_least_violating_are_offered() -> None:
    class Blocked(Halls):
        def constraint(self, states: Tensor, actions: Tensor) -> Tensor:
            return (actions - 1).abs() + 1.0

    _, root = Masked(Blocked(**vars(halls()))).start([0, 3])
    assert torch.isfinite(torch.as_tensor(root.logits)).tolist() == [[False, True, False]] * 2


@pytest.mark.parametrize("planner", [ILQR(), GradientShooting(), WarmStarted(CEM(), ILQR())])
def test_planners_that_cannot_reject_say_what_to_do(planner: Any) -> None:
    with pytest.raises(ModelError, match="Penalised"):
        plan(planner, slow(), STARTS, Budget(nodes=4000))


def test_trees_that_would_not_look_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="Masked"):
        plan(MCTS(), halls(), [0], Budget(nodes=9))


def test_a_policy_s_walks_are_ranked_by_the_same_rules() -> None:
    model = Narrow()
    prior = PolicyPrior(policy=lambda states, logits: torch.full((len(states), 1), 0.86), horizon=2, samples=16)
    found = plan(prior, model, [0.0, 1.0], Budget(nodes=64)).plan
    assert found.violation is not None and found.violation.tolist() == [0, 0]
    assert ((found.actions - 0.9).abs() <= model.width).all()


def test_shapes_and_settings_that_make_no_sense_are_named() -> None:
    class Wide(Narrow):
        def constraint(self, states: Tensor, actions: Tensor) -> Tensor:
            return torch.zeros(3)

    with pytest.raises(ModelError, match="constraint must have shape"):
        plan(CEM(horizon=1), Wide(), [0.0], Budget(nodes=64))
    for weight, power in ((-1.0, 1), (1.0, 3)):
        with pytest.raises(ValueError, match=r"weight is at least 0|power is 1 or 2"):
            Penalised(Narrow(), weight, power)
    for wrap in (lambda m: Penalised(m, 1.0), Masked):
        with pytest.raises(ValueError, match="constraint"):
            wrap(Table(*(np.zeros((1, 1)),) * 3))
    with pytest.raises(ValueError, match="over DiscreteActions"):
        Masked(Narrow())


def test_a_constraint_that_is_nan_is_violated() -> None:
    class Blind(Narrow):
        def constraint(self, states: Tensor, actions: Tensor) -> Tensor:
            return torch.where(actions[:, 0] < 0.5, torch.nan, -1.0)

    found = plan(CEM(horizon=1, vectors=GaussianSettings(std=1.0)), Blind(), [0.0], Budget(nodes=512)).plan
    assert (found.actions >= 0.5).all() and found.violation is not None and found.violation[0] == 0


def test_models_without_a_constraint_have_plans_without_a_violation() -> None:
    zero = Expansion(np.zeros(1), np.ones(1), np.zeros(1))
    assert (
        zero.dead_end is None
        and plan(CEM(), TargetProblem(torch.zeros(1)), [0.0], Budget(nodes=64)).plan.violation is None
    )
