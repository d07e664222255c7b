"""The critic protocol: a value for a partial or finished solution, and what it cost.

Each critic is one small file beside this one; `make_critic` builds one from its name.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..engines.base import Score, Tokens
from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.state import TextState


class Judgement(NamedTuple):
    """The value of one solution and its cost.

    value: on the critic's scale; NaN where there is none, for example because the critique does not fit the context.
    tokens, seconds, flops: as charged: the tokens after the state's own, seconds as recorded on the tape,
        floating-point operations of these tokens.
    tokens_spent, seconds_spent, flops_spent: what the engine did just now: positions computed, seconds, operations;
        0 where the tape answered.
    """

    value: float
    tokens: int = 0
    seconds: float = 0.0
    tokens_spent: int = 0
    seconds_spent: float = 0.0
    flops: float = 0.0
    flops_spent: float = 0.0


UNJUDGED = Judgement(0.0)
"""The judgement of a state whose value was not asked for."""


class Critic(Protocol):
    """Estimates the value of solutions.

    low, high: the scale. A dead end has the value `low`; a root, which holds no step to judge, the middle.
    """

    name: str
    low: float
    high: float

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """Judge one state, open (`ended` is "") or finished ("answer"); dead ends are never passed."""
        ...


class SiblingCritic(ABC):
    """Optional: a critic that judges siblings against each other; its `score` of a single state is a ValueError."""

    @abstractmethod
    async def compare(
        self, cached: CachedEngine, format: Format, parent: TextState, children: Sequence[TextState]
    ) -> list[Judgement]:
        """Judge the distinct children of `parent` that are no dead ends, at least one; the last carries the cost."""


class ClosableCritic(ABC):
    """Optional: a critic that owns an engine or contains a critic that does."""

    @abstractmethod
    async def close(self) -> None:
        """Release what the critic owns."""


class CompositeCritic(ABC):
    """Optional: a critic made of other critics."""

    @property
    @abstractmethod
    def parts(self) -> Sequence[tuple[float, Critic]]:
        """Weights that sum to 1, and critics."""


async def token_probabilities(
    cached: CachedEngine, prompt: Tokens, choices: Sequence[int]
) -> tuple[tuple[float, ...], Score, Score | None]:
    """Probabilities of the next tokens `choices`, NaN where the prompt is longer than the context.

    Returns them with the score as recorded, and the score that the engine computed just now or None.
    """
    if len(prompt) > cached.engine.context:
        return (math.nan,) * len(choices), Score(()), None
    score, computed = await cached.score(prompt, choices)
    return tuple(math.exp(logprob) for logprob in score.logprobs), score, computed
