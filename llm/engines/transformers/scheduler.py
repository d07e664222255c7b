"""Continuous batching: sequences join and leave the batch between tokens and share one prefix cache.

A step of the scheduler starts waiting requests, runs all positions that are needed and not cached through the model as
one packed row, then samples the next token of every sequence. A token that another sequence has computed after the same
prefix is not computed again: the sequence continues from the stored hidden state. The scheduler knows no text, and no
event loop except through the futures of its requests.
"""

from __future__ import annotations

import time
from collections import deque

import numpy as np
import torch
from torch import Tensor

from ..messages import EngineCounters, Generation, Score
from ..token_ids import check_known
from .attention import AttentionMetadata
from .block_manager import ROOT, BlockManager
from .generation_request import GenerationRequest
from .model_runner import ModelRunner
from .paged_cache import PagedCache
from .sampler import sample_tokens, uniforms

MAX_POSITIONS = 4096
"""Positions scheduled in one forward pass before further requests have to wait."""


def _padding(count: int) -> int:
    """How many positions to add so that results on a CPU are bitwise independent of the rest of the batch.

    MKL sums in another order below 16 rows, and vectorised functions treat an odd tail separately (measured: AVX-512).
    """
    return max(16, -(-count // 4) * 4) - count


class Scheduler:
    """Waiting requests, running sequences and the prefix cache that they share.

    waiting, sequences: requests that have not started, and those that run.
    """

    def __init__(
        self, model_runner: ModelRunner, context: int, eos: frozenset[int], max_batch: int, num_blocks: int
    ) -> None:
        """context: the longest sequence. max_batch: sequences that run at once. num_blocks: more than `context`."""
        self.model_runner, self.context, self.eos = model_runner, context, eos
        self.block_manager, self.cache = BlockManager(num_blocks), PagedCache(model_runner.layers, num_blocks)
        self.counters = EngineCounters()
        self.waiting: deque[GenerationRequest] = deque()
        self.sequences: list[GenerationRequest] = []
        self._block_tables = np.zeros((max_batch, context), dtype=np.int32)
        self._free_row_ids = list(range(max_batch - 1, -1, -1))
        self._scheduled: dict[int, tuple[int, int, int]] = {}  # block to (token, position, row id)
        self._hidden = torch.empty(0)
        self._reserved = 0

    @property
    def busy(self) -> bool:
        """Whether any request is waiting or running."""
        return bool(self.waiting or self.sequences)

    @property
    def unfinished(self) -> int:
        """Requests that are waiting or running, and the blocks reserved for them; 0 once everything is released."""
        return len(self.sequences) + len(self.waiting) + self._reserved

    def clear_cache(self) -> None:
        """Free all blocks; no request may be running."""
        self.block_manager = BlockManager(self.block_manager.num_blocks)

    def step(self) -> None:
        """Start requests, run the model, sample. An error fails the running sequences and not the waiting requests."""
        start = time.perf_counter()
        try:
            self._start_waiting()
            self._sample_ready()
            if self._scheduled:
                self._run_model()
                self._sample_ready()
        except Exception as error:
            self.fail_running(error)
        self.counters.busy_seconds += time.perf_counter() - start

    def fail_running(self, error: Exception) -> None:
        """Answer every running sequence with `error` and free the blocks that were scheduled for them."""
        for request in list(self.sequences):
            self._release(request)
            request.fail(error)
        self.block_manager.free(list(self._scheduled))
        self._scheduled.clear()

    def fail_all(self, error: Exception) -> None:
        """Answer the waiting requests with `error` too."""
        self.fail_running(error)
        while self.waiting:
            self.waiting.popleft().fail(error)

    def _start_waiting(self) -> None:
        while self.waiting and self._free_row_ids and len(self._scheduled) < MAX_POSITIONS:
            request = self.waiting[0]
            if request.future.done():  # cancelled
                self.waiting.popleft()
                continue
            if self._reserved + self._max_blocks(request) >= self.block_manager.num_blocks:
                return
            self.waiting.popleft()
            self._start(request)

    def _max_blocks(self, request: GenerationRequest) -> int:
        """The most blocks that a request may come to need."""
        new = request.sampling.max_tokens if request.sampling else 0
        return min(len(request.prompt) + new, self.context)

    def _start(self, request: GenerationRequest) -> None:
        path = self.block_manager.match_prefix(request.prompt)
        uncached = request.prompt[len(path) :]
        try:
            check_known(uncached, self.model_runner.vocabulary)
        except ValueError as error:
            return request.fail(error)
        request.row_id = self._free_row_ids.pop()
        request.cached = request.length = len(path)
        request.block = path[-1] if path else ROOT
        self._block_tables[request.row_id, : len(path)] = path
        self._reserved += self._max_blocks(request)
        self.sequences.append(request)
        for token in uncached:
            self._append(request, token)
        self.counters.cached += request.cached

    def _append(self, request: GenerationRequest, token: int) -> None:
        """Make `token` the sequence's last position, and schedule its computation unless it is cached."""
        block = self.block_manager.find(request.block, token)
        if block is None:
            if not self.block_manager.num_free:
                self._evict()
            block = self.block_manager.allocate(request.block, token)
            self._scheduled[block] = (token, request.length, request.row_id)
            request.computed += 1
        self._block_tables[request.row_id, request.length] = block
        request.length += 1
        request.block = block

    def _evict(self) -> None:
        self.block_manager.clock += 1
        for request in self.sequences:
            self.block_manager.touch(self._block_tables[request.row_id, : request.length])
        self.block_manager.evict(max(1, self.block_manager.num_blocks // 8))

    def _release(self, request: GenerationRequest) -> None:
        self.block_manager.touch(self._block_tables[request.row_id, : request.length])
        self._free_row_ids.append(request.row_id)
        self._reserved -= self._max_blocks(request)
        self.sequences.remove(request)

    def _run_model(self) -> None:
        """Run all scheduled positions through the model and store their hidden states."""
        blocks = list(self._scheduled)
        padding = _padding(len(blocks)) if self.model_runner.pads else 0
        padded = [*self._scheduled.values(), *[(0, 0, self.sequences[0].row_id)] * padding]
        tokens, positions, row_ids = np.array(padded).T.copy()
        blocks += [ROOT] * padding
        device = self.model_runner.device
        self.cache.write_blocks = torch.tensor(blocks, device=device)
        metadata = AttentionMetadata(self._block_tables, row_ids, positions)
        ids, at = torch.from_numpy(tokens).to(device)[None], torch.from_numpy(positions).to(device)[None]
        hidden = self.model_runner.hidden(ids, at, self.cache, metadata)
        if not self._hidden.numel():
            self._hidden = hidden.new_empty((self.block_manager.num_blocks, hidden.shape[-1]))
        self._hidden.index_copy_(0, self.cache.write_blocks, hidden)
        self.counters.computed += len(self._scheduled)
        self._scheduled.clear()

    def _sample_ready(self) -> None:
        """Sample every sequence whose last position is computed, until all need the model or have finished."""
        while ready := [request for request in self.sequences if request.block not in self._scheduled]:
            alive = []
            for request in ready:
                if request.future.done():  # cancelled
                    self._release(request)
                else:
                    alive.append(request)
            if alive:
                self._sample(alive)

    def _sample(self, requests: list[GenerationRequest]) -> None:
        blocks = [request.block for request in requests]
        blocks += [ROOT] * (_padding(len(blocks)) if self.model_runner.pads else 0)
        index = torch.tensor(blocks, device=self.model_runner.device)
        logits = self.model_runner.logits(self._hidden[index])[: len(requests)]
        scored = [i for i, request in enumerate(requests) if request.sampling is None]
        if scored:
            self._finish_scores([requests[i] for i in scored], logits[scored])
        sampled = [i for i, request in enumerate(requests) if request.sampling is not None]
        if not sampled:
            return
        requests, logits = [requests[i] for i in sampled], logits[sampled] if scored else logits
        u = uniforms([request.stream for request in requests], [request.length for request in requests])
        settings = [request.sampling for request in requests if request.sampling]
        tokens, logprobs = sample_tokens(logits, [s.temperature for s in settings], [s.top_p for s in settings], u)
        for request, token, logprob in zip(requests, tokens, logprobs):
            self._accept(request, token, logprob)

    def _finish_scores(self, requests: list[GenerationRequest], logits: Tensor) -> None:
        log_probabilities = torch.log_softmax(logits, dim=-1)
        for request, row in zip(requests, log_probabilities):
            self._release(request)
            self.counters.scored += 1
            logprobs = tuple(row[list(request.choices)].tolist())
            seconds = time.perf_counter() - request.arrived
            request.future.set_result(Score(logprobs, request.cached, request.computed, seconds))

    def _accept(self, request: GenerationRequest, token: int, logprob: float) -> None:
        """Add a sampled token to its sequence, which then finishes or continues."""
        assert request.sampling is not None and request.splitter is not None
        if token in self.eos:
            return self._finish(request, "end")
        request.new_tokens += 1
        self.counters.generated += 1
        if request.splitter.append(token, logprob):
            return self._finish(request, request.splitter.ended)
        new = request.new_tokens
        if new == request.sampling.max_tokens or len(request.prompt) + new >= self.context:
            return self._finish(request, "length")
        self._append(request, token)

    def _finish(self, request: GenerationRequest, ended: str) -> None:
        split = request.splitter
        assert split is not None
        split.finish(ended)
        self._release(request)
        seconds = time.perf_counter() - request.arrived
        request.future.set_result(
            Generation(
                split.steps, split.logprobs, split.ended, request.cached, request.computed, seconds, split.dropped
            )
        )
