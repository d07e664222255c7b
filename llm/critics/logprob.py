"""The model's mean token probability as a critic: it needs no call and is weak."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..engines.base import EngineGone
from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.state import TextState
from .base import Judgement


@dataclass(frozen=True)
class LogProb:
    """The geometric mean of the tokens' probabilities under the distribution they were sampled from, in [0, 1].

    whole: over the whole solution so far; False: over the last step only, which is a worse critic, since a last line
    is likely given the lines before it whether or not those are right.
    """

    whole: bool = True
    name = "logprob"
    low, high = 0.0, 1.0

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """The mean probability; `low` for a solution without tokens. EngineGone where the server gives none."""
        if not cached.engine.gives_logprobs:
            raise EngineGone("the server gives no log-probabilities; choose --value none or rollout")
        logprobs = state.logprobs if self.whole else (state.step_logprobs or ((),))[-1]
        return Judgement(math.exp(sum(logprobs) / len(logprobs)) if logprobs else self.low)
