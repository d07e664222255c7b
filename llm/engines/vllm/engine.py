"""The vLLM engine, in this process's control: many requests in flight, prefixes cached, on a GPU or vLLM's CPU build.

One request per continuation: siblings asked for together find each other's prompt in the cache. vLLM ends a step at
the ids whose text holds the delimiter; where the steps end is decided here all the same, by the rule of all engines.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from ..base import EngineCounters, Generation, Sampling, Score, Tokens, check_sampling, checked_prompt
from ..flops import work_of_folder
from ..stops import Delimiters, StepEnds
from ..weights import downloaded, fingerprint_of
from .outputs import Scored, Written, eos_ids
from .thread import Home, checked_device

BEHIND = 8
"""Tokens vLLM writes between two looks at a solution of several steps: what it writes too much is thrown away."""

MOST_CHOICES = 128
"""Next tokens vLLM scores in one request (`MAX_LOGPROB_TOKEN_IDS` of its `sampling_params.py`)."""


class VllmEngine:
    """Continues and scores token sequences with vLLM; see `base.Engine`.

    model: a folder or a hub id. device: "cpu" stands for whatever vLLM is built for; any other must be that.
    dtype: None is float32 on CPU, the stored one elsewhere. max_batch: rows in flight. options: of vLLM's
    `AsyncEngineArgs`, such as `tensor_parallel_size`, `gpu_memory_utilization`, `kv_cache_memory_bytes` (1 GiB on CPU)
    or `load_format="dummy"`.

    Noise is vLLM's own, one generator over whatever is in the batch: `stream` is not used, the same request drawn twice
    gives two texts, and what makes a run repeatable is its tape. Temperature is at most 2 and, unless 0, at least 0.01.
    With `top_p` below 1 log-probabilities are those within the nucleus. A score is read off a token that vLLM writes,
    which takes a place: `context` is one less than the model's.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "cpu",
        dtype: str | None = None,
        max_batch: int = 256,
        **options: Any,
    ) -> None:
        """Starts vLLM, which takes half a minute. ImportError without vLLM, ValueError for a model it cannot run."""
        built = checked_device(device)
        folder = downloaded(model, weights=options.get("load_format") != "dummy")
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        settings = {
            "model": str(folder), "dtype": dtype or ("float32" if built == "cpu" else "auto"), "max_logprobs": -1,
            "max_num_seqs": max_batch, "enable_prefix_caching": True, "logprobs_mode": "processed_logprobs",
            "disable_log_stats": True,
        }  # fmt: skip
        self.home = Home(**settings | options)
        config = self.home.llm.model_config
        self.context = int(config.max_model_len) - 1
        self.vocabulary = int(config.get_vocab_size())
        self.fingerprint = fingerprint_of(folder, self.tokenizer, f"vllm {config.dtype}")
        self.counters, self.work = EngineCounters(), work_of_folder(str(folder))
        self._eos = eos_ids(config, self.tokenizer)
        self._step_ends = Delimiters(self.tokenizer)
        self._stops: dict[StepEnds | None, list[int]] = {None: sorted(self._eos)}
        self._busy, self._since = 0, 0.0

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """Continue `prompt`. Errors: ValueError for a prompt that leaves no room, EngineDied."""
        prompt, begun = self._checked(prompt, 1), time.perf_counter()
        check_sampling(sampling)
        ends = self._step_ends(sampling.stop, sampling.ends) if sampling.stop else None
        wanted = self._wanted(sampling, ends, min(sampling.max_tokens, self.context - len(prompt)))
        written = Written(ends, sampling.max_steps, self._eos)
        cached = await self._run(prompt, wanted, written)
        computed = len(prompt) - cached + max(0, written.read - 1)
        self._count(cached, computed, sum(map(len, written.steps)))
        seconds = time.perf_counter() - begun
        return Generation(written.steps, written.logprobs, written.ended or "length", cached, computed, seconds)

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of single next tokens `choices` after `prompt`. Errors as in `generate`."""
        prompt, choices, begun = self._checked(prompt, 0), tuple(map(int, choices)), time.perf_counter()
        found: dict[int, float] = {}
        cached = computed = 0
        distinct = list(dict.fromkeys(choices))
        for start in range(0, len(distinct), MOST_CHOICES):
            few, scored = distinct[start : start + MOST_CHOICES], Scored()
            wanted = {"temperature": 0.0, "max_tokens": 1, "logprob_token_ids": few, "detokenize": False}
            hit = await self._run(prompt, wanted, scored)
            cached, computed = cached + hit, computed + len(prompt) - hit
            found |= {token: scored.logprobs[token] for token in few}
        self._count(cached, computed, 0)
        self.counters.scored += 1
        return Score(tuple(found[i] for i in choices), cached, computed, time.perf_counter() - begun)

    async def close(self) -> None:
        """End vLLM's processes; requests under way fail with RuntimeError, as later ones do."""
        await asyncio.to_thread(self.home.stop)

    async def _run(self, prompt: Sequence[int], wanted: dict[str, Any], reader: Any) -> int:
        """Let `reader` take what vLLM writes until it has enough; gives the prompt's tokens from the cache."""
        self._busy += 1
        if self._busy == 1:
            self._since = time.perf_counter()
        try:
            return await self.home.run(lambda: self._read(prompt, wanted, reader))
        finally:
            self._busy -= 1
            if not self._busy:
                self.counters.busy_seconds += time.perf_counter() - self._since

    async def _read(self, prompt: Sequence[int], wanted: dict[str, Any], reader: Any) -> int:
        from vllm import SamplingParams

        how, cached = SamplingParams(**wanted), 0
        # leaving the block early is what tells vLLM to give the request up
        async with aclosing(self.home.llm.generate({"prompt_token_ids": list(prompt)}, how, self.home.name())) as told:
            async for output in told:
                cached = output.num_cached_tokens or 0
                if reader.take(output.outputs[0]):
                    break
        return cached

    def _wanted(self, sampling: Sampling, ends: StepEnds | None, most: int) -> dict[str, Any]:
        """vLLM's sampling parameters. A request for one step ends at ids that hold the delimiter; one for several, or
        with a delimiter that may span tokens, is watched and given up: vLLM's own stop strings see the prompt's end."""
        from vllm.sampling_params import RequestOutputKind

        single = ends if sampling.max_steps == 1 else None
        if single not in self._stops and single is not None:
            self._stops[single] = sorted(single.ids | self._eos)
        watched = ends is not None and (single is None or single.spans)
        return {
            "temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": most, "logprobs": 0,
            "stop_token_ids": self._stops[single], "detokenize": False, "skip_clone": True,
            "output_kind": RequestOutputKind.DELTA if watched else RequestOutputKind.FINAL_ONLY,
            "stream_interval": BEHIND if watched and single is None else None,
        }  # fmt: skip

    def _checked(self, prompt: Sequence[int], new: int) -> Tokens:
        return checked_prompt(prompt, new, self.context, self.vocabulary)

    def _count(self, cached: int, computed: int, generated: int) -> None:
        self.counters.requests += 1
        self.counters.cached += cached
        self.counters.computed += computed
        self.counters.generated += generated
