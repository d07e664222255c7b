"""Small environments that are unlike Pendulum, each with an independent record of its steps."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

RECORD: list[tuple[Any, Any, Any]] = []
"""Observation before, action and observation after of every step, as copies that the environment itself made."""


class Walk(gymnasium.Env):
    """A point on a line that an action moves; an episode has 10 steps."""

    action_space = Box(-1.0, 1.0, (1,))
    observation_space = Box(-100.0, 100.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = np.array([0.0, 1.0], np.float32)
        return self.shown(first=True), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        before = self.position.copy()
        self.position = self.position + np.float32(0.25) * np.float32(self.push(action))
        RECORD.append((before, np.array(action), self.position.copy()))
        return self.shown(), self.paid(), False, False, {}

    def push(self, action):
        return float(np.asarray(action).ravel()[0])

    def paid(self):
        return -float(abs(self.position[0]))

    def shown(self, first=False):
        return self.position.copy()


class Buffer(Walk):
    def shown(self, first=False):
        if first:
            self.buffer = np.zeros(2, np.float32)
        self.buffer[:] = self.position
        return self.buffer


class IntegerReset(Walk):
    def shown(self, first=False):
        return self.position.astype(np.int64) if first else self.position.copy()


class Lists(Walk):
    def shown(self, first=False):
        return self.position.astype(int).tolist() if first else self.position.tolist()


class StartsAtOne(Walk):
    action_space = Discrete(3, start=1)

    def push(self, action):
        return float(action) - 2.0


class Whole(Walk):
    action_space = Box(-3, 3, (1,), np.int32)


class Square(Walk):
    action_space = Box(-1.0, 1.0, (2, 2))


class Several(Walk):
    action_space = MultiDiscrete([3, 2], start=[1, -1])

    def push(self, action):
        return float(action[0] - 2) * (2 + action[1])


class Named(Walk):
    observation_space = Dict(place=Box(-100, 100, (1,)), other=Box(-100, 100, (1,)))

    def shown(self, first=False):
        return {"place": self.position[:1].copy(), "other": self.position[1:].copy()}


class PaidInArrays(Walk):
    def paid(self):
        return np.array([super().paid()])


class PaidInWords(Walk):
    def paid(self):
        return "much"


class Scaled(gymnasium.ObservationWrapper):
    """CartPole's observations times 10, which its known termination would misjudge."""

    def observation(self, observation):
        return observation * np.float32(10)


ALL = (Buffer, IntegerReset, Lists, StartsAtOne, Whole, Square, Several, PaidInArrays)


def register():
    for kind in (*ALL, Walk, Named, PaidInWords):
        name = f"made/{kind.__name__}-v0"
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=kind, max_episode_steps=10, disable_env_checker=True)


register()
