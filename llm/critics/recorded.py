"""The value that an imported search's critic gave, read from the tape (`llm/importing/import_trees.py`)."""

from __future__ import annotations

from typing import Any

from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.state import TextState
from .base import Judgement, token_probabilities

VALUE_TOKEN = "<|value|>"
"""The token of an imported tape's tokenizer whose recorded probability is the value."""


class RecordedCritic:
    """The value recorded with the state, in [0, 1]; NaN where the log has none. ValueError on any other tape."""

    name = "recorded"
    low, high = 0.0, 1.0

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """The recorded value, at no cost."""
        tokenizer: Any = cached.engine.tokenizer
        token = tokenizer.get_vocab().get(VALUE_TOKEN)
        if token is None:
            raise ValueError("recorded values are on imported tapes only; this one was written by a model")
        probabilities, _, _ = await token_probabilities(cached, state.tokens, (token,))
        return Judgement(probabilities[0])
