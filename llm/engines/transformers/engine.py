"""The default engine: any causal language model of the transformers library on one device, batched continuously.

A request goes to the scheduler (`scheduler.py`), which allocates cache blocks (`block_manager.py`), runs packed
positions through the model (`model_runner.py`) and samples tokens (`sampler.py`). All of it happens in the event loop
of the caller: one step of the scheduler, then the callers' turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..base import Engine, Generation, Sampling, Score, check_sampling
from ..flops import flops_of_model
from ..step_splitter import StepEndsCache, StepSplitter
from ..token_ids import prompt_ids
from .generation_request import GenerationRequest
from .loading import eos_ids, load_model, model_fingerprint
from .model_runner import ModelRunner
from .scheduler import Scheduler

LOOP_TURNS = 6
"""Turns of the event loop after each step, as many as a search needs from an answer to its next request."""


class TransformersEngine(Engine):
    """Generates and scores token sequences with a transformers model; see `Engine`.

    The event loop is blocked during a step, as long as one forward pass takes. Use it from one event loop at a time.
    """

    replicable = True

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
        load_format: str = "auto",
        trust_remote_code: bool = False,
    ) -> None:
        """Load or take over a model.

        model: a folder, a hub id, or a loaded causal model, whose attention is replaced and which needs `tokenizer`.
        device: "cpu", "cuda", "cuda:1", ... dtype: a torch type or its name; None means float32 on a CPU and the stored
        type elsewhere. max_batch: sequences that run at once. cache_tokens: positions in the key-value cache; None
        means as many as fit into `cache_bytes`, by default 1 GiB, on a GPU half of its free memory. load_format:
        "dummy" for random weights, so that the folder needs none; "auto" loads them. trust_remote_code: run code in the
        model's folder.

        Errors: ValueError for a folder that is no model, or a model whose attention cannot be paged.
        """
        if max_batch < 1 or (cache_tokens is not None and cache_tokens < 2):
            raise ValueError(f"max_batch is {max_batch} and cache_tokens {cache_tokens}; at least 1 and 2 are needed")
        if isinstance(model, (str, Path)):
            model, tokenizer = load_model(model, device, dtype, trust_remote_code, dummy=load_format == "dummy")
        elif tokenizer is None:
            raise ValueError("a loaded model needs its tokenizer")
        self.tokenizer = tokenizer
        self._model_runner = runner = ModelRunner(model)
        num_blocks = cache_tokens or max((cache_bytes or runner.cache_bytes()) // runner.bytes_per_token, 2)
        self.context = min(runner.context, num_blocks - 1)
        self.fingerprint = model_fingerprint(model, tokenizer)
        self._scheduler = Scheduler(runner, self.context, eos_ids(model, tokenizer), max_batch, num_blocks)
        self.counters = self._scheduler.counters
        self.flops = flops_of_model(model)
        self._step_ends = StepEndsCache(self.tokenizer)
        self._loop_task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def vocabulary(self) -> int:
        """Number of token ids for which the model has embeddings."""
        return self._model_runner.vocabulary

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """Continue `prompt`. Errors: ValueError for a prompt that leaves no room in the context."""
        check_sampling(sampling)
        splitter = StepSplitter(self._step_ends(sampling), sampling)
        generation: Generation = await self._submit(prompt, 1, sampling=sampling, stream=stream, splitter=splitter)
        return generation

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of single next tokens `choices` after `prompt`."""
        score: Score = await self._submit(prompt, 0, choices=tuple(map(int, choices)))
        return score

    async def clear_cache(self) -> None:
        """Empty the prefix cache. Errors: RuntimeError while requests are running."""
        if self._scheduler.busy:
            raise RuntimeError("the prefix cache cannot be emptied while requests are running")
        self._scheduler.clear_cache()

    async def close(self) -> None:
        """Stop; running and later requests fail with RuntimeError."""
        self._closed = True
        if self._loop_task is not None and not self._loop_task.done():
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        self._scheduler.fail_all(RuntimeError("the engine was closed"))

    def _submit(self, prompt: Sequence[int], new: int, **wanted: Any) -> asyncio.Future[Any]:
        """Hand a request to the scheduler; returns the future of its answer."""
        ids = prompt_ids(prompt, new, self.context, self.vocabulary)
        if self._closed:
            raise RuntimeError("the engine was closed")
        loop = asyncio.get_running_loop()
        if self._loop_task is None or self._loop_task.done() or self._loop_task.get_loop() is not loop:
            self._scheduler.fail_all(RuntimeError("the event loop of this request is gone"))
            self._loop_task = loop.create_task(self._run())
        request = GenerationRequest(ids, loop.create_future(), **wanted)
        self.counters.requests += 1
        self._scheduler.waiting.append(request)
        return request.future

    async def _run(self) -> None:
        await asyncio.sleep(0)
        while self._scheduler.busy:
            with torch.inference_mode():
                self._scheduler.step()
            for _ in range(LOOP_TURNS):
                await asyncio.sleep(0)
