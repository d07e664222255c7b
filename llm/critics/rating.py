"""A rating from 1 to 10, read off the model's logits: the expected value in place of one sampled number.

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
from ..text.formats import Format
from ..text.steps import TextState
from .base import Judgement, chances

QUESTION = (
    "How good are the steps so far, whether or not the solution is finished? Rate them with a whole number from 1 "
    "(wrong or useless) to 10 (certainly right and useful). Reply with the number only.\nRating:"
)


@dataclass(frozen=True)
class Numbers:
    """The numbers 1 to 10 as a tokenizer has them.

    lead: what the question ends in before them. ids: per number the tokens that spell it, of 10 only where it is one.
    zero: the token that makes 10 of 1 where it is two.
    """

    lead: str
    ids: tuple[Tokens, ...]
    zero: int

    @property
    def choices(self) -> Tokens:
        return tuple(token for ids in self.ids for token in ids)

    def sums(self, chances: Sequence[float]) -> list[float]:
        """Per number the sum over its spellings; `chances` are those of `choices`."""
        left = iter(chances)
        return [sum(next(left) for _ in ids) for ids in self.ids]


@dataclass(frozen=True)
class Rating:
    """(E - 1) / 9 in [0, 1], E being the expected rating over the numbers 1 to 10 as the next words.

    Where 10 is not one token, a second call asks for a 0 after the 1; it is charged as the one token it adds.
    """

    question: str = QUESTION
    name = "rating"
    low, high = 0.0, 1.0

    async def score(self, taped: CachedEngine, format: Format, state: TextState) -> Judgement:
        numbers = numbers_of(taped.engine.tokenizer)
        suffix = format.ask(self.question + numbers.lead, state.step)
        prompt = state.tokens + suffix
        asked = [chances(taped, prompt, numbers.choices)]
        if not numbers.ids[-1]:
            asked.append(chances(taped, (*prompt, numbers.ids[0][0]), (numbers.zero,)))
        found, flops = await asyncio.gather(*asked), taped.engine.flops
        weights = numbers.sums(found[0][0])
        if not numbers.ids[-1]:
            weights[-1] = weights[0] * found[1][0][0]
            weights[0] -= weights[-1]
        return Judgement(
            (_expected(weights) - 1) / (len(weights) - 1),
            tokens=len(suffix) + len(found) - 1,
            seconds=sum(score.seconds for _, score, _ in found),
            computed=sum(done.computed for _, _, done in found if done),
            busy=sum(done.seconds for _, _, done in found if done),
            flops=flops.of_tokens(len(state.tokens), len(suffix) + len(found) - 1),
            flops_spent=sum(flops.of_score(len(prompt) + i, done) for i, (_, _, done) in enumerate(found)),
        )


@lru_cache(maxsize=4)
def numbers_of(tokenizer: Any) -> Numbers:
    """How to ask this tokenizer's model for a number; ValueError where it cannot tell them apart."""

    def ids(text: str) -> Tokens:
        return tuple(tokenizer.encode(text, add_special_tokens=False))

    spelt = [(ids(str(n)), ids(f" {n}")) for n in range(1, 11)]
    single = [tuple(dict.fromkeys(one[0] for one in both if len(one) == 1)) for both in spelt]
    digits = [some or both[0][-1:] for some, both in zip(single[:-1], spelt)]
    lead = "" if all(len(spaced) == 1 for _, spaced in spelt[:-1]) else " "
    numbers = Numbers(lead, (*digits, single[-1]), spelt[-1][0][-1])
    if not all(digits) or len(set(numbers.choices)) < len(numbers.choices):
        raise ValueError("the tokenizer does not tell the numbers 1 to 10 apart, as a rating needs")
    return numbers


def _expected(weights: list[float]) -> float:
    """The mean number under these weights; NaN where they are nothing."""
    mass = sum(weights)
    return sum(n * weight for n, weight in enumerate(weights, 1)) / mass if mass > 0 else math.nan
