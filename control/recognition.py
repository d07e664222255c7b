"""Whether an environment is one whose equations are known, and what an environment is called.

The id alone does not tell: a wrapper may change observations or rewards, `gymnasium.make` takes other constants, and an
id can be registered anew. So the class is compared, its constants, and that all wrappers are neutral.
"""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv, PendulumEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from .dynamics import KNOWN, CartPole, Dynamics, Pendulum
from .envs import DynamicsEnv

NEUTRAL = (TimeLimit, OrderEnforcing, PassiveEnvChecker)
"""Wrappers that change neither observations, actions, rewards nor termination."""

CLASSES: dict[str, type[gymnasium.Env[Any, Any]]] = {Pendulum.env_id: PendulumEnv, CartPole.env_id: CartPoleEnv}
"""The classes of known environments; all others are `DynamicsEnv`."""


def known_dynamics(env: gymnasium.Env[Any, Any] | str) -> Dynamics | None:
    """The equations of an environment or its id; None where they are unknown or something changes them."""
    name = env if isinstance(env, str) else _id(env)
    if name not in KNOWN:
        return None
    made = gymnasium.make(env) if isinstance(env, str) else env
    bare = made.unwrapped
    if type(bare) is not CLASSES.get(name, DynamicsEnv) or _changing(made):
        return None
    if isinstance(bare, DynamicsEnv):
        return KNOWN[name] if bare.dynamics == KNOWN[name] else None
    same = _constants(type(bare)()).items() <= _constants(bare).items()
    return KNOWN[name] if same else None


def environment_name(env: gymnasium.Env[Any, Any] | str) -> str:
    """The id of an environment, with what was changed of it: `CartPole-v1.TransformObservation`, `Pendulum-v1(g=5)`.

    An id that is given as a text, or has other settings than gymnasium knows it by, names what is registered.

    Errors: ValueError for an environment without an id.
    """
    name = env if isinstance(env, str) else _id(env)
    changes = [] if isinstance(env, str) else _changing(env)
    if not isinstance(env, str) and env.spec is not None and name in gymnasium.registry:
        ours, usual = env.spec.kwargs, gymnasium.spec(name).kwargs
        other = {k: v for k, v in ours.items() if k != "render_mode" and (k not in usual or usual[k] != v)}
        settings = ", ".join(f"{key}={value!r}" for key, value in sorted(other.items()))
        name += f"({settings})" if settings else ""
    full = ".".join([name, *changes])
    return f"{full}(changed)" if full in KNOWN and known_dynamics(env) is None else full


def _id(env: gymnasium.Env[Any, Any]) -> str:
    if env.spec is None:
        raise ValueError(f"{type(env).__name__} has no id: register it with gymnasium and make it with gymnasium.make")
    return env.spec.id


def _changing(env: gymnasium.Env[Any, Any]) -> list[str]:
    """The names of the wrappers that may change something, the innermost first."""
    names = []
    while isinstance(env, gymnasium.Wrapper):
        if type(env) not in NEUTRAL:
            names.append(type(env).__name__)
        env = env.env
    return names[::-1]


def _constants(env: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(env).items() if isinstance(value, bool | int | float | str)}
