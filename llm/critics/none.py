"""No critic: a finished solution is preferred to an open one, and nothing else is known."""

from __future__ import annotations

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.state import TextState
from .base import Judgement


class NoCritic:
    """1 for a finished solution, the neutral 1/2 for an open one; no calls."""

    name = "none"
    low, high = 0.0, 1.0

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """1 or 1/2, at no cost."""
        return Judgement(1.0 if state.ended == "answer" else 0.5)
