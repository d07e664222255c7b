"""Self-critique: the model is asked whether its solution is right, and its own logits answer.

Kadavath et al. 2022, "Language Models (Mostly) Know What They Know", section 3.1: P(True).
"""

from __future__ import annotations

import math

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.steps import TextState
from .base import Judgement


class SelfCritique:
    """P(yes) / (P(yes) + P(no)) as the next token after the state and the format's critique prompt, in [0, 1].

    One call scores all spellings of both words. The prompt continues the state's own tokens, so that a prefix cache
    computes no more than the critique.
    """

    name = "self"
    low, high = 0.0, 1.0

    async def score(self, taped: CachedEngine, format: Format, state: TextState) -> Judgement:
        suffix = format.critique(state.step)
        before, new = len(state.tokens), len(suffix)
        score, done = await taped.score(state.tokens + suffix, format.yes + format.no)
        chances = [*map(math.exp, score.logprobs)]
        yes, no = sum(chances[: len(format.yes)]), sum(chances[len(format.yes) :])
        value = yes / (yes + no) if yes + no > 0 else math.nan
        sizes = taped.engine.flops
        computed, busy = (done.computed, done.seconds) if done else (0, 0.0)
        flops, flops_spent = sizes.of_tokens(before, new), sizes.of_score(before + new, done)
        return Judgement(value, new, score.seconds, computed, busy, flops, flops_spent)
