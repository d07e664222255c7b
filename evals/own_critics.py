"""Critics of one's own by file, alone or within a sum such as `0.5*self+0.5*FILE.py:Name`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from .errors import BadInput
from .plugins import is_reference, lacking, load_object, made, short_name

if TYPE_CHECKING:
    from ..llm.critics import Critic


def own_critics(value: str) -> tuple[str, dict[str, Critic]]:
    """The value with each `FILE.py:Name` replaced by `Name`, and the critics of these names. Errors: BadInput."""
    critics, parts = {}, []
    for part in value.split("+"):
        weight, star, text = part.rpartition("*")
        if is_reference(text):
            name = short_name(text)
            critics[name] = checked_critic(made(load_object(text), text), text.strip())
            part = weight + star + name
        parts.append(part)
    return "+".join(parts), critics


def checked_critic(value: Any, where: str) -> Critic:
    """The critic. where: what it is called in errors.

    Errors: BadInput that names what an object lacks: `name`, the scale `low` and `high`, and the coroutine `score`.
    """
    absent = lacking(
        value,
        {
            "name": lambda name: isinstance(name, str),
            "low": lambda low: isinstance(low, int | float),
            "high": lambda high: isinstance(high, int | float),
            "score": inspect.iscoroutinefunction,
        },
    )
    if absent:
        told = ", ".join("an async method score" if name == "score" else name for name in absent)
        raise BadInput(f"{where} is no critic: it lacks {told}, see forethought.llm.Critic")
    if not value.low < value.high:
        raise BadInput(f"{where}: the scale of a critic goes from low to high, got {value.low} and {value.high}")
    return cast("Critic", value)
