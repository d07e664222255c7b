"""The configuration of learned dynamics that fits the spaces of an environment."""

from __future__ import annotations

from typing import Any, TypeVar

import gymnasium

from ..gym_spaces import action_total, refuse_vector
from ..recognition import environment_name, known_dynamics
from .config import MLPConfig

Config = TypeVar("Config", bound=MLPConfig)


def config_for(
    env: gymnasium.Env[Any, Any] | str,
    kind: type[Config] = MLPConfig,  # type: ignore[assignment]
    **settings: Any,
) -> Config:
    """The configuration that fits the spaces of a gymnasium environment or its id.

    kind: `MLPConfig` or a subclass. settings: further fields of it. Termination is given where the environment is one
    of `dynamics.KNOWN` and nothing changes it (`recognition.py`), otherwise learned.

    Errors: ValueError for spaces other than a flat Box of observations and a Discrete, a MultiDiscrete or a finite
    Box of actions, and for a vector environment.
    """
    refuse_vector(env)
    name = environment_name(env)
    settings = {"termination": "given" if known_dynamics(env) is not None else "learned"} | settings
    made = gymnasium.make(env) if isinstance(env, str) else env
    observations, actions = made.observation_space, made.action_space
    if not isinstance(observations, gymnasium.spaces.Box) or len(observations.shape) != 1:
        raise ValueError(f"an MLP needs flat observations, {name} has {observations}; wrap it in FlattenObservation")
    count = action_total(actions)
    if count is not None:
        return kind(name, observations.shape[0], count, **settings)
    if isinstance(actions, gymnasium.spaces.Box):
        bounds = tuple(map(float, actions.low.ravel())), tuple(map(float, actions.high.ravel()))
        return kind(name, observations.shape[0], None, *bounds, **settings)
    raise ValueError(f"an MLP needs discrete actions or a Box of them, {name} has {actions}")
