"""Values of physical states, to stand at the leaves of a search: computed once from the dynamics, then looked up.

A tree compares leaves of unequal depth. With Pendulum's negative rewards a leaf value of 0 makes the shallowest leaf
look best; with CartPole's equal rewards all standing leaves look alike. These are the named remedies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ...planning.interface import BoxActions, action_count
from ...planning.trajopt.lqr import dare
from ..dynamics.base import Dynamics
from ..dynamics.cartpole import CartPole
from ..dynamics.pendulum import Pendulum
from .grid import Grid


class GridValue:
    """Value iteration on a grid of physical states, read with multilinear interpolation.

    Solves V(s) = max_a r(s, a) + gamma V(s') at the grid's points, s' interpolated (Munos and Moore 2002, "Variable
    resolution discretization in optimal control"); outside the grid the nearest border is read.

    dynamics: states [K, size], BoxActions actions of one component, or slots.
    low, high, points: [size] the grid. periodic: per coordinate whether high means low again.
    bins: how many actions of a BoxActions are tried, evenly spaced. gamma in (0, 1). tolerance: of a sweep's last change.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        low: Sequence[float],
        high: Sequence[float],
        points: Sequence[int],
        periodic: Sequence[bool],
        *,
        bins: int = 9,
        gamma: float = 0.99,
        tolerance: float = 1e-3,
    ) -> None:
        if not 0.0 < gamma < 1.0:
            raise ValueError(f"GridValue wants gamma in (0, 1), got {gamma}")
        self.dynamics, self.gamma = dynamics, gamma
        exact = Grid(low, high, points, periodic)
        self.table = self._iterate(exact, bins, tolerance)[exact.home].to(torch.float32)
        self.grid = exact.to(self.table)

    def __call__(self, seen: Tensor) -> Tensor:
        """[K] values of physical states or observations, read in float32."""
        if seen.device != self.table.device:
            self.table = self.table.to(seen.device)
            self.grid = self.grid.to(self.table)
        corners, weights = self.grid.corners(self.dynamics.physical(seen).to(torch.float32))
        return (self.table[corners] * weights).sum(-1).to(seen.dtype)

    def _iterate(self, grid: Grid, bins: int, tolerance: float) -> Tensor:
        """Values of all points: sweeps until the largest change is below `tolerance`, one sparse product a sweep."""
        states = grid.states()
        rewards, shares = [], []
        for action in actions_of(self.dynamics, bins):
            reached, reward, discount = self.dynamics.step(states, action.expand(len(states), *action.shape))
            corners, weights = grid.corners(reached)
            shares.append(sparse(grid.home[corners], weights * discount[:, None] * self.gamma, len(states)))
            rewards.append(reward.numpy())
        step, gain = scipy.sparse.vstack(shares, format="csr"), np.concatenate(rewards)
        value, change = np.zeros(len(states)), math.inf
        while change > tolerance:
            better = (gain + step @ value).reshape(len(rewards), -1).max(0)
            change, value = float(np.abs(better - value).max()), better
        return torch.from_numpy(value)


def sparse(columns: Tensor, weights: Tensor, width: int) -> Any:
    """A sparse matrix [N, width] with `weights` [N, M] in `columns` [N, M]."""
    starts = np.arange(len(columns) + 1) * columns.shape[1]
    return scipy.sparse.csr_array(
        (weights.numpy().ravel(), columns.numpy().ravel(), starts), shape=(len(columns), width)
    )


class BalanceValue:
    """How long CartPole will stand, judged by an LQR cost-to-go: (1 - s' P s / scale) / (1 - gamma), at least 0.

    P solves the discrete Riccati equation of the dynamics linearised at rest, with cost diag(weights) on the state and
    0.01 on the force in units of the full force. 1 / (1 - gamma) is the discounted reward of standing for ever.
    learned: a model of CartPole over its two slots that is linearised in place of the equations; `dynamics` then only
        tells states. scale: the cost-to-go that counts as fallen. It is a shaped guess, no bound of any kind.
    """

    def __init__(
        self,
        dynamics: CartPole,
        *,
        learned: Any = None,
        weights: Sequence[float] = (1.0, 0.1, 10.0, 0.1),
        scale: float = 500.0,
        gamma: float = 0.99,
    ) -> None:
        self.dynamics, self.scale, self.gamma = dynamics, scale, gamma
        move = pushed(dynamics) if learned is None else between(learned)
        self.cost = riccati_of(move, np.diag(weights)).float()

    def __call__(self, seen: Tensor) -> Tensor:
        states = self.dynamics.physical(seen)
        cost = ((states @ self.cost.to(states)) * states).sum(-1)
        return (1 - cost / self.scale).clamp(min=0) / (1 - self.gamma)


Move = Callable[[Tensor, Tensor], Tensor]
"""A state [4] and a push [1] in units of the full force to the next state [4]."""


def pushed(dynamics: CartPole) -> Move:
    """The equations."""
    return lambda state, push: dynamics.move(state[None], dynamics.force * push)[0]


def between(model: Any) -> Move:
    """What a model of the two slots says of pushes between them: both predictions, mixed in proportion."""

    def move(state: Tensor, push: Tensor) -> Tensor:
        reached = model.step(state.float().expand(2, -1), torch.arange(2))[0].to(push)
        return 0.5 * (1 - push) * reached[0] + 0.5 * (1 + push) * reached[1]

    return move


def riccati_of(move: Move, cost: np.ndarray) -> Tensor:
    """P [4, 4], float64, of the infinite-horizon LQR problem at rest, force in units of the full force."""
    rest = torch.zeros(4, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    a, b = torch.autograd.functional.jacobian(move, rest)  # type: ignore[no-untyped-call]
    return dare(a, b, cost, [[0.01]]).cost


def actions_of(dynamics: Dynamics, bins: int) -> list[Tensor]:
    """Every slot, or evenly spaced torques of a Box of one component, bounds included."""
    space = dynamics.actions
    if not isinstance(space, BoxActions):
        return [torch.tensor(i) for i in range(action_count(space))]
    if len(space.low) != 1:
        raise ValueError(f"GridValue tries torques of one component, these actions have {len(space.low)}")
    return list(torch.linspace(float(space.low), float(space.high), bins, dtype=torch.float64)[:, None])


def pendulum_value(dynamics: Pendulum | None = None, *, points: int = 61, gamma: float = 0.99) -> GridValue:
    """A `GridValue` of Pendulum: theta over a full turn, omega between the speed limits, `points` each."""
    dynamics = dynamics or Pendulum()
    top = dynamics.max_speed
    return GridValue(dynamics, (-math.pi, -top), (math.pi, top), (points, points), (True, False), gamma=gamma)
