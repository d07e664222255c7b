"""Gymnasium environments as tasks: by gymnasium's id, by `module:Env-id`, or a class in a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, SupportsFloat

import gymnasium

from ...control import envs  # noqa: F401  registers this package's environments
from ..errors import BadInput
from ..plugins import described, is_reference, load_object, made, own_errors, short_name
from .base import EpisodeTask

DEFAULT_STEPS = 200
"""Steps of an episode of an environment in a file; a class attribute `max_episode_steps` sets another number."""

EPISODES = 10
"""Episodes where no limit is given."""


def environment_id(text: str, wrappers: Sequence[str] = ()) -> str:
    """Gymnasium's id of an environment, under which `gymnasium.make` finds it from now on.

    wrappers: applied in this order without further arguments, each a name of `gymnasium.wrappers`, `FILE.py:Name` or
    `module:Name`; with them the id is `CartPole-v1.FlattenObservation`.

    text: an id, `module:Env-id` (the module registers it when imported), or `FILE.py:Name`, which is a subclass of
    `gymnasium.Env` or a function that returns an environment, and is registered as `file/Name-v0`.

    Errors: BadInput where there is none, or where it does not start.
    """
    found = _plain_id(text)
    return _wrapped_id(found, wrappers) if wrappers else found


def _plain_id(text: str) -> str:
    if is_reference(text):
        return _registered(text)
    try:
        return gymnasium.spec(text).id if ":" not in text else _imported(text)
    except (gymnasium.error.Error, ImportError) as error:
        raise BadInput(f"no environment {text!r}: {' '.join(str(error).split())}") from error


def episode_task(text: str) -> EpisodeTask:
    """The episodes of an environment; see `environment_id`."""
    return EpisodeTask(_called(text), worst=None, episodes=EPISODES, env_id=environment_id(text))


def wrapped_task(task: EpisodeTask, wrappers: Sequence[str]) -> EpisodeTask:
    """The episodes of a task in its environment under wrappers, whose worst return is not known."""
    from ...control.tasks import task_named

    env_id = environment_id(task.env_id or task_named(task.name).env_id, wrappers)
    name = ".".join([task.name, *map(short_name, wrappers)])
    return replace(task, name=name, env_id=env_id, worst=None)


def _wrapped_id(base: str, wrappers: Sequence[str]) -> str:
    """Register an environment under wrappers; its name tells them, so that models of others are not mistaken for it."""
    makers = [_wrapper(text) for text in wrappers]
    env_id = ".".join([base, *(_identity(text) for text in wrappers)])

    def wrapped(**settings: Any) -> gymnasium.Env[Any, Any]:
        env = gymnasium.make(base, **settings)
        for text, maker in zip(wrappers, makers):
            with own_errors(f"--wrapper {text}"):
                env = maker(env)
            if not isinstance(env, gymnasium.Env):
                raise BadInput(f"--wrapper {text} makes {type(env).__name__}, and not a gymnasium.Env")
        return env

    gymnasium.registry.pop(env_id, None)  # a file may have changed since
    steps = gymnasium.spec(base).max_episode_steps
    gymnasium.register(env_id, entry_point=wrapped, max_episode_steps=steps)
    gymnasium.make(env_id).close()
    return env_id


def _identity(text: str) -> str:
    """A wrapper in the name of an environment: its own name, after that of its file or module."""
    return re.sub(r"[^\w.-]", "-", text.strip().replace("\\", "/").rpartition("/")[2].replace(".py:", "-"))


def _wrapper(text: str) -> Any:
    """The class or function that wraps an environment. Errors: BadInput where there is none."""
    if is_reference(text):
        maker = load_object(text)
    else:
        maker = vars(gymnasium.wrappers).get(text) if text in gymnasium.wrappers.__all__ else None
    if not callable(maker):
        raise BadInput(
            f"--wrapper {text}: no wrapper; it must be FILE.py:Name, module:Name or a name in gymnasium.wrappers, such "
            "as FlattenObservation"
        )
    return maker


def _called(text: str) -> str:
    return short_name(text) if is_reference(text) else text.rpartition(":")[2]


def _imported(text: str) -> str:
    """Import the module before the colon, which registers the environment after it."""
    gymnasium.make(text).close()
    return text.rpartition(":")[2]


def _registered(text: str) -> str:
    value = load_object(text)
    if isinstance(value, gymnasium.Env):
        raise BadInput(f"{text} is one environment, and each episode needs its own; name its class or a function")
    steps = getattr(value, "max_episode_steps", DEFAULT_STEPS)
    if not isinstance(steps, int) or steps < 1:
        raise BadInput(f"{text}: max_episode_steps must be an integer of at least 1, got {steps!r}")
    folder = re.sub(r"[^\w-]", "_", text.rpartition(":")[0].replace("\\", "/").rpartition("/")[2].removesuffix(".py"))
    env_id = f"{folder}/{short_name(text)}-v0"
    gymnasium.registry.pop(env_id, None)  # the file may have changed since
    gymnasium.register(env_id, entry_point=lambda **settings: _checked(made(value, text, **settings), text),
                       max_episode_steps=steps)  # fmt: skip
    try:
        gymnasium.make(env_id).close()
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{text} cannot be started as an environment: {described(error)}") from error
    return env_id


def _checked(env: Any, text: str) -> gymnasium.Env[Any, Any]:
    if not isinstance(env, gymnasium.Env):
        raise BadInput(f"{text} is no environment: it makes {type(env).__name__}, and not a gymnasium.Env")
    lacks = [name for name in ("observation_space", "action_space") if getattr(env, name, None) is None]
    if lacks:
        raise BadInput(f"{text} lacks {' and '.join(lacks)}")
    return OwnEnvironment(env, text)


class OwnEnvironment(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment of the user's, whose errors name its file and line."""

    def __init__(self, env: gymnasium.Env[Any, Any], text: str) -> None:
        super().__init__(env)
        self._text = text

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        with own_errors(self._text):
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        with own_errors(self._text):
            return self.env.step(action)
