"""L-BFGS against BFGS written out densely, scipy's L-BFGS-B, Riccati, and its own rows alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from forethought.planning import BoxActions, Budget, GradientShooting, plan
from forethought.planning.testing.linear_quadratic import LinearQuadratic
from forethought.planning.trajopt.lbfgs import LBFGS, two_loop
from forethought.planning.usage import NODES

Function = Callable[[Tensor], Tensor]


def climbed(function: Function, start: Tensor, calls: int, **settings: Any) -> LBFGS:
    """`calls` evaluations of every problem."""
    ascent, every = LBFGS(start, **settings), torch.arange(len(start))
    for _ in range(calls):
        x = ascent.trial.clone().requires_grad_()
        value = function(x)
        (slope,) = torch.autograd.grad(value.sum(), x)
        ascent.tell(every, value.detach(), slope)
    return ascent


def quadratic(seed: int, n: int) -> tuple[Function, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    root = draw.normal(size=(n, n))
    matrix, vector = root @ root.T + 0.1 * np.eye(n), draw.normal(size=n) * 2
    a, b = torch.from_numpy(matrix), torch.from_numpy(vector)
    return (lambda x: (x * b).sum(-1) - (x @ a * x).sum(-1) / 2), matrix, vector


def valley(x: Tensor) -> Tensor:
    """Minus Rosenbrock's function of 2 x, in four dimensions."""
    x = 2 * x
    return -(100 * (x[:, 1:] - x[:, :-1].square()).square() + (1 - x[:, :-1]).square()).sum(-1)


def test_the_recursion_is_bfgs_written_out() -> None:
    """Nocedal and Wright 2006, equation 7.16 and 7.17, with matrices."""
    draw = np.random.default_rng(0)
    n, m = 6, 4
    s, y, g = draw.normal(size=(2, m, n)), draw.normal(size=(2, m, n)), draw.normal(size=(2, n))
    y = np.where((s * y).sum(-1, keepdims=True) > 0, y, -y)
    y[1, 2] = -y[1, 2]  # a pair that does not count
    found = two_loop(torch.from_numpy(g), torch.from_numpy(s), torch.from_numpy(y))
    for b in range(2):
        pairs = [(s[b, i], y[b, i]) for i in range(m) if s[b, i] @ y[b, i] > 0]
        last = pairs[-1]
        inverse = np.eye(n) * (last[0] @ last[1]) / (last[1] @ last[1])
        for move, turn in pairs:
            rho = 1 / (move @ turn)
            side = np.eye(n) - rho * np.outer(turn, move)
            inverse = side.T @ inverse @ side + rho * np.outer(move, move)
        np.testing.assert_allclose(found[b].numpy(), inverse @ g[b], rtol=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_bounded_quadratics_end_where_scipy_s_end(seed: int) -> None:
    n = 8
    function, matrix, vector = quadratic(seed, n)
    start = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (5, n)))
    found = climbed(function, start, 80)
    known = minimize(
        lambda x: x @ matrix @ x / 2 - x @ vector,
        np.zeros(n),
        jac=lambda x: matrix @ x - vector,
        bounds=[(-1, 1)] * n,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-12},
    )
    assert (np.abs(known.x) == 1).any() and (np.abs(known.x) < 1).any()
    np.testing.assert_allclose(found.x.numpy(), np.tile(known.x, (5, 1)), atol=1e-5)


@pytest.mark.parametrize("top", [1.0, 0.4])
def test_a_curved_valley_is_followed_to_its_end_as_scipy_does(top: float) -> None:
    """Rosenbrock's optimum is at x = 1, that is 0.5 here, or where the box (scaled by `top`) cuts the valley."""
    function = lambda x: valley(top * x)  # noqa: E731
    found = climbed(function, torch.zeros(1, 4).double(), 150)
    known = minimize(
        lambda x: -float(function(torch.from_numpy(x)[None])),
        np.zeros(4),
        bounds=[(-1, 1)] * 4,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-9, "maxfun": 10_000},
    )
    assert -float(found.value) <= known.fun + 1e-6


def test_problems_told_apart_are_solved_as_they_are_together() -> None:
    start = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (4, 4)))
    together = climbed(valley, start, 40)
    for row in range(4):
        alone = climbed(valley, start[row : row + 1], 40)
        torch.testing.assert_close(alone.x[0], together.x[row])


def test_values_never_fall_and_places_stay_in_the_box() -> None:
    ascent = LBFGS(torch.from_numpy(np.random.default_rng(2).uniform(-1, 1, (6, 4))))
    every, before = torch.arange(6), torch.full((6,), -torch.inf).double()
    for _ in range(60):
        x = ascent.trial.clone().requires_grad_()
        value = valley(x)
        (slope,) = torch.autograd.grad(value.sum(), x)
        ascent.tell(every, value.detach(), slope)
        assert (ascent.value >= before).all() and (ascent.trial.abs() <= 1).all()
        before = ascent.value.clone()


def test_a_step_into_nan_is_shortened() -> None:
    """The best of log(x) / 10 - x is at 0.1; below 0, where the first step leads, it is NaN."""
    function = lambda x: 0.1 * x[:, 0].log() - x[:, 0]  # noqa: E731
    found = climbed(function, torch.tensor([[0.9]]).double(), 60, first_step=2.0)
    assert float(found.x) == pytest.approx(0.1, abs=1e-6)


def linear(bound: float) -> LinearQuadratic:
    a, b = torch.tensor([[1.0, 0.1], [0.0, 1.0]]), torch.tensor([[0.0], [0.1]])
    q, r, top = torch.diag(torch.tensor([1.0, 0.1])), torch.tensor([[0.05]]), torch.tensor([bound])
    return LinearQuadratic(a, b, q, r, torch.diag(torch.tensor([5.0, 1.0])), BoxActions(-top, top))


STARTS = torch.tensor([[1.0, 0.0], [-0.5, 0.5], [0.3, -0.8]])


def lost(planner: GradientShooting, nodes: int) -> Any:
    best = ((STARTS.double() @ linear(4.0).optimum(10).cost[0]) * STARTS).sum(-1).numpy()
    return (-plan(planner, linear(4.0), STARTS, Budget(nodes=nodes)).plan.value - best) / best


def test_it_reaches_riccati_s_optimum_with_fewer_gradients_than_adam() -> None:
    """Thirty gradients of one sequence: L-BFGS is there, Adam far off."""
    lbfgs = lost(GradientShooting(horizon=10, starts=1, optimiser="lbfgs"), 900)
    adam = lost(GradientShooting(horizon=10, starts=1), 900)
    assert (lbfgs > -1e-4).all() and (lbfgs < 1e-5).all() and (adam > 10 * lbfgs.max()).all()


@pytest.mark.parametrize("nodes", [1, 5, 59, 60, 1000])
def test_every_evaluation_is_paid_those_of_the_line_search_too(nodes: int) -> None:
    planner = GradientShooting(horizon=10, std=3.0, optimiser="lbfgs", tolerance=0.0)
    outcome = plan(planner, linear(0.3), STARTS, Budget(nodes=nodes))
    each = outcome.search.x[0].shape[0] * 3 * outcome.plan.actions.shape[1]
    np.testing.assert_array_equal(outcome.charged[:, NODES], outcome.search.iteration * each)
    ended = np.array(outcome.plan.stop_reason) == "budget"
    assert (outcome.charged[:, NODES] <= nodes).all() and (outcome.charged[ended, NODES] > nodes - each).all()
    assert (outcome.plan.actions.abs() <= torch.tensor(0.3)).all()


def test_a_flat_world_is_over_at_once() -> None:
    model = linear(1.0)
    flat = LinearQuadratic(model.a, model.b, 0 * model.q, 0 * model.r, 0 * model.final, model.actions)
    found = plan(GradientShooting(horizon=4, optimiser="lbfgs", tolerance=0.0), flat, STARTS, Budget(nodes=4800)).plan
    assert found.stop_reason == ["converged"] * 3
