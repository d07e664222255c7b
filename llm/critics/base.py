"""What a critic owes the text model: a number for a partial or finished solution, and its price.

One value is one small file here; `value_named` finds it by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..engines.base import Score, Tokens
from ..tape.tape import Taped
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

    low, high: the scale; a dead end is worth `low`, an unjudged root the middle. A critic with an engine of its own
    closes it in an `async def close(self)`.
    """

    name: str
    low: float
    high: float

    async def score(self, taped: Taped, format: Format, state: TextState) -> Judgement:
        """Judge one state, open (`ended` is "") or finished ("answer"); dead ends are never asked about."""
        ...


class Comparison(Value, Protocol):
    """A critic that judges siblings against each other, and whose `score` of a single state is a ValueError."""

    async def compare(
        self, taped: Taped, format: Format, parent: TextState, children: Sequence[TextState]
    ) -> list[Judgement]:
        """Judge the distinct living children of `parent`, at least one; the last judgement carries the cost."""
        ...


async def chances(
    taped: Taped, prompt: Tokens, choices: Sequence[int]
) -> tuple[tuple[float, ...], Score, Score | None]:
    """Probabilities of next tokens, NaN where the prompt is too long; the score recorded, and that made just now."""
    if len(prompt) > taped.engine.context:
        return (math.nan,) * len(choices), Score(()), None
    score, done = await taped.score(prompt, choices)
    return tuple(math.exp(logprob) for logprob in score.logprobs), score, done
