"""Gymnasium's Pendulum-v1 as batched torch dynamics.

The optimal control problem, from a state s0 = (theta, omega) with theta = 0 upright, over T = 200 steps of dt = 0.05 s:

    maximise    sum_t  -( wrap(theta_t)^2 + 0.1 omega_t^2 + 0.001 u_t^2 )                 wrap(x) in [-pi, pi)
    subject to  omega_{t+1} = clip( omega_t + (3 g / 2 l sin theta_t + 3 / (m l^2) u_t) dt, -8, 8 )
                theta_{t+1} = theta_t + omega_{t+1} dt                                    (semi-implicit Euler)
                u_t in [-2, 2] N m

The reward of a step depends on the state before it. No state terminates an episode. Source: gymnasium 1.4,
`envs/classic_control/pendulum.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...planning.interface import BoxActions
from .base import check_constants, check_width


def wrap(angle: Tensor) -> Tensor:
    """An angle in radians, any shape, as the equal one in [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


@dataclass(frozen=True)
class Pendulum:
    """A torque-limited pendulum. States [K, 2] = (theta rad, omega rad/s), actions [K, 1] in N m.

    gravity in m/s^2, mass in kg, length in m, dt in s, max_speed in rad/s, max_torque in N m.
    """

    gravity: float = 10.0
    mass: float = 1.0
    length: float = 1.0
    dt: float = 0.05
    max_speed: float = 8.0
    max_torque: float = 2.0

    def __post_init__(self) -> None:
        check_constants(self, zero=("gravity",))

    env_id = "Pendulum-v1"
    state_dim = 2
    obs_dim = 3
    continuing = True

    @property
    def actions(self) -> BoxActions:
        bound = torch.tensor([self.max_torque])
        return BoxActions(-bound, bound)

    def step(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next states [K, 2], rewards [K] and discounts [K], which are 1. Torques beyond the bounds are clipped."""
        theta, omega = check_width("Pendulum.step states", states, 2).unbind(-1)
        torque = actions[..., 0].clamp(-self.max_torque, self.max_torque)
        reward = self._reward(theta, omega, torque)
        pull, push = 1.5 * self.gravity / self.length * self.dt, 3.0 / (self.mass * self.length**2) * self.dt
        omega = torch.add(torch.add(omega, torch.sin(theta), alpha=pull), torque, alpha=push)
        omega = omega.clamp(-self.max_speed, self.max_speed)
        return torch.stack((torch.add(theta, omega, alpha=self.dt), omega), -1), reward, torch.ones_like(reward)

    def reward(self, obs: Tensor, actions: Tensor, next_obs: Tensor) -> Tensor:
        """[K] reward of a step out of states or observations `obs`; it does not depend on `next_obs`."""
        theta, omega = self.to_states(obs).unbind(-1)
        return self._reward(theta, omega, actions[..., 0].clamp(-self.max_torque, self.max_torque))

    def _reward(self, theta: Tensor, omega: Tensor, torque: Tensor) -> Tensor:
        swing = torch.addcmul(wrap(theta).square(), omega, omega, value=0.1)
        return torch.addcmul(swing, torque, torque, value=0.001).neg_()

    def terminated(self, states: Tensor) -> Tensor:
        return torch.zeros(len(states), dtype=torch.bool, device=states.device)

    def observe(self, states: Tensor) -> Tensor:
        """[K, 3] = (cos theta, sin theta, omega)."""
        theta, omega = check_width("Pendulum.observe", states, 2).unbind(-1)
        return torch.stack((torch.cos(theta), torch.sin(theta), omega), -1)

    def from_observation(self, obs: Tensor) -> Tensor:
        """States [K, 2] of observations [K, 3], with theta in [-pi, pi]."""
        cos, sin, omega = check_width("Pendulum.from_observation", obs, 3).unbind(-1)
        return torch.stack((torch.atan2(sin, cos), omega), -1)

    def to_states(self, obs: Tensor) -> Tensor:
        check_width("Pendulum", obs, 2, 3)
        return obs if obs.shape[1] == 2 else self.from_observation(obs)

    def state_of(self, env: Any) -> Tensor:
        """Physical state [2], float64, of a running Pendulum-v1 environment."""
        return torch.as_tensor(np.array(env.unwrapped.state, dtype=np.float64))
