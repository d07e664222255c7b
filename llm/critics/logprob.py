"""How sure the model was of its own words: no extra call, and a weak critic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..engines.base import EngineGone
from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.steps import TextState
from .base import Judgement


@dataclass(frozen=True)
class LogProb:
    """The geometric mean of the tokens' probabilities, as the engine sampled them, in [0, 1].

    whole: over the solution so far (its last line alone is always sure of itself); False: over the last step.
    """

    whole: bool = True
    name = "logprob"
    low, high = 0.0, 1.0

    async def score(self, taped: CachedEngine, format: Format, state: TextState) -> Judgement:
        if not taped.engine.gives_logprobs:
            raise EngineGone("the server gives no log-probabilities; choose --value none or rollout")
        logprobs = state.logprobs if self.whole else (state.step_logprobs or ((),))[-1]
        return Judgement(math.exp(sum(logprobs) / len(logprobs)) if logprobs else self.low)
