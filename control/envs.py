"""Gymnasium environments: this package's own dynamics as environments, and a batch of environments in lock step.

`forethought/Bouncer-v0`, `forethought/SwingUp-v0` and `forethought/Reacher-v0` are registered when this module is
imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from ..planning.interface import BoxActions
from .dynamics import Bouncer, Reacher, Startable, SwingUp
from .gym_spaces import from_gym, observed, paid, to_gym

TIME_LIMITS = {Bouncer.env_id: 100, SwingUp.env_id: 120, Reacher.env_id: 80}
"""Steps after which an episode of each of this package's environments is truncated."""

Array = NDArray[Any]


class DynamicsEnv(gymnasium.Env[Array, Array]):
    """One copy of `dynamics`, whose actions must be vectors, stepped in float64; observations are float32 [O]."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, dynamics: Startable) -> None:
        self.dynamics, box = dynamics, dynamics.actions
        if not isinstance(box, BoxActions):
            raise ValueError(f"DynamicsEnv needs dynamics with BoxActions, these have {box}")
        self.action_space = gymnasium.spaces.Box(box.low.numpy(), box.high.numpy())
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (dynamics.obs_dim,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = torch.from_numpy(self.dynamics.initial_state(self.np_random))[None]
        return self._observation(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        batch = torch.as_tensor(np.asarray(action, np.float64))[None]
        self.state, reward, discount = self.dynamics.step(self.state, batch)
        return self._observation(), float(reward), bool(discount == 0), False, {}

    def _observation(self) -> Array:
        return self.dynamics.observe(self.state)[0].numpy().astype(np.float32)


def register() -> None:
    """Register this package's environments with gymnasium; further calls have no effect."""
    for dynamics in (Bouncer(), SwingUp(), Reacher()):
        if dynamics.env_id not in gymnasium.registry:
            gymnasium.register(
                dynamics.env_id,
                entry_point=partial(DynamicsEnv, dynamics),
                max_episode_steps=TIME_LIMITS[dynamics.env_id],
            )


class BatchedStep(NamedTuple):
    """One step of E environments: reward float64 [E], terminated bool [E], truncated bool [E]."""

    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


class BatchedEnv:
    """E environments in lock step, one per seed, one episode each.

    obs: [E, O]; an environment whose episode is over keeps its last observation. alive: bool [E] whether its episode
    runs. returns: float64 [E] and lengths: int64 [E] so far.
    settings: keyword arguments of `gymnasium.make`.
    """

    def __init__(self, env_id: str, seeds: Sequence[int], **settings: Any) -> None:
        self.envs = [gymnasium.make(env_id, **settings) for _ in seeds]
        self._seen = [observed(env, env.reset(seed=int(seed))[0]) for env, seed in zip(self.envs, seeds)]
        self.alive = np.ones(len(seeds), np.bool_)
        self.returns = np.zeros(len(seeds))
        self.lengths = np.zeros(len(seeds), np.int64)

    @property
    def obs(self) -> Array:
        return np.stack(self._seen)

    def taken(self, actions: Sequence[Any]) -> list[Any]:
        """Actions as the environments take them, which round those of integer boxes, in the form of planners."""
        spaces = [env.action_space for env in self.envs]
        return [from_gym(space, to_gym(space, action)) for space, action in zip(spaces, actions)]

    def sample(self) -> list[Any]:
        """A uniformly random action for each environment."""
        return [from_gym(env.action_space, env.action_space.sample()) for env in self.envs]

    def step(self, actions: Sequence[Any]) -> BatchedStep:
        """Take one action in each environment, an index from 0 or a vector.

        Those whose episode is over ignore it and have reward 0.
        """
        count = len(self.envs)
        step = BatchedStep(np.zeros(count), np.zeros(count, np.bool_), np.zeros(count, np.bool_))
        for i in np.flatnonzero(self.alive).tolist():
            env = self.envs[i]
            obs, reward, step.terminated[i], step.truncated[i], _ = env.step(to_gym(env.action_space, actions[i]))
            self._seen[i], step.reward[i] = observed(env, obs), paid(reward)
            self.lengths[i] += 1
            self.alive[i] = not (step.terminated[i] or step.truncated[i])
        self.returns += step.reward
        return step

    def close(self) -> None:
        for env in self.envs:
            env.close()


register()
