"""Cart-pole swing-up: the equations of `cartpole.py` with a continuous force, no termination and the pole hanging down.

    maximise    sum_t  -( 1 - cos theta_t + 0.02 x_t^2 + 0.01 v_t^2 + 0.01 omega_t^2 + 0.001 (u_t / 10)^2 )
    subject to  the equations of `cartpole.py`, in 5 Euler steps of 0.01 s a step;  u_t in [-10, 10] N

Equations: Florian 2007, "Correct equations for the dynamics of the cart-pole system", without friction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...planning.interface import BoxActions
from .base import check_constants, check_width
from .cartpole import CartPole


@dataclass(frozen=True)
class SwingUp:
    """States [K, 4] = (x m, v m/s, theta rad, omega rad/s), theta = 0 upright; actions [K, 1] in N.

    Observations [K, 5] = (x, v, cos theta, sin theta, omega). gravity in m/s^2, cart and pole in kg, length: half the
    pole's, in m, force: bound in N, dt in s.
    """

    gravity: float = 9.8
    cart: float = 1.0
    pole: float = 0.1
    length: float = 0.5
    force: float = 10.0
    dt: float = 0.05

    def __post_init__(self) -> None:
        check_constants(self, zero=("gravity",))

    env_id = "forethought/SwingUp-v0"
    state_dim = 4
    obs_dim = 5
    continuing = True
    substeps = 5

    @property
    def actions(self) -> BoxActions:
        bound = torch.tensor([self.force])
        return BoxActions(-bound, bound)

    @property
    def substep_dynamics(self) -> CartPole:
        """The cart-pole with the time step of one substep."""
        return CartPole(self.gravity, self.cart, self.pole, self.length, self.force, self.dt / self.substeps)

    def step(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next states [K, 4], rewards [K] and discounts [K], which are 1. Forces beyond the bounds are clipped."""
        reward, cartpole = self.reward(states, actions, states), self.substep_dynamics
        push = actions[..., 0].clamp(-self.force, self.force)
        for _ in range(self.substeps):
            states = cartpole.euler_step(states, push)
        return states, reward, torch.ones_like(reward)

    def reward(self, obs: Tensor, actions: Tensor, next_obs: Tensor) -> Tensor:
        """[K] reward of a step out of states or observations `obs`."""
        x, v, theta, omega = self.to_states(obs).unbind(-1)
        push = actions[..., 0].clamp(-self.force, self.force) / 10
        still = 0.02 * x.square() + 0.01 * v.square() + 0.01 * omega.square()
        return -(1 - torch.cos(theta) + still + 0.001 * push.square())

    def terminated(self, states: Tensor) -> Tensor:
        return torch.zeros(len(states), dtype=torch.bool, device=states.device)

    def observe(self, states: Tensor) -> Tensor:
        x, v, theta, omega = check_width("SwingUp.observe", states, 4).unbind(-1)
        return torch.stack((x, v, torch.cos(theta), torch.sin(theta), omega), -1)

    def to_states(self, obs: Tensor) -> Tensor:
        if check_width("SwingUp", obs, 4, 5).shape[1] == 4:
            return obs
        x, v, cos, sin, omega = obs.unbind(-1)
        return torch.stack((x, v, torch.atan2(sin, cos), omega), -1)

    def initial_state(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A state [4] with the pole hanging down, nearly at rest."""
        return np.array([0.0, 0.0, math.pi, 0.0]) + rng.uniform(-0.1, 0.1, 4)
