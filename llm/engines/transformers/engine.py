"""The default engine: any causal language model of the transformers library, on one device, batched token by token.

It runs its own decode loop (`batch.py`) over a transformers cache (`cache.py`) and a paged attention function
(`attention.py`). Everything happens in the event loop of the caller: a tick of the decode loop, then the callers' turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..base import EngineCounters, Generation, Sampling, Score, check_sampling, prompt_ids
from ..flops import work_of_model
from ..stops import Delimiters
from .batch import Decoder, Request
from .network import Network, eos_of, fingerprint, load

TURNS = 6
"""Turns of the event loop after each tick: as many as a search needs from an answer to its next request."""


class TransformersEngine:
    """Continues and scores token sequences with a transformers model; see `base.Engine`.

    model: a folder, a hub id, or a loaded causal model (then give its `tokenizer`; its attention is replaced).
    device: "cpu", "cuda", "cuda:1", ... dtype: torch type or its name; None: float32 on CPU, the stored one elsewhere.
    max_batch: rows in flight. cache_tokens: positions whose keys and values are kept; None: as many as
        `cache_bytes` hold, by default 1 GiB, on a GPU half of its free memory.
    Its event loop is blocked during a tick, as long as one forward. Use it from one event loop at a time.
    """

    def __init__(
        self,
        model: str | Path | Any,
        *,
        tokenizer: Any = None,
        device: str = "cpu",
        dtype: torch.dtype | str | None = None,
        max_batch: int = 64,
        cache_tokens: int | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        """Raises ValueError for a folder that is no model, or a model whose attention cannot be paged."""
        if max_batch < 1 or (cache_tokens is not None and cache_tokens < 2):
            raise ValueError(f"max_batch is {max_batch} and cache_tokens {cache_tokens}; at least 1 and 2 are needed")
        if isinstance(model, (str, Path)):
            model, tokenizer = load(model, device, dtype)
        elif tokenizer is None:
            raise ValueError("a loaded model needs its tokenizer")
        self.tokenizer = tokenizer
        self._network = Network(model)
        slots = cache_tokens or max((cache_bytes or self._network.spare_bytes()) // self._network.bytes_per_token, 2)
        self.context = min(self._network.context, slots - 1)
        self.fingerprint = fingerprint(model, tokenizer)
        self._decoder = Decoder(self._network, self.context, eos_of(model, tokenizer), max_batch, slots)
        self.work = work_of_model(model)
        self._step_ends = Delimiters(self.tokenizer)
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def vocabulary(self) -> int:
        """How many token ids the model has embeddings for."""
        return self._network.vocabulary

    @property
    def counters(self) -> EngineCounters:
        return self._decoder.counters

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """Continue `prompt`. Raises ValueError for a prompt that leaves no room in the context."""
        check_sampling(sampling)
        ends = self._step_ends(sampling.stop, sampling.ends) if sampling.stop else None
        done: Generation = await self._submit(prompt, 1, sampling=sampling, stream=stream, ends=ends)
        return done

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of single next tokens `choices` after `prompt`."""
        done: Score = await self._submit(prompt, 0, choices=tuple(map(int, choices)))
        return done

    async def close(self) -> None:
        """Stop; requests in flight fail with RuntimeError, as later ones do."""
        self._closed = True
        if self._pump is not None and not self._pump.done():
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        self._decoder.drop(RuntimeError("the engine was closed"))

    def _submit(self, prompt: Sequence[int], new: int, **wanted: Any) -> asyncio.Future[Any]:
        """What the decode loop answers to a request that it is given now."""
        ids = prompt_ids(prompt, new, self.context, self.vocabulary)
        if self._closed:
            raise RuntimeError("the engine was closed")
        loop = asyncio.get_running_loop()
        if self._pump is None or self._pump.done() or self._pump.get_loop() is not loop:
            self._decoder.drop(RuntimeError("the event loop of this request is gone"))
            self._pump = loop.create_task(self._run())
        request = Request(ids, loop.create_future(), **wanted)
        self._decoder.counters.requests += 1
        self._decoder.waiting.append(request)
        return request.done

    async def _run(self) -> None:
        await asyncio.sleep(0)
        while self._decoder.busy:
            with torch.inference_mode():
                self._decoder.tick()
            for _ in range(TURNS):
                await asyncio.sleep(0)
