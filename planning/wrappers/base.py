"""A model made of a model: passes everything on, and is changed in one method by whoever inherits from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..interface import ActionSpace, Evaluate, Expansion, Keys


class ModelWrapper:
    """The same model. It has no `step`, so that nothing is computed behind the back of a changed `expand`."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def actions(self) -> ActionSpace:
        space: ActionSpace = self.model.actions
        return space

    @property
    def cost(self) -> int:
        return int(self.model.cost)

    @property
    def particles(self) -> int:
        return int(getattr(self.model, "particles", 1))

    @property
    def constraint(self) -> Callable[[Any, Any], Any]:
        """The model's (`constraints.py`); AttributeError, so that none is seen, where it has none."""
        measure: Callable[[Any, Any], Any] = self.model.constraint
        return measure

    def repeat(self, states: Any, keys: Keys) -> Any:
        return self.model.repeat(states, keys)

    def start(self, problems: Any) -> tuple[Any, Expansion]:
        started: tuple[Any, Expansion] = self.model.start(problems)
        return started

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Any, Expansion]:
        reached: tuple[Any, Expansion] = self.model.expand(states, actions, to_end=to_end, evaluate=evaluate)
        return reached
