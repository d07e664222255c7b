"""What models with an exchangeable value function share."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...planning.interface import Kind, Offering, Valued
from ...planning.wrappers.terminal_value import ValueFn


class OptionalValue(Offering, Valued[Any]):
    """A model that offers `Valued` where it was given a value function.

    value: return still to come of its states (of an ensemble: of their observations); None means 0.
    """

    value: ValueFn | None

    def offer(self, kind: type[Kind]) -> Kind | None:
        return None if kind is Valued and self.value is None else super().offer(kind)

    def state_value(self, states: Any) -> Tensor:
        """See `Valued`. Errors: ValueError without a value function."""
        if self.value is None:
            raise ValueError(f"this {type(self).__name__} has no value function")
        return self.value(states)
