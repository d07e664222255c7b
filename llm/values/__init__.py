"""What a partial solution is worth: one small file per critic, and `value_named` to choose one."""

from __future__ import annotations

from collections.abc import Callable

from .base import Judgement, Value
from .logprob import LogProb
from .none import NoValue
from .self_critique import SelfCritique

VALUES: dict[str, Callable[[], Value]] = {"self": SelfCritique, "logprob": LogProb, "none": NoValue}


def value_named(name: str) -> Value:
    """The critic of that name; ValueError that lists what exists."""
    if name not in VALUES:
        raise ValueError(f"no value {name!r}; there are {', '.join(VALUES)}")
    return VALUES[name]()


__all__ = ["VALUES", "Judgement", "LogProb", "NoValue", "SelfCritique", "Value", "value_named"]
