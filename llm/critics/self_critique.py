"""Self-critique: the model's own probability that its solution is right.

Kadavath et al. 2022, "Language Models (Mostly) Know What They Know", section 3.1: P(True).
"""

from __future__ import annotations

import math

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.state import TextState
from .base import Judgement


class SelfCritique:
    """P(yes) / (P(yes) + P(no)) as the next token after the state and the format's critique prompt, in [0, 1].

    One call scores all spellings of both words. The prompt continues the state's own tokens, so with a prefix cache
    only the critique's tokens are computed.
    """

    name = "self"
    low, high = 0.0, 1.0

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """The probability; NaN where the model gives neither word any. Charged: the critique's tokens."""
        suffix = format.critique(state.step)
        before, new = len(state.tokens), len(suffix)
        score, computed = await cached.score(state.tokens + suffix, format.yes + format.no)
        probabilities = [*map(math.exp, score.logprobs)]
        yes, no = sum(probabilities[: len(format.yes)]), sum(probabilities[len(format.yes) :])
        value = yes / (yes + no) if yes + no > 0 else math.nan
        sizes = cached.engine.flops
        tokens_spent, seconds_spent = (computed.computed, computed.seconds) if computed else (0, 0.0)
        flops, flops_spent = sizes.of_tokens(before, new), sizes.of_score(before + new, computed)
        return Judgement(value, new, score.seconds, tokens_spent, seconds_spent, flops, flops_spent)
