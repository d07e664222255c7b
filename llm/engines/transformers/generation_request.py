"""One request to the transformers engine and its progress through the scheduler."""

from __future__ import annotations

import asyncio
import time
from array import array
from dataclasses import dataclass, field
from typing import Any

from ..messages import Sampling, Tokens
from ..step_splitter import StepSplitter
from .block_manager import ROOT


@dataclass(slots=True, eq=False)
class GenerationRequest:
    """A continuation (with `sampling`) or a score (with `choices`), and how far it has been computed.

    future: receives the `Generation` or `Score`, or an error.
    row_id: row of the block table while the request runs, else -1.
    length, block: number of positions so far and the cache block of the last one.
    cached, computed: prompt tokens found in the cache, and positions that this request has to compute.
    splitter: splits the sampled tokens into steps. new_tokens: number of sampled tokens.
    """

    prompt: array[int]
    future: asyncio.Future[Any]
    sampling: Sampling | None = None
    stream: int = 0
    splitter: StepSplitter | None = None
    choices: Tokens = ()
    row_id: int = -1
    length: int = 0
    block: int = ROOT
    cached: int = 0
    computed: int = 0
    new_tokens: int = 0
    arrived: float = field(default_factory=time.perf_counter)

    def fail(self, error: Exception) -> None:
        """Answer with `error`, unless the caller has given up or its event loop is closed."""
        if not self.future.done() and not self.future.get_loop().is_closed():
            self.future.set_exception(error)
