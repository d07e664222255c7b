"""What a critic owes the text model: a number for a partial or finished solution, and its price.

One value is one small file here; `value_named` finds it by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..formats import Format
from ..steps import TextState
from ..tape import Taped


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a solution is worth and what that cost.

    tokens, seconds: as charged: tokens past the state's own, seconds as recorded on the tape.
    computed, busy: as spent: positions the engine computed just now and its seconds; 0 where the tape answered.
    """

    value: float
    tokens: int = 0
    seconds: float = 0.0
    computed: int = 0
    busy: float = 0.0


class Value(Protocol):
    """A critic of solutions.

    low, high: the scale; a dead end is worth `low`, an unjudged root the middle.
    """

    name: str
    low: float
    high: float

    async def score(self, taped: Taped, format: Format, state: TextState) -> Judgement:
        """Judge one state, open (`ended` is "") or finished ("answer"); dead ends are never asked about."""
        ...
