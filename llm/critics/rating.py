"""A rating from 1 to 10 as a critic: its expected value under the model's next-token probabilities.

Liu et al. 2023, "G-Eval: NLG Evaluation using GPT-4 with Better Human Alignment", section 2 (scoring function).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..engines.base import Tokens
from ..tape.cached_engine import CachedEngine
from ..text.encoding import encode_text
from ..text.formats import Format
from ..text.state import TextState
from .base import Judgement, token_probabilities

QUESTION = (
    "How good are the steps so far, whether or not the solution is finished? Rate them with a whole number from 1 "
    "(wrong or useless) to 10 (certainly right and useful). Reply with the number only.\nRating:"
)


@dataclass(frozen=True)
class RatingTokens:
    """The numbers 1 to 10 as one tokenizer encodes them.

    lead: text that the question ends in, before the number. ids: per number its single-token spellings; empty for 10
    where it has none. zero: the token that follows the 1 of a 10 that takes two tokens.
    """

    lead: str
    ids: tuple[Tokens, ...]
    zero: int

    @property
    def choices(self) -> Tokens:
        """All spellings of all numbers, in order."""
        return tuple(token for ids in self.ids for token in ids)

    def sum_spellings(self, probabilities: Sequence[float]) -> list[float]:
        """Per number the sum over its spellings; `probabilities` are those of `choices`."""
        remaining = iter(probabilities)
        return [sum(next(remaining) for _ in ids) for ids in self.ids]


@dataclass(frozen=True)
class Rating:
    """(E - 1) / 9 in [0, 1], where E is the expected rating over the numbers 1 to 10 as the next token.

    Where 10 is not one token, a second call scores a 0 after the 1; it is charged as the one token it adds.
    """

    question: str = QUESTION
    name = "rating"
    low, high = 0.0, 1.0

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """The expected rating, NaN where no number has any probability. Charged: the question's tokens."""
        numbers = rating_tokens(cached.engine.tokenizer)
        suffix = format.ask(self.question + numbers.lead, state.step)
        prompt = state.tokens + suffix
        calls = [token_probabilities(cached, prompt, numbers.choices)]
        if not numbers.ids[-1]:
            calls.append(token_probabilities(cached, (*prompt, numbers.ids[0][0]), (numbers.zero,)))
        found, flops = await asyncio.gather(*calls), cached.engine.flops
        weights = numbers.sum_spellings(found[0][0])
        if not numbers.ids[-1]:
            weights[-1] = weights[0] * found[1][0][0]
            weights[0] -= weights[-1]
        return Judgement(
            (_expected(weights) - 1) / (len(weights) - 1),
            tokens=len(suffix) + len(found) - 1,
            seconds=sum(score.seconds for _, score, _ in found),
            tokens_spent=sum(computed.computed for _, _, computed in found if computed),
            seconds_spent=sum(computed.seconds for _, _, computed in found if computed),
            flops=flops.of_tokens(len(state.tokens), len(suffix) + len(found) - 1),
            flops_spent=sum(flops.of_score(len(prompt) + i, computed) for i, (_, _, computed) in enumerate(found)),
        )


@lru_cache(maxsize=4)
def rating_tokens(tokenizer: Any) -> RatingTokens:
    """The tokens of the numbers 1 to 10; ValueError where two of them begin with the same token."""
    spellings = [(encode_text(tokenizer, str(n)), encode_text(tokenizer, f" {n}")) for n in range(1, 11)]
    single = [tuple(dict.fromkeys(ids[0] for ids in pair if len(ids) == 1)) for pair in spellings]
    digits = [ids or bare[-1:] for ids, (bare, _) in zip(single[:-1], spellings)]
    lead = "" if all(len(spaced) == 1 for _, spaced in spellings[:-1]) else " "
    numbers = RatingTokens(lead, (*digits, single[-1]), spellings[-1][0][-1])
    if not all(digits) or len(set(numbers.choices)) < len(numbers.choices):
        raise ValueError("the tokenizer does not tell the numbers 1 to 10 apart, as a rating needs")
    return numbers


def _expected(weights: Sequence[float]) -> float:
    """The mean number under these weights; NaN where all are 0."""
    mass = sum(weights)
    return sum(n * weight for n, weight in enumerate(weights, 1)) / mass if mass > 0 else math.nan
