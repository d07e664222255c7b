"""What a critic owes the text model: a number for a partial or finished solution, and its price.

One value is one small file here; `value_named` finds it by name.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..engines.base import Score, Tokens
from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.steps import TextState


class Judgement(NamedTuple):
    """What a solution is worth and what that cost.

    value: on the critic's scale; NaN where it cannot say, such as where its question does not fit the context.
    tokens, seconds: as charged: tokens past the state's own, seconds as recorded on the tape.
    computed, busy: as spent: positions the engine computed just now and its seconds; 0 where the tape answered.
    flops, flops_spent: floating-point operations for these tokens, and for these positions.
    """

    value: float
    tokens: int = 0
    seconds: float = 0.0
    computed: int = 0
    busy: float = 0.0
    flops: float = 0.0
    flops_spent: float = 0.0


UNJUDGED = Judgement(0.0)
"""Of states that nobody asks about."""


class Value(Protocol):
    """A critic of solutions.

    low, high: the scale; a dead end is worth `low`, an unjudged root the middle.
    """

    name: str
    low: float
    high: float

    async def score(self, taped: CachedEngine, format: Format, state: TextState) -> Judgement:
        """Judge one state, open (`ended` is "") or finished ("answer"); dead ends are never asked about."""
        ...


class Comparison(ABC):
    """Optional for critics: judges siblings against each other; `score` of a single state is then a ValueError."""

    @abstractmethod
    async def compare(
        self, taped: CachedEngine, format: Format, parent: TextState, children: Sequence[TextState]
    ) -> list[Judgement]:
        """Judge the distinct living children of `parent`, at least one; the last judgement carries the cost."""


class ClosableCritic(ABC):
    """Optional for critics: holds an engine of its own, which has to be closed."""

    @abstractmethod
    async def close(self) -> None:
        """Close the critic's engine."""


async def chances(
    taped: CachedEngine, prompt: Tokens, choices: Sequence[int]
) -> tuple[tuple[float, ...], Score, Score | None]:
    """Probabilities of next tokens, NaN where the prompt is too long; the score recorded, and that made just now."""
    if len(prompt) > taped.engine.context:
        return (math.nan,) * len(choices), Score(()), None
    score, done = await taped.score(prompt, choices)
    return tuple(math.exp(logprob) for logprob in score.logprobs), score, done
