"""A value function of CartPole from the cost-to-go of a linear-quadratic regulator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...planning.interface import Steppable
from ...planning.trajopt.lqr import dare
from ..dynamics import CartPole


class BalanceValue:
    """How long CartPole will balance, estimated from an LQR cost-to-go: (1 - s' P s / scale) / (1 - gamma), at least 0.

    P solves the discrete Riccati equation of the dynamics linearised at rest, with cost diag(weights) on the state and
    0.01 on the force in units of the full force. 1 / (1 - gamma) is the discounted reward of balancing for ever. The
    value is heuristic; it is neither an upper nor a lower bound.

    model: a model of CartPole that is linearised in place of the equations; `dynamics` then only maps observations to
        states. weights: [4]. scale: the cost-to-go at which the value is 0.
    """

    def __init__(
        self,
        dynamics: CartPole,
        *,
        model: Steppable[Any] | None = None,
        weights: Sequence[float] = (1.0, 0.1, 10.0, 0.1),
        scale: float = 500.0,
        gamma: float = 0.99,
    ) -> None:
        self.dynamics, self.scale, self.gamma = dynamics, scale, gamma
        next_state = force_dynamics(dynamics) if model is None else interpolated_dynamics(model)
        self.cost = riccati_cost(next_state, np.diag(weights)).float()

    def __call__(self, obs: Tensor) -> Tensor:
        """[K] values of K physical states or observations."""
        states = self.dynamics.to_states(obs)
        cost = ((states @ self.cost.to(states)) * states).sum(-1)
        return (1 - cost / self.scale).clamp(min=0) / (1 - self.gamma)


NextState = Callable[[Tensor, Tensor], Tensor]
"""A state [4] and a force [1] in units of the full force to the next state [4]."""


def force_dynamics(dynamics: CartPole) -> NextState:
    """The next state by the equations."""
    return lambda state, force: dynamics.euler_step(state[None], dynamics.force * force)[0]


def interpolated_dynamics(model: Steppable[Any]) -> NextState:
    """The next state by a model of CartPole's two actions, interpolated linearly between full force left and right."""

    def next_state(state: Tensor, force: Tensor) -> Tensor:
        predicted = model.step(state.float().expand(2, -1), torch.arange(2))[0].to(force)
        return 0.5 * (1 - force) * predicted[0] + 0.5 * (1 + force) * predicted[1]

    return next_state


def riccati_cost(next_state: NextState, cost: NDArray[np.float64]) -> Tensor:
    """P [4, 4], float64, of the infinite-horizon LQR problem at rest, with state cost [4, 4]."""
    rest = torch.zeros(4, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    a, b = torch.autograd.functional.jacobian(next_state, rest)  # type: ignore[no-untyped-call]
    return dare(a, b, cost, [[0.01]]).cost
