"""What passes between planners and gymnasium environments: observations, rewards and actions, checked and copied.

Planners know two kinds of actions, indices from 0 and float vectors; environments know more. An index is `start` plus
itself for `Discrete`, and counts the combinations of `MultiDiscrete`, whose last component changes fastest; a vector is
flat, clipped to the bounds of a `Box`, and rounded for one of integers.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from numpy.typing import NDArray

MOST_COMBINATIONS = 4096
"""The most combinations of a `MultiDiscrete` that are planned over as one list of actions."""


def refuse_vector(env: object) -> None:
    """Errors: ValueError for several environments in one, which return arrays of rewards."""
    if isinstance(env, gymnasium.vector.VectorEnv):
        raise ValueError(
            f"{type(env).__name__} is a vector environment and a single one is needed: use gymnasium.make, not "
            "gymnasium.make_vec; BatchedEnv steps several"
        )


def action_total(space: gymnasium.Space[Any]) -> int | None:
    """How many discrete actions there are; None for a space that is not discrete.

    Errors: ValueError for more than `MOST_COMBINATIONS`.
    """
    if isinstance(space, Discrete):
        return int(space.n)
    if not isinstance(space, MultiDiscrete):
        return None
    total = int(np.prod(space.nvec.astype(float)))
    if total > MOST_COMBINATIONS:
        raise ValueError(f"{space} has {total:,} combinations of actions, at most {MOST_COMBINATIONS:,} can be planned")
    return total


def to_gym(space: gymnasium.Space[Any], action: Any) -> Any:
    """A planner's action, an index or a vector, as an element of the environment's action space.

    Errors: ValueError for one of another shape or outside the space.
    """
    if isinstance(space, Discrete):
        taken: Any = space.dtype.type(int(action) + int(space.start))
    elif isinstance(space, MultiDiscrete):
        parts = np.unravel_index(int(action), tuple(space.nvec.ravel()))
        taken = (np.array(parts).reshape(space.shape) + space.start).astype(space.dtype)
    elif isinstance(space, Box):
        vector = np.asarray(action, np.float64)
        if vector.size != np.prod(space.shape, dtype=int):
            raise ValueError(f"{action!r} is no action of {space}: it has {vector.size} numbers")
        vector = vector.reshape(space.shape)
        whole = np.rint(vector) if np.issubdtype(space.dtype, np.integer) else vector
        taken = np.clip(whole, space.low, space.high).astype(space.dtype)
    else:
        taken = action
    if not space.contains(taken):
        raise ValueError(f"{action!r} is no action of {space}")
    return taken


def from_gym(space: gymnasium.Space[Any], action: Any) -> Any:
    """An element of the environment's action space as planners know it: an int, or a float vector."""
    if isinstance(space, Discrete):
        return int(action) - int(space.start)
    if isinstance(space, MultiDiscrete):
        parts = (np.asarray(action) - space.start).ravel()
        return int(np.ravel_multi_index(tuple(parts), tuple(space.nvec.ravel())))
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.integer):
        return np.array(action, np.float32).ravel()
    return np.array(action).ravel() if isinstance(space, Box) else action


def observed(env: gymnasium.Env[Any, Any], obs: Any) -> NDArray[Any]:
    """A copy of an observation, float32 or float64, which the environment cannot change afterwards.

    Errors: ValueError for one that is no array of numbers, or of another shape than the observation space.
    """
    space = env.observation_space
    if isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple | Discrete):
        raise ValueError(f"flat observations are needed, this environment has {space}; wrap it in FlattenObservation")
    try:
        numbers = np.array(obs)
        wide = numbers.astype(np.result_type(numbers.dtype, space.dtype or np.float32, np.float32))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the environment's observation {str(obs)[:80]} is no array of numbers: {error}") from error
    if space.shape is not None and wide.shape != space.shape:
        raise ValueError(f"the environment's observation has shape {wide.shape}, its space {space.shape}")
    return wide


def paid(reward: Any) -> float:
    """A reward as a number, also where it is an array of one. Errors: ValueError where it is no number."""
    try:
        numbers = np.asarray(reward, np.float64)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.size != 1 or isinstance(reward, str | bytes) or reward is None:
        raise ValueError(f"the environment's reward must be one number, got {str(reward)[:80]!r}")
    return float(numbers.reshape(()))
