"""The worlds that tests and benchmarks plan in: their steps and their stated optima, by independent arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from forethought.planning import BoxActions
from forethought.planning.testing.linear_quadratic import LinearQuadratic, quadratic
from forethought.planning.testing.problems import Table


def world(gamma: float = 0.9) -> LinearQuadratic:
    a, b = torch.tensor([[1.0, 0.2], [0.0, 0.9]]).double(), torch.tensor([[0.0], [0.5]]).double()
    q, r, final = (
        torch.diag(torch.tensor([1.0, 0.3])).double(),
        torch.tensor([[0.2]]).double(),
        2 * torch.eye(2).double(),
    )
    return LinearQuadratic(a, b, q, r, final, BoxActions(torch.tensor([-9.0]), torch.tensor([9.0])), gamma)


def test_a_step_is_the_equations() -> None:
    states, root = world().start([[1.0, 2.0], [0.0, -1.0]])
    reached, said = world().expand(states, torch.tensor([[1.0], [0.0]]))
    assert reached.tolist() == pytest.approx(np.array([[1.4, 2.3], [-0.2, -0.9]]))
    assert said.reward.tolist() == pytest.approx([-(1 + 0.3 * 4 + 0.2), -0.3]) and said.discount.tolist() == [0.9, 0.9]
    assert said.value.tolist() == pytest.approx([-2 * (1.4**2 + 2.3**2), -2 * (0.2**2 + 0.9**2)])
    assert root.value.tolist() == pytest.approx([-10, -2])
    assert world().expand(states, torch.zeros(2, 1), evaluate="none")[1].value.tolist() == [0, 0]
    assert quadratic(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, 3.0]])).tolist() == [15]


def test_the_stated_optimum_is_the_least_squares_solution() -> None:
    """The return is a concave quadratic in the 3 actions, whose maximum follows from its gradient and Hessian."""
    start, horizon = torch.tensor([1.0, -0.5]).double(), 3

    def total(actions: torch.Tensor) -> torch.Tensor:
        x, found = start[None], torch.zeros(()).double()
        for t in range(horizon):
            x, reward, _ = world().step(x, actions[t].reshape(1, 1))
            found = found + 0.9**t * reward[0]
        return found - 0.9**horizon * 2 * x.square().sum()

    zero = torch.zeros(horizon).double()
    slope = torch.autograd.functional.jacobian(total, zero)
    bend = torch.autograd.functional.hessian(total, zero)
    best = float(total(torch.linalg.solve(bend, -slope)))
    assert -float(start @ world().optimum(horizon).cost[0] @ start) == pytest.approx(best)


def test_problems_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"problems are states \[B, 2\], got \[1, 3\]"):
        world().start([[1.0, 2.0, 3.0]])


def test_the_optimum_of_a_table_solves_bellmans_equation() -> None:
    draw = np.random.default_rng(3)
    table = Table(draw.integers(0, 7, (7, 3)), draw.random((7, 3)), np.where(draw.random((7, 3)) < 0.2, 0.0, 0.9))
    best = table.optimum()
    np.testing.assert_allclose(best, (table.reward + table.discount * best[table.next]).max(1), rtol=1e-6)
