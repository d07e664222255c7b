"""iLQR and DDP against Riccati, every action of a grid, scipy's L-BFGS-B, and crocoddyl where it is installed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize

from forethought.planning import (
    CEM,
    DDP,
    ILQR,
    BoxActions,
    Budget,
    DiscreteActions,
    Expansion,
    ModelError,
    Plan,
    SequenceQuery,
    plan,
)
from forethought.planning.rollout import rollout
from forethought.planning.testing.check_model import check_search
from forethought.planning.testing.linear_quadratic import LinearQuadratic
from forethought.planning.trajopt.backward import QuadraticModel, backward_pass
from forethought.planning.usage import NODES
from forethought.planning.vectors.queries import Gradients, Linearization, Rollouts, linearization_nodes

BOTH = [ILQR(), DDP()]
PLENTY = Budget(nodes=60_000)


def f64(x: Any) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64)


def linear(bound: float = 100.0, gamma: float = 0.97) -> LinearQuadratic:
    a, b, top = f64([[1.0, 0.1], [0.0, 1.0]]), f64([[0.0, 0.02], [0.1, 0.0]]), f64([bound, bound])
    q, r, final = torch.diag(f64([1.0, 0.1])), f64([[0.05, 0.01], [0.01, 0.2]]), torch.diag(f64([5.0, 1.0]))
    return LinearQuadratic(a, b, q, r, final, BoxActions(-top, top), gamma)


@dataclass
class Swing:
    """A smooth pendulum, theta = 0 upright: reward -(2 - 2 cos theta + 0.1 omega^2 + r u^2) dt, ten times that at the
    end without u. `end`: an episode is over beyond this angle. `kink`: a reward that cannot be differentiated at 0."""

    bound: float = 2.0
    effort: float = 0.01
    end: float = math.inf
    kink: bool = False
    sign: float = 1.0
    cost: int = 1
    dt = 0.05

    @property
    def actions(self) -> BoxActions:
        return BoxActions(f64([-self.bound]), f64([self.bound]))

    def start(self, problems: Any) -> Any:
        x = torch.as_tensor(problems, dtype=torch.float64)
        one = torch.ones_like(x[:, 0])
        return x, Expansion(0 * one, one, 0 * one)

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        theta, omega, u = *states.unbind(-1), actions[:, 0]
        after = omega + self.dt * (15 * torch.sin(theta) + 3 * u)
        reached = torch.stack([theta + self.dt * after, after], -1)
        reward = -self.dt * (_stand(states) + self.sign * self.effort * u.square())
        if self.kink:
            reward = reward - torch.sqrt(u.square())
        discount = (reached[:, 0].abs() < self.end).to(reward)
        return reached, Expansion(reward, discount, -10 * self.dt * _stand(reached) * discount)


def _stand(x: torch.Tensor) -> torch.Tensor:
    return 2 - 2 * torch.cos(x[:, 0]) + 0.1 * x[:, 1].square()


WEAK = Swing(bound=3.0, effort=0.1)
"""Its torque holds it no higher than 37 degrees from hanging: it must swing."""

STARTS = f64([[math.pi - 0.3, 0.0], [2.0, -1.0], [-0.5, 0.3]])


def returns_of(model: Any, starts: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    row = np.arange(len(starts), dtype=np.int32)
    return rollout(model, model.start(starts)[0], SequenceQuery(row, actions[:, None])).returns[:, 0, 0]


# --- linear-quadratic problems ------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", BOTH, ids=lambda p: type(p).__name__)
def test_one_improvement_is_the_lqr_optimum(planner: ILQR) -> None:
    model, starts = linear(), f64([[1.0, 0.0], [-0.5, 0.5], [0.3, -0.8]])
    outcome = plan(replace(planner, horizon=15, tolerance=1e-9), model, starts, PLENTY)
    law = model.optimum(15)
    np.testing.assert_allclose(outcome.plan.value, -((starts @ law.cost[0]) * starts).sum(-1), rtol=1e-6)
    torch.testing.assert_close(outcome.plan.actions[:, 0], -starts @ law.gain[0].T)
    assert outcome.search.improvements.tolist() == [1, 1, 1] and outcome.plan.stop_reason == ["converged"] * 3
    assert outcome.plan.gradient is not None and outcome.plan.gradient.max() < 1e-9
    assert (outcome.charged[:, NODES] == 15 * 2 + 2 * linearization_nodes(15, 4, 2 * planner.second)).all()


def test_its_feedback_is_the_lqr_gain() -> None:
    model = linear()
    states = model.start(f64([[1.0, -1.0]]))[0]
    actions, row = torch.zeros(1, 1, 8, 2, dtype=torch.float64), np.zeros(1, np.int32)
    around = rollout(model, states, Rollouts(row, actions)).states[:, 0, :-1]
    told = rollout(model, states, Linearization(row, actions, None, around))
    law = backward_pass(QuadraticModel.of(told, actions[:, 0], model.actions), torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(law.feedback[0], -model.optimum(8).gain)


@pytest.mark.parametrize("planner", BOTH, ids=lambda p: type(p).__name__)
def test_with_bounds_it_is_the_optimum_of_the_bounded_quadratic_program(planner: ILQR) -> None:
    model, starts, steps = linear(bound=0.7), f64([[1.0, 0.0], [-0.5, 1.5], [2.0, -0.8]]), 6
    found = plan(replace(planner, horizon=steps, tolerance=1e-8), model, starts, PLENTY).plan
    for b in range(3):
        point = lambda u, b=b: -float(returns_of(model, starts[b : b + 1], f64(u).view(1, steps, 2)))  # noqa: E731
        best = optimize.minimize(point, np.zeros(steps * 2), method="L-BFGS-B", bounds=[(-0.7, 0.7)] * (steps * 2))
        assert found.value[b] >= -best.fun - 1e-5 * abs(best.fun)
    assert (found.actions.abs() == 0.7).any() and found.stop_reason == ["converged"] * 3


# --- nonlinear problems -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", BOTH, ids=lambda p: type(p).__name__)
def test_it_is_at_least_as_good_as_every_action_sequence_of_a_grid(planner: ILQR) -> None:
    model, starts = Swing(), STARTS[1:]
    axis = torch.linspace(-2, 2, 41, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis, axis)[:, :, None]
    row = np.arange(2, dtype=np.int32)
    tried = rollout(model, starts, SequenceQuery(row, grid.expand(2, -1, -1, -1))).returns[..., 0].amax(1)
    found = plan(replace(planner, horizon=3, tolerance=1e-8), model, starts, PLENTY).plan
    assert (torch.from_numpy(found.value) >= tried - 1e-6).all()


@pytest.mark.parametrize("planner", BOTH, ids=lambda p: type(p).__name__)
def test_it_swings_a_weak_pendulum_up_and_the_certificate_is_the_gradient(planner: ILQR) -> None:
    outcome = plan(replace(planner, horizon=60, tolerance=1e-5), (model := WEAK), STARTS[:1], PLENTY)
    found, end = outcome.plan, outcome.search.states[0, -1]
    assert found.stop_reason == ["converged"]
    assert abs(math.remainder(float(end[0]), 2 * math.pi)) < 0.1 and abs(float(end[1])) < 0.3
    assert (found.actions.abs() <= 3).all() and (found.actions.abs() == 3).sum() > 5
    torch.testing.assert_close(returns_of(model, STARTS[:1], found.actions), f64(found.value), rtol=1e-5, atol=1e-5)
    slope = rollout(model, STARTS[:1], Gradients(np.zeros(1, np.int32), found.actions[:, None])).gradients[0, 0, 0]
    held = ((found.actions[0] >= 3) & (slope > 0)) | ((found.actions[0] <= -3) & (slope < 0))
    assert found.gradient is not None
    np.testing.assert_allclose(found.gradient[0], float(torch.where(held, 0, 3 * slope.abs()).max()), rtol=1e-3)


def test_scipys_bounded_quasi_newton_finds_nothing_better_nearby() -> None:
    model, steps = Swing(), 30
    found = plan(DDP(horizon=steps, tolerance=1e-7), model, STARTS[1:], PLENTY).plan
    for b, start in enumerate(STARTS[1:]):

        def fall(u: Any, start: Any = start) -> tuple[float, Any]:
            query = Gradients(np.zeros(1, np.int32), f64(u).view(1, 1, steps, 1))
            told = rollout(model, start[None], query)
            return -float(told.returns), -told.gradients.flatten().numpy()

        best = optimize.minimize(
            fall, found.actions[b].flatten(), jac=True, method="L-BFGS-B", bounds=[(-2, 2)] * steps
        )
        assert found.value[b] >= -best.fun - 1e-5 * abs(best.fun)


def test_second_derivatives_of_the_dynamics_take_fewer_improvements() -> None:
    few, many = (plan(p, WEAK, STARTS[:1], PLENTY).search.improvements for p in (DDP(horizon=60), ILQR(horizon=60)))
    assert few < 0.8 * many


def test_a_row_of_a_batch_is_the_same_row_alone() -> None:
    together = plan(ILQR(horizon=30), Swing(), STARTS, Budget(nodes=3000))
    for b in range(3):
        alone = plan(ILQR(horizon=30), Swing(), STARTS[b : b + 1], Budget(nodes=3000))
        torch.testing.assert_close(alone.plan.actions[0], together.plan.actions[b], rtol=1e-6, atol=1e-7)
        assert alone.charged[0, NODES] == together.charged[b, NODES]


def test_an_episode_that_may_end_is_planned_to_its_end_only() -> None:
    model = Swing(end=0.8)
    starts = f64([[0.7, 2.0], [0.03, 0.0]])
    outcome = plan(ILQR(horizon=25), model, starts, PLENTY)
    before = returns_of(model, starts, torch.zeros(2, 25, 1, dtype=torch.float64)).numpy()
    assert (outcome.plan.value >= before - 1e-6).all() and outcome.plan.value[1] > before[1] + 0.1
    assert np.isfinite(outcome.plan.value).all() and torch.isfinite(outcome.plan.actions).all()


# --- conduct ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", BOTH, ids=lambda p: type(p).__name__)
def test_it_keeps_the_contract_of_a_search(planner: ILQR) -> None:
    check_search(replace(planner, horizon=5))


@pytest.mark.parametrize("nodes", [1, 7, 40, 200, 1000])
def test_a_cap_in_nodes_is_never_exceeded_and_a_plan_is_always_there(nodes: int) -> None:
    outcome = plan(ILQR(horizon=10), Swing(), STARTS, Budget(nodes=nodes))
    assert (outcome.charged[:, NODES] <= nodes).all()
    assert set(outcome.plan.stop_reason) <= {"budget", "converged"} and np.isfinite(outcome.plan.value).all()
    assert outcome.plan.actions.shape == (3, min(10, nodes), 1)


def test_more_budget_is_never_worse_and_what_was_not_measured_is_nan() -> None:
    values = []
    for nodes in (30, 200, 400, 800, 3200):
        found: Plan = plan(ILQR(horizon=20), Swing(), STARTS[:1], Budget(nodes=nodes)).plan
        assert found.gradient is not None
        values.append(float(found.value[0]))
    assert values == sorted(values) and values[-1] > values[0]
    found = plan(ILQR(horizon=20), Swing(), STARTS[:1], Budget(nodes=30)).plan
    assert found.gradient is not None and np.isnan(found.gradient[0])


def test_a_warm_start_goes_on_with_any_search_over_vectors() -> None:
    model, budget = Swing(), Budget(nodes=4000)
    first = plan(CEM(horizon=30, answer="mean"), model, STARTS, budget)
    second = plan(ILQR(horizon=30), model, STARTS, budget, after=first)
    assert (second.plan.value >= first.plan.value - 1e-6).all()
    second.search.advance(second.plan.actions[:, 0])
    states, _ = model.expand(STARTS, second.plan.actions[:, 0])
    third = plan(ILQR(horizon=30, tolerance=1e-2), model, states, Budget(nodes=31), after=second)
    torch.testing.assert_close(third.plan.actions[:, :-1], second.plan.actions[:, 1:])


def test_an_indefinite_hessian_is_regularised_or_ends_as_stalled() -> None:
    outcome = plan(ILQR(horizon=10), Swing(sign=-1.0), STARTS, PLENTY)
    assert (outcome.plan.actions.abs() == 2).float().mean() > 0.8
    assert set(outcome.plan.stop_reason) <= {"converged", "stalled"}
    assert (outcome.plan.value > returns_of(Swing(sign=-1.0), STARTS, 0 * outcome.plan.actions).numpy()).all()


def test_derivatives_that_are_not_finite_are_a_model_error() -> None:
    with pytest.raises(ModelError, match="not finite; the model's functions have kinks"):
        plan(ILQR(horizon=4), Swing(kink=True), STARTS, PLENTY)


def test_slots_and_settings_without_sense_are_refused() -> None:
    zero = np.zeros(1, np.float32)
    with pytest.raises(ValueError, match="DDP plans vectors within BoxActions"):
        DDP().begin(
            Expansion(zero, zero + 1, zero), DiscreteActions(3), Budget(nodes=5).size(), keys=np.zeros(1, np.uint64)
        )
    for wrong in ({"horizon": 0}, {"iterations": 0}, {"tolerance": -1.0}, {"tolerance": math.nan}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ILQR(**wrong)


# --- crocoddyl ----------------------------------------------------------------------------------------------------


def box_ddp(step: Any, last: Any, start: Any, steps: int) -> Any:
    """crocoddyl's solver for `steps` actions from `start`, begun with no action."""
    crocoddyl = pytest.importorskip("crocoddyl", reason="crocoddyl is not installed: pip install crocoddyl")
    solver = crocoddyl.SolverBoxDDP(crocoddyl.ShootingProblem(np.asarray(start), [step] * steps, last))
    nothing = [np.zeros(step.nu)] * steps
    solver.solve(solver.problem.rollout(nothing), nothing, 500, False)
    return solver


@pytest.mark.parametrize("start", [0, 1])
def test_crocoddyls_box_ddp_swings_the_pendulum_no_better(start: int) -> None:
    crocoddyl = pytest.importorskip("crocoddyl", reason="crocoddyl is not installed: pip install crocoddyl")

    class Pendulum(crocoddyl.ActionModelAbstract):  # type: ignore[misc]
        """`WEAK` written anew in numpy, derivatives by hand."""

        def __init__(self, weight: float, effort: float, moves: bool) -> None:
            super().__init__(crocoddyl.StateVector(2), 1 if moves else 0, 0)
            self.weight, self.effort, self.moves = weight, effort, moves
            if moves:
                self.u_lb, self.u_ub = np.array([-3.0]), np.array([3.0])

        def calc(self, data: Any, x: Any, u: Any = None) -> None:
            push = float(u[0]) if self.moves and u is not None else 0.0
            omega = x[1] + 0.05 * (15 * np.sin(x[0]) + 3 * push) * self.moves
            data.xnext = np.array([x[0] + 0.05 * omega * self.moves, omega])
            data.cost = self.weight * (2 - 2 * np.cos(x[0]) + 0.1 * x[1] ** 2 + self.effort * push**2)

        def calcDiff(self, data: Any, x: Any, u: Any = None) -> None:
            push = float(u[0]) if self.moves and u is not None else 0.0
            data.Lx = self.weight * np.array([2 * np.sin(x[0]), 0.2 * x[1]])
            data.Lxx = self.weight * np.diag([2 * np.cos(x[0]), 0.2])
            if self.moves:
                turn = 0.75 * np.cos(x[0])
                data.Fx = np.array([[1 + 0.05 * turn, 0.05], [turn, 1.0]])
                data.Fu = np.array([0.0075, 0.15])
                data.Lu = np.array([2 * self.weight * self.effort * push])
                data.Luu = np.array([2 * self.weight * self.effort])

    steps = 60
    theirs = box_ddp(Pendulum(0.05, 0.1, True), Pendulum(0.5, 0.0, False), STARTS[start], steps)
    ours = plan(ILQR(horizon=steps), WEAK, STARTS[start : start + 1], PLENTY)
    again = returns_of(WEAK, STARTS[start : start + 1], f64(np.array(theirs.us)).view(1, steps, 1))
    assert float(again) == pytest.approx(-theirs.cost, rel=1e-4)
    print(f"pendulum {start}: crocoddyl {-theirs.cost:.4f} in {theirs.iter}, ours {ours.plan.value[0]:.4f} in "
          f"{ours.search.improvements[0]}")  # fmt: skip
    assert ours.plan.value[0] >= -theirs.cost - 0.01 * theirs.cost


@dataclass
class Unicycle:
    """crocoddyl's `ActionModelUnicycle` in torch: (x, y, theta) under speed and turn, cost 1/2 |10 x|^2 + 1/2 |u|^2."""

    cost: int = 1
    actions = BoxActions(f64([-0.4, -0.6]), f64([0.4, 0.6]))

    def start(self, problems: Any) -> Any:
        x = torch.as_tensor(problems, dtype=torch.float64)
        one = torch.ones_like(x[:, 0])
        return x, Expansion(0 * one, one, 0 * one)

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        theta, (speed, turn) = states[:, 2], actions.unbind(-1)
        move = torch.stack([torch.cos(theta) * speed, torch.sin(theta) * speed, turn], -1)
        reached = states + 0.1 * move
        reward = -50 * states.square().sum(-1) - actions.square().sum(-1) / 2
        return reached, Expansion(reward, torch.ones_like(reward), -50 * reached.square().sum(-1))


def test_crocoddyls_box_ddp_drives_the_unicycle_no_better() -> None:
    crocoddyl = pytest.importorskip("crocoddyl", reason="crocoddyl is not installed: pip install crocoddyl")
    step, steps, start = crocoddyl.ActionModelUnicycle(), 40, f64([[-1.0, -0.5, 0.8]])
    step.u_lb, step.u_ub = np.array([-0.4, -0.6]), np.array([0.4, 0.6])
    theirs = box_ddp(step, crocoddyl.ActionModelUnicycle(), start[0], steps)
    ours = plan(ILQR(horizon=steps, tolerance=1e-6), Unicycle(), start, PLENTY)
    again = returns_of(Unicycle(), start, f64(np.array(theirs.us)).view(1, steps, 2))
    assert float(again) == pytest.approx(-theirs.cost, rel=1e-6)
    print(f"unicycle: crocoddyl {-theirs.cost:.4f} in {theirs.iter}, ours {ours.plan.value[0]:.4f} in "
          f"{ours.search.improvements[0]}")  # fmt: skip
    assert ours.plan.value[0] >= -theirs.cost - 0.01 * theirs.cost
    assert (ours.plan.actions.abs() == f64([0.4, 0.6])).any()
