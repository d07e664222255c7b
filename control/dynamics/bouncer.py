"""A pushed mass that bounces: free flight has simple equations, contact with the floor is what a model must learn.

A point mass m moves in a vertical plane, pushed by a weak force, above a floor at z = 0. The floor is a spring with a
damper; it pushes, never pulls, and has friction:

    maximise    sum_t  -( x_t^2 + 0.1 vx_t^2 + (z_t - 1)^2 + 0.001 |u_t|^2 )               u_t in [-4, 4]^2 N
    subject to  m dvx/dt = u_x - mu N tanh(vx / 0.1 m/s)
                m dvz/dt = u_z - m g + N
                N        = max(0, -k z - c vz)  where z < 0, else 0

by semi-implicit Euler in 10 substeps of a step of dt = 0.05 s. The force is less than half the weight, so the mass
stays up only by bouncing and being pushed at the right moments. Spring and damper in compression: Marhefka and Orin
1999, "A compliant contact model with nonlinear damping for simulation of robotic systems", section II, in its linear
form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...planning.interface import BoxActions
from .base import check_constants, check_width


@dataclass(frozen=True)
class Bouncer:
    """States [K, 4] = (x m, z m, vx m/s, vz m/s), which are also the observations; actions [K, 2] in N.

    mass in kg, gravity in m/s^2, stiffness k in N/m, damping c in N s/m, friction mu (no unit), force: bound of each
    component in N, dt in s.
    """

    mass: float = 1.0
    gravity: float = 9.8
    stiffness: float = 400.0
    damping: float = 1.0
    friction: float = 0.5
    force: float = 4.0
    dt: float = 0.05

    def __post_init__(self) -> None:
        check_constants(self, zero=("gravity", "stiffness", "damping", "friction"))

    env_id = "forethought/Bouncer-v0"
    state_dim = 4
    obs_dim = 4
    continuing = True
    substeps = 10

    @property
    def actions(self) -> BoxActions:
        bound = torch.full((2,), self.force)
        return BoxActions(-bound, bound)

    def free(self) -> Bouncer:
        """The same mass without a floor: the equations of free flight."""
        return replace(self, stiffness=0.0, damping=0.0)

    def step(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next states [K, 4], rewards [K] and discounts [K], which are 1. Forces beyond the bounds are clipped."""
        reward = self.reward(states, actions, states)
        push = actions.clamp(-self.force, self.force)
        x, z, vx, vz = check_width("Bouncer.step states", states, 4).unbind(-1)
        h = self.dt / self.substeps
        for _ in range(self.substeps):
            normal = torch.where(z < 0, (-self.stiffness * z - self.damping * vz).clamp(min=0), 0.0)
            rub = self.friction * normal * torch.tanh(vx / 0.1)
            vx = vx + h * (push[:, 0] - rub) / self.mass
            vz = vz + h * ((push[:, 1] + normal) / self.mass - self.gravity)
            x, z = x + h * vx, z + h * vz
        return torch.stack((x, z, vx, vz), -1), reward, torch.ones_like(reward)

    def reward(self, obs: Tensor, actions: Tensor, next_obs: Tensor) -> Tensor:
        """[K] reward of a step out of `obs`; it does not depend on `next_obs`."""
        x, z, vx, _ = obs.unbind(-1)
        effort = actions.clamp(-self.force, self.force).square().sum(-1)
        return -(x.square() + 0.1 * vx.square() + (z - 1).square() + 0.001 * effort)

    def terminated(self, states: Tensor) -> Tensor:
        return torch.zeros(len(states), dtype=torch.bool, device=states.device)

    def observe(self, states: Tensor) -> Tensor:
        return check_width("Bouncer.observe", states, 4)

    def to_states(self, obs: Tensor) -> Tensor:
        return check_width("Bouncer", obs, 4)

    def initial_state(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A state [4] above the floor, beside the target, with a low speed."""
        return rng.uniform([-1.0, 0.5, -0.5, -0.5], [1.0, 2.0, 0.5, 0.5])
