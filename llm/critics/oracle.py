"""The truth as a critic, for studies only: what a search could do with a critic that is never wrong about answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.steps import TextState
from .base import Judgement

NOTE = "ORACLE: this run was told the true answers while it searched. Its figures are bounds for studies, no results."
"""Stands wherever figures of a run with the oracle are shown."""


@dataclass(frozen=True)
class Oracle:
    """1 for a finished solution that is right, 0 for one that is wrong, 1/2 for an open one, whatever it holds.

    right: whether a solution's text answers the question, by the task's own grade.
    """

    right: Callable[[str, str], bool]
    name = "oracle"
    low, high = 0.0, 1.0

    async def score(self, taped: CachedEngine, format: Format, state: TextState) -> Judgement:
        if not state.ended:
            return Judgement((self.low + self.high) / 2)
        return Judgement(float(self.right(state.question, taped.text(state.solution))))
