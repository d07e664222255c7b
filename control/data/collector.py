"""Collects the steps of a gymnasium environment under a policy."""

from __future__ import annotations

from typing import Any

import gymnasium

from ...planning.settings_checks import check_integer
from ..gym_spaces import from_gym, observed, paid, refuse_vector, to_gym
from ..policies.base import Policy
from ..policies.random import random_policy
from .transitions import Row, Transitions, transitions_of


def collect(
    env: gymnasium.Env[Any, Any] | str,
    steps: int,
    *,
    policy: Policy | None = None,
    seed: int = 0,
    action_repeat: int = 1,
    reset_after: int | None = None,
) -> Transitions:
    """Take `steps` steps in `env`, an environment or its gymnasium id; it is reset whenever an episode ends.

    policy: None means `random_policy(env, seed, action_repeat=action_repeat)`. It is reset after every episode.
    seed: of the first reset and of the random policy.
    reset_after: also reset after this many steps of an episode, for more initial states; these steps are not marked as
        truncated by the environment.

    Errors: ValueError for less than one step, a vector environment, spaces that cannot be planned in, an
        action outside its space, and a number that is not finite.
    """
    check_integer("steps", steps, 1)
    refuse_vector(env)
    env = gymnasium.make(env) if isinstance(env, str) else env
    policy = policy or random_policy(env, seed, action_repeat=action_repeat)
    rows: list[Row] = []
    obs = observed(env, env.reset(seed=seed)[0])
    age = 0
    while len(rows) < steps:
        action = to_gym(env.action_space, policy(obs))
        taken = from_gym(env.action_space, action)  # before the step, in which the environment may change the array
        seen, reward, terminated, truncated, _ = env.step(action)
        next_obs = observed(env, seen)
        rows.append((obs, taken, paid(reward), next_obs, bool(terminated), bool(truncated)))
        obs, age = next_obs, age + 1
        if terminated or truncated or age == reset_after:
            obs, age = observed(env, env.reset()[0]), 0
            policy.reset()
    return transitions_of(rows)
