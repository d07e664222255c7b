"""The true answer as a critic, for studies only: an upper bound on what better critics of answers could bring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.state import TextState
from .base import Judgement

ORACLE_NOTE = (
    "ORACLE: this run was told the true answers while it searched. Its figures are bounds for studies, no results."
)
"""Shown wherever figures of a run with the oracle are shown."""


@dataclass(frozen=True)
class Oracle:
    """1 for a finished solution that is right, 0 for one that is wrong, 1/2 for an open one, whatever its steps.

    is_right: (question, solution) to whether the solution's answer is right, by the task's own grading.
    """

    is_right: Callable[[str, str], bool]
    name = "oracle"
    low, high = 0.0, 1.0

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """1, 0 or 1/2, at no cost."""
        if not state.ended:
            return Judgement((self.low + self.high) / 2)
        return Judgement(float(self.is_right(state.question, cached.text(state.solution))))
