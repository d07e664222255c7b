"""Uniformly random actions."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ..gym_spaces import from_gym


class RandomPolicy:
    """Uniform samples of an action space as planners know them (`gym_spaces.py`).

    Each is repeated for 1 .. 2 `action_repeat` - 1 steps, the number also uniform.

    With repeated torques a pendulum reaches speeds that independent ones average out. A repetition does not end with an
    episode.

    Errors: ValueError for an action_repeat below 1.
    """

    def __init__(self, space: gymnasium.Space[Any], seed: int = 0, *, action_repeat: int = 1) -> None:
        if action_repeat < 1:
            raise ValueError(f"a random action is repeated for at least 1 step, got {action_repeat}")
        self.space, self.action_repeat = space, action_repeat
        space.seed(seed)
        self._rng = np.random.default_rng(seed)
        self._remaining, self._action = 0, None

    def reset(self) -> None:
        """Nothing: no state belongs to an episode."""

    def __call__(self, obs: NDArray[Any]) -> Any:
        if self._remaining == 0:
            self._remaining = int(self._rng.integers(1, 2 * self.action_repeat))
            self._action = from_gym(self.space, self.space.sample())
        self._remaining -= 1
        return self._action


def random_policy(env: gymnasium.Env[Any, Any], seed: int = 0, *, action_repeat: int = 1) -> RandomPolicy:
    """`RandomPolicy` over the action space of `env`, each action repeated `action_repeat` steps on average.

    seed: of its random numbers. Errors: ValueError for an action_repeat below 1.
    """
    return RandomPolicy(env.action_space, seed, action_repeat=action_repeat)
