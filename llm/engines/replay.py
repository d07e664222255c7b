"""An engine without a model: a tape answers all recorded requests, and this engine counts the missing ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .base import Engine, EngineCounters, Generation, Sampling, Score


class ReplayEngine(Engine):
    """Takes the place of the model that recorded a tape, with its fingerprint, tokenizer and context.

    It receives only the requests that the tape cannot answer. It answers a generation with an empty step that was cut
    off, which is a dead end, and a score with NaN, so that a search continues within the recorded tree.

    missing: number of requests that were not on the tape, by kind ("steps", "scores").
    runs: settings of the runs that recorded the tape. folder: a temporary folder that must live as long as the engine.
    """

    def __init__(self, tokenizer: Any, fingerprint: str, context: int) -> None:
        self.tokenizer, self.fingerprint, self.context = tokenizer, fingerprint, context
        self.counters = EngineCounters()
        self.missing = {"steps": 0, "scores": 0}
        self.runs: list[dict[str, Any]] = []
        self.folder: object = None

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """Count a missing step and return a dead end."""
        self.counters.requests += 1
        self.missing["steps"] += 1
        return Generation([], [], "length", cached=len(prompt))

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Count a missing score and return NaN for every choice."""
        self.counters.requests += 1
        self.missing["scores"] += 1
        return Score((math.nan,) * len(choices), cached=len(prompt))
