"""Value iteration on a regular grid of physical states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ...planning.interface import BoxActions, action_count
from ..dynamics import Dynamics, Pendulum
from .grid import RegularGrid


class GridValue:
    """Value iteration on a grid of physical states, evaluated by multilinear interpolation.

    Solves V(s) = max_a r(s, a) + gamma V(s') at the grid's points with s' interpolated (Munos and Moore 2002, "Variable
    resolution discretization in optimal control"). Outside the grid the value of the nearest border is used.

    dynamics: states [K, n] and actions that are discrete, or vectors of one component.
    low, high, points: [n] the grid. periodic: [n] whether high is the same state as low.
    bins: number of evenly spaced actions to try where actions are vectors. gamma: in (0, 1). tolerance: iteration ends
        when no value changes by more than this fraction of the largest reward, in any unit of the reward.

    Errors: ValueError for another gamma, for action vectors of several components, and as in `RegularGrid`.
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
        tolerance: float = 5e-5,
    ) -> None:
        if not 0.0 < gamma < 1.0:
            raise ValueError(f"GridValue needs gamma in (0, 1), got {gamma}")
        self.dynamics, self.gamma = dynamics, gamma
        exact = RegularGrid(low, high, points, periodic)
        self.table = self._iterate(exact, bins, tolerance)[exact.source].to(torch.float32)
        self.grid = exact.to(self.table)

    def __call__(self, obs: Tensor) -> Tensor:
        """[K] values of K physical states or observations, computed in float32."""
        if obs.device != self.table.device:
            self.table = self.table.to(obs.device)
            self.grid = self.grid.to(self.table)
        corners, weights = self.grid.corners(self.dynamics.to_states(obs).to(torch.float32))
        return (self.table[corners] * weights).sum(-1).to(obs.dtype)

    def _iterate(self, grid: RegularGrid, bins: int, tolerance: float) -> Tensor:
        """Values [prod(points)]: one sparse product per sweep until no value changes more than `tolerance` allows."""
        states = grid.points()
        rewards, transitions = [], []
        for action in candidate_actions(self.dynamics, bins):
            next_states, reward, discount = self.dynamics.step(states, action.expand(len(states), *action.shape))
            corners, weights = grid.corners(next_states)
            weights = weights * discount[:, None] * self.gamma
            transitions.append(sparse_rows(grid.source[corners], weights, len(states)))
            rewards.append(reward.numpy())
        transition, reward_of = scipy.sparse.vstack(transitions, format="csr"), np.concatenate(rewards)
        value, change = np.zeros(len(states)), math.inf
        while change > tolerance * np.abs(reward_of).max():
            improved = (reward_of + transition @ value).reshape(len(rewards), -1).max(0)
            change, value = float(np.abs(improved - value).max()), improved
        return torch.from_numpy(value)


def sparse_rows(columns: Tensor, weights: Tensor, width: int) -> Any:
    """A scipy sparse matrix [N, width] with `weights` [N, M] in `columns` [N, M] of each row."""
    starts = np.arange(len(columns) + 1) * columns.shape[1]
    return scipy.sparse.csr_array(
        (weights.numpy().ravel(), columns.numpy().ravel(), starts), shape=(len(columns), width)
    )


def candidate_actions(dynamics: Dynamics, bins: int) -> list[Tensor]:
    """Every discrete action, or `bins` evenly spaced vectors of one component, bounds included.

    Errors: ValueError for vectors of several components.
    """
    space = dynamics.actions
    if not isinstance(space, BoxActions):
        return [torch.tensor(i) for i in range(action_count(space))]
    if len(space.low) != 1:
        raise ValueError(f"GridValue needs action vectors of one component, these have {len(space.low)}")
    return list(torch.linspace(float(space.low), float(space.high), bins, dtype=torch.float64)[:, None])


def pendulum_value(dynamics: Pendulum | None = None, *, points: int = 61, gamma: float = 0.99) -> GridValue:
    """A `GridValue` of Pendulum: theta over a full turn, omega between the speed limits, `points` each."""
    dynamics = dynamics or Pendulum()
    speed = dynamics.max_speed
    return GridValue(dynamics, (-math.pi, -speed), (math.pi, speed), (points, points), (True, False), gamma=gamma)
