"""Our own dynamics as gymnasium environments, so that whatever learns from gymnasium learns from them too.

`forethought/Bouncer-v0`, `forethought/SwingUp-v0` and `forethought/Reacher-v0` exist once this package is imported.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch

from ..planning.interface import BoxActions
from .dynamics import Bouncer, Dynamics, Reacher, SwingUp

STEPS = {Bouncer.env_id: 100, SwingUp.env_id: 120, Reacher.env_id: 80}


class Startable(Dynamics, Protocol):
    """Dynamics that say where an episode begins."""

    def begin(self, draw: np.random.Generator) -> np.ndarray:
        """A physical state [size] to start from."""
        ...


class DynamicsEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One copy of `dynamics` with a Box of actions, stepped in float64; observations are float32 [O]."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, dynamics: Startable) -> None:
        self.dynamics, box = dynamics, dynamics.actions
        if not isinstance(box, BoxActions):
            raise ValueError(f"DynamicsEnv wants dynamics with a Box of actions, these have {box}")
        self.action_space = gymnasium.spaces.Box(box.low.numpy(), box.high.numpy())
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (dynamics.observed,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.state = torch.from_numpy(self.dynamics.begin(self.np_random))[None]
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        taken = torch.as_tensor(np.asarray(action, np.float64))[None]
        self.state, reward, alive = self.dynamics.step(self.state, taken)
        return self._seen(), float(reward), bool(alive == 0), False, {}

    def _seen(self) -> np.ndarray:
        return self.dynamics.observe(self.state)[0].numpy().astype(np.float32)


def register() -> None:
    """Make the environments known to gymnasium; once is enough, twice does no harm."""
    for dynamics in (Bouncer(), SwingUp(), Reacher()):
        if dynamics.env_id not in gymnasium.registry:
            gymnasium.register(
                dynamics.env_id,
                entry_point=partial(DynamicsEnv, dynamics),  # type: ignore[arg-type]
                max_episode_steps=STEPS[dynamics.env_id],
            )


register()
