"""What the critic of an imported search said, read off the tape (`llm/importing/import_trees.py`)."""

from __future__ import annotations

from typing import Any

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.steps import TextState
from .base import Judgement, chances

MARK = "<|value|>"
"""The token of an imported tape's tokenizer whose recorded chance is the value."""


class RecordedValue:
    """The value recorded with the state, in [0, 1]; NaN where the log has none. ValueError on any other tape."""

    name = "recorded"
    low, high = 0.0, 1.0

    async def score(self, taped: CachedEngine, format: Format, state: TextState) -> Judgement:
        tokenizer: Any = taped.engine.tokenizer
        mark = tokenizer.get_vocab().get(MARK)
        if mark is None:
            raise ValueError("recorded values are on imported tapes only; this one was written by a model")
        found, _, _ = await chances(taped, state.tokens, (mark,))
        return Judgement(found[0])
