"""The interface of policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from numpy.typing import NDArray


class Policy(Protocol):
    """Maps the observations of one environment, [O] each, to indices from 0 or vectors, as planners know actions."""

    def reset(self) -> None:
        """Forget what belongs to the last episode: the next observation begins a new one."""
        ...

    def __call__(self, obs: NDArray[Any]) -> Any:
        """The action for observation [O], as the environment takes it."""
        ...


class FunctionPolicy:
    """A function of the observation [O] to an action of the environment, as a policy without state."""

    def __init__(self, function: Callable[[NDArray[Any]], Any]) -> None:
        self.function = function

    def reset(self) -> None:
        """Nothing: the function keeps no state."""

    def __call__(self, obs: NDArray[Any]) -> Any:
        return self.function(obs)
