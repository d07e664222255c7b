"""Steps of a real gymnasium environment under a policy, gathered as `Transitions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch

from .transitions import Transitions

Policy = Callable[[np.ndarray], Any]
"""Observation [O] -> action, as the environment takes it. A `reset` (`MPCPolicy` has one) is called between episodes."""


def random_policy(env: Any, seed: int = 0, *, hold: int = 1) -> Policy:
    """Actions drawn evenly from the environment's space, each held for 1 .. 2 hold - 1 steps (`hold` on average).

    Held torques reach speeds that independent ones average away.
    """
    if hold < 1:
        raise ValueError(f"a random action is held for at least 1 step, got {hold}")
    space = env.action_space
    space.seed(seed)
    draw = np.random.default_rng(seed)
    left, action = 0, None

    def act(observation: np.ndarray) -> Any:
        nonlocal left, action
        if left == 0:
            left, action = int(draw.integers(1, 2 * hold)), space.sample()
        left -= 1
        return action

    return act


def collect(
    env: Any, steps: int, *, policy: Policy | None = None, seed: int = 0, hold: int = 1, fresh: int | None = None
) -> Transitions:
    """`steps` real steps of `env` (an environment, or its gymnasium id), resetting whenever an episode ends.

    policy: None means `random_policy(env, seed, hold=hold)`. seed: of the first reset and the random policy.
    fresh: reset also after so many steps of an episode, to see more beginnings.
    """
    if steps < 1:
        raise ValueError(f"collect wants at least 1 step, got {steps}")
    env = gymnasium.make(env) if isinstance(env, str) else env
    act = policy or random_policy(env, seed, hold=hold)
    rows: list[tuple[Any, ...]] = []
    observation, _ = env.reset(seed=seed)
    age = 0
    while len(rows) < steps:
        action = act(observation)
        reached, reward, ended, cut, _ = env.step(action)
        rows.append((observation, action, reward, reached, ended))
        observation, age = reached, age + 1
        if ended or cut or age == fresh:
            (observation, _), age = env.reset(), 0
            getattr(act, "reset", lambda: None)()
    return tensors(rows)


def tensors(rows: list[tuple[Any, ...]]) -> Transitions:
    """Steps (seen, action, reward, reached, ended) as `Transitions`. Errors: ValueError where one is not finite."""
    seen, actions, rewards, reached, ended = (np.array(column) for column in zip(*rows))
    discrete = np.issubdtype(actions.dtype, np.integer)
    return Transitions(
        torch.from_numpy(seen).float(),
        torch.from_numpy(actions).long() if discrete else torch.from_numpy(actions).float(),
        torch.from_numpy(rewards).float(),
        torch.from_numpy(reached).float(),
        torch.from_numpy(ended).bool(),
    )
