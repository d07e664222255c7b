"""No critic: an answer is better than none, and nothing more is known."""

from __future__ import annotations

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.steps import TextState
from .base import Judgement


class NoValue:
    """1 for a finished solution, the neutral 1/2 for an open one; no calls."""

    name = "none"
    low, high = 0.0, 1.0

    async def score(self, taped: CachedEngine, format: Format, state: TextState) -> Judgement:
        return Judgement(1.0 if state.ended == "answer" else 0.5)
