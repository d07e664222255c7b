"""Value functions: interpolation, the Bellman equation, and the LQR cost-to-go."""

import math

import pytest
import torch

from forethought.control import (
    CARTPOLE,
    AnalyticModel,
    BalanceValue,
    CartPole,
    Fit,
    GridValue,
    Pendulum,
    collect,
    config_for,
    fit_mlp,
    pendulum_value,
    view,
)
from forethought.control.values.grid import RegularGrid


def test_a_grid_interpolates_a_multilinear_function_exactly_and_can_be_periodic():
    grid = RegularGrid((0.0, -1.0), (4.0, 1.0), (8, 5), (False, False))
    points = grid.points()
    table = (points[:, 0] * points[:, 1])[grid.source]
    torch.manual_seed(0)
    states = torch.rand(50, 2, dtype=torch.float64) * torch.tensor([4.0, 2.0]) - torch.tensor([0.0, 1.0])
    corners, weights = grid.corners(states)
    torch.testing.assert_close((table[corners] * weights).sum(1), states.prod(1))
    ring = RegularGrid((-math.pi,), (math.pi,), (16,), (True,))
    corners, weights = ring.corners(torch.tensor([[math.pi - 0.01], [-math.pi - 0.01], [math.pi]], dtype=torch.float64))
    value = (torch.cos(ring.points()[:, 0])[ring.source][corners] * weights).sum(1)
    torch.testing.assert_close(value[0], value[1])
    assert value[2].item() == pytest.approx(-1.0)


def test_beyond_the_grid_the_value_is_that_of_the_border_and_nan_stays_nan():
    value = pendulum_value(points=21)
    inside, outside = torch.tensor([[1.0, 8.0]]), torch.tensor([[1.0, 30.0]])
    assert value(inside).item() == value(outside).item()
    assert math.isnan(value(torch.tensor([[math.nan, 0.0]])).item())


def test_grid_value_is_a_fixed_point_of_its_bellman_operator():
    value = pendulum_value(points=31)
    points = RegularGrid((-math.pi, -8), (math.pi, 8), (31, 31), (True, False)).points().float()
    best = torch.full((len(points),), -math.inf)
    for torque in torch.linspace(-2, 2, 9):
        reached, reward, _ = Pendulum().step(points, torque.expand(len(points), 1))
        best = torch.maximum(best, reward + value.gamma * value(reached))
    torch.testing.assert_close(value(points), best, atol=5e-3, rtol=1e-3)


def test_pendulum_value_is_best_upright_and_alike_for_observations():
    value = pendulum_value(points=31)
    states = torch.tensor([[0.0, 0.0], [1.0, 0.0], [math.pi, 0.0]])
    up, aside, down = value(states).tolist()
    assert 0 >= up > -2 and up > aside > down
    torch.testing.assert_close(value(Pendulum().observe(states)), value(states), atol=1e-2, rtol=1e-3)


def test_grid_value_of_cartpole_is_lower_for_a_falling_pole():
    bounds = (2.4, 3.0, 0.21, 3.0)
    value = GridValue(CartPole(), [-b for b in bounds], bounds, (7, 7, 7, 7), (False,) * 4, gamma=0.9)
    stands, falls = value(torch.tensor([[0.0, 0, 0, 0], [0.0, 0, 0.2, 3.0]])).tolist()
    assert stands > falls > 0


def test_balance_value_is_the_return_of_balancing_and_decreases_away_from_rest():
    value = BalanceValue(CartPole(), gamma=0.99)
    rest, moved, tilted = value(torch.tensor([[0.0, 0, 0, 0], [1.0, 0, 0, 0], [0.0, 0, 0.2, 1.0]])).tolist()
    assert rest == pytest.approx(100.0)
    assert rest > moved > 0 and rest > tilted >= 0


def test_a_balance_value_linearised_from_a_model_is_that_of_the_equations():
    """CartPole's acceleration is linear in the force, so interpolation between two forces is exact."""
    given, told = BalanceValue(CartPole()), BalanceValue(CartPole(), model=AnalyticModel(CartPole()))
    torch.testing.assert_close(told.cost, given.cost, rtol=1e-3, atol=1e-2)


def test_the_terminal_value_of_a_learned_model_is_made_from_that_model():
    model, _ = fit_mlp(collect("CartPole-v1", 300, seed=0), config_for("CartPole-v1", hidden=16), Fit(epochs=20))
    learned, given = view(CARTPOLE, model, "sequences").value, view(CARTPOLE, CARTPOLE.analytic(), "sequences").value
    assert torch.equal(learned.cost, BalanceValue(CartPole(), model=model).cost)
    assert torch.equal(given.cost, BalanceValue(CartPole()).cost) and not torch.equal(given.cost, learned.cost)
