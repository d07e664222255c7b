"""An arm of two links in a horizontal plane that moves its tip to a target.

    maximise    sum_t  -( |tip(q_t) - target|^2 + 0.01 |w_t|^2 + 0.001 |u_t|^2 )            u_t in [-1, 1]^2 N m
    subject to  M(q) dw/dt + C(q, w) = u - b w,  dq/dt = w

by semi-implicit Euler in 5 substeps of a step of dt = 0.05 s. Both links are thin rods; M and C are those of Spong,
Hutchinson and Vidyasagar 2006, "Robot modeling and control", section 7.3.2 (planar elbow manipulator), without gravity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...planning.interface import BoxActions
from .base import check_constants, check_width


@dataclass(frozen=True)
class Reacher:
    """States [K, 6] = (q1 rad, q2 rad, w1 rad/s, w2 rad/s, target m, target m); actions [K, 2] in N m.

    Observations [K, 8] = (cos q1, cos q2, sin q1, sin q2, w1, w2, target, target). length of each link in m, mass of
    each in kg, damping b in N m s, torque: bound in N m, dt in s.
    """

    length: float = 0.5
    mass: float = 1.0
    damping: float = 0.1
    torque: float = 1.0
    dt: float = 0.05

    def __post_init__(self) -> None:
        check_constants(self, zero=("damping",))

    env_id = "forethought/Reacher-v0"
    state_dim = 6
    obs_dim = 8
    continuing = True
    substeps = 5

    @property
    def actions(self) -> BoxActions:
        bound = torch.full((2,), self.torque)
        return BoxActions(-bound, bound)

    def step(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next states [K, 6], rewards [K] and discounts [K], which are 1. Torques beyond the bounds are clipped."""
        reward = self.reward(states, actions, states)
        push = actions.clamp(-self.torque, self.torque)
        q, w, target = torch.split(check_width("Reacher.step states", states, 6), 2, -1)
        h = self.dt / self.substeps
        for _ in range(self.substeps):
            w = w + h * self.acceleration(q, w, push)
            q = q + h * w
        return torch.cat((q, w, target), -1), reward, torch.ones_like(reward)

    def acceleration(self, q: Tensor, w: Tensor, push: Tensor) -> Tensor:
        """dw/dt [K, 2] of angles, speeds and torques [K, 2]: M^-1 (u - b w - C)."""
        inertia = self.mass * self.length**2
        cos, sin = torch.cos(q[:, 1]), torch.sin(q[:, 1])
        own, coupling = inertia / 3, inertia * cos / 2
        m11, m12, m22 = inertia * 5 / 3 + 2 * coupling, own + coupling, torch.full_like(coupling, own)
        h = inertia * sin / 2
        coriolis = torch.stack((-h * (2 * w[:, 0] + w[:, 1]) * w[:, 1], h * w[:, 0].square()), -1)
        force = push - self.damping * w - coriolis
        first, second = force.unbind(-1)
        determinant = m11 * m22 - m12.square()
        return torch.stack((m22 * first - m12 * second, m11 * second - m12 * first), -1) / determinant[:, None]

    def tip(self, q: Tensor) -> Tensor:
        """[K, 2] position of the tip in m."""
        both = q[:, 0] + q[:, 1]
        x = torch.cos(q[:, 0]) + torch.cos(both)
        return self.length * torch.stack((x, torch.sin(q[:, 0]) + torch.sin(both)), -1)

    def reward(self, obs: Tensor, actions: Tensor, next_obs: Tensor) -> Tensor:
        """[K] reward of a step out of states or observations `obs`."""
        q, w, target = torch.split(self.to_states(obs), 2, -1)
        effort = actions.clamp(-self.torque, self.torque).square().sum(-1)
        return -((self.tip(q) - target).square().sum(-1) + 0.01 * w.square().sum(-1) + 0.001 * effort)

    def terminated(self, states: Tensor) -> Tensor:
        return torch.zeros(len(states), dtype=torch.bool, device=states.device)

    def observe(self, states: Tensor) -> Tensor:
        q, rest = torch.split(check_width("Reacher.observe", states, 6), [2, 4], -1)
        return torch.cat((torch.cos(q), torch.sin(q), rest), -1)

    def to_states(self, obs: Tensor) -> Tensor:
        if check_width("Reacher", obs, 6, 8).shape[1] == 6:
            return obs
        cos, sin, rest = torch.split(obs, [2, 2, 4], -1)
        return torch.cat((torch.atan2(sin, cos), rest), -1)

    def initial_state(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A state [6] at rest, with uniform angles and a target within reach."""
        bearing, distance = rng.uniform(-np.pi, np.pi), rng.uniform(0.3, 0.9) * 2 * self.length
        target = distance * np.array([np.cos(bearing), np.sin(bearing)])
        return np.concatenate((rng.uniform(-np.pi, np.pi, 2), np.zeros(2), target))
