"""Gymnasium's CartPole-v1 as batched torch dynamics.

The optimal control problem, from a state s0 = (x, v, theta, omega) with theta = 0 upright, over T = 500 steps of
dt = 0.02 s, is to stay within the bounds for as long as possible:

    maximise    sum_t  1[ s_0 .. s_t inside ]       inside: |x| <= 2.4 m and |theta| <= 12 degrees
    subject to  a     = (F_t + m_p l omega^2 sin theta) / (m_c + m_p)
                alpha = (g sin theta - a cos theta) / ( l (4/3 - m_p cos^2 theta / (m_c + m_p)) )
                acc   = a - m_p l alpha cos theta / (m_c + m_p)
                x += v dt,  v += acc dt,  theta += omega dt,  omega += alpha dt           (explicit Euler: old v, omega)
                F_t in {-10, 10} N, action 0 and 1

The step that leaves the bounds is rewarded too. Sources: gymnasium 1.4, `envs/classic_control/cartpole.py`; Florian
2007, "Correct equations for the dynamics of the cart-pole system", without friction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...planning.interface import DiscreteActions
from .base import check_constants, check_width


@dataclass(frozen=True)
class CartPole:
    """A cart that balances a pole. States [K, 4] = (x m, v m/s, theta rad, omega rad/s), actions indices [K] in {0, 1}.

    gravity in m/s^2, cart and pole in kg, length: half the pole's, in m, force in N, dt in s, max_x in m,
    max_theta in rad.
    """

    gravity: float = 9.8
    cart: float = 1.0
    pole: float = 0.1
    length: float = 0.5
    force: float = 10.0
    dt: float = 0.02
    max_x: float = 2.4
    max_theta: float = 12 * 2 * math.pi / 360

    def __post_init__(self) -> None:
        check_constants(self, zero=("gravity",))

    env_id = "CartPole-v1"
    state_dim = 4
    obs_dim = 4
    continuing = False

    @property
    def actions(self) -> DiscreteActions:
        return DiscreteActions(2)

    def step(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next states [K, 4], rewards [K] and discounts [K]; a state outside the bounds is terminal and absorbing."""
        over = self.terminated(check_width("CartPole.step states", states, 4))
        next_states = self.euler_step(states, self.force * (2 * actions.to(states.dtype) - 1))
        next_states = torch.where(over[:, None], states, next_states)
        return next_states, (~over).to(states.dtype), (~self.terminated(next_states)).to(states.dtype)

    def euler_step(self, states: Tensor, force: Tensor) -> Tensor:
        """Next states [K, 4] under forces [K] in N, without termination."""
        _, v, theta, omega = states.unbind(-1)
        cos, sin, total = torch.cos(theta), torch.sin(theta), self.cart + self.pole
        push = (force + self.pole * self.length * omega.square() * sin) / total
        inertia = self.length * (4.0 / 3.0 - self.pole * cos.square() / total)
        alpha = (self.gravity * sin - cos * push) / inertia
        acceleration = push - self.pole * self.length * alpha * cos / total
        rates = torch.stack((v, acceleration, omega, alpha), -1)
        return states + self.dt * rates

    def reward(self, obs: Tensor, actions: Tensor, next_obs: Tensor) -> Tensor:
        """[K] reward of a step out of `obs`: 1 unless `obs` is terminal."""
        return (~self.terminated(obs)).to(obs.dtype)

    def terminated(self, states: Tensor) -> Tensor:
        """bool [K]; a NaN in a bounded coordinate counts as outside the bounds."""
        inside = (states[:, 0].abs() <= self.max_x) & (states[:, 2].abs() <= self.max_theta)
        return ~inside

    def observe(self, states: Tensor) -> Tensor:
        return check_width("CartPole.observe", states, 4)

    def from_observation(self, obs: Tensor) -> Tensor:
        return check_width("CartPole.from_observation", obs, 4)

    def to_states(self, obs: Tensor) -> Tensor:
        return check_width("CartPole", obs, 4)

    def state_of(self, env: Any) -> Tensor:
        """Physical state [4], float64, of a running CartPole-v1 environment."""
        return torch.as_tensor(np.array(env.unwrapped.state, dtype=np.float64))
