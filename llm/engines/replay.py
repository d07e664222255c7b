"""An engine without a model: everything is answered by the tape in front of it, and what is not there is counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .base import EngineCounters, Generation, Sampling, Score
from .flops import UNKNOWN


class ReplayEngine:
    """Stands behind a tape in the place of the model that wrote it, whose fingerprint, tokenizer and context it has.

    It is asked only for what is not on the tape. Such a continuation is a dead end (an empty step, cut off) and such a
    score NaN, so that a search goes on with what was recorded. lost: how many requests fell off the tape, by kind.
    runs: the settings of the runs that wrote the tape; work: the sizes of the model, by these. folder: whatever must
    live as long as the engine.
    """

    def __init__(self, tokenizer: Any, fingerprint: str, context: int) -> None:
        self.tokenizer, self.fingerprint, self.context = tokenizer, fingerprint, context
        self.counters = EngineCounters()
        self.lost = {"steps": 0, "scores": 0}
        self.runs: list[dict[str, Any]] = []
        self.folder: Any = None
        self.work = UNKNOWN

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        self.counters.requests += 1
        self.lost["steps"] += 1
        return Generation([], [], "length", cached=len(prompt))

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        self.counters.requests += 1
        self.lost["scores"] += 1
        return Score((math.nan,) * len(choices), cached=len(prompt))

    async def close(self) -> None:
        """There is nothing to close."""
