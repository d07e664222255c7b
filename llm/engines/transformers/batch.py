"""The decode loop: rows that join and leave between tokens, over one tree of cached tokens.

A tick admits waiting requests, runs every position that is needed and not cached through the network as one packed
row, then samples the next token of every row. A token that some other row has computed after the same prefix is not
computed again: the row goes on from the stored hidden state. Knows neither asyncio nor text.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base import EngineCounters, Generation, Sampling, Score, Tokens, check_known, shared_ids
from ..stops import StepEnds
from .attention import Layout
from .cache import ROOT, PagedCache, TokenTree
from .network import Network
from .noise import draw, uniforms


def _filler(count: int) -> int:
    """Padding that makes results on CPU bitwise the same whatever else is in the batch.

    MKL sums in another order below 16 rows, and vectorised functions treat an odd tail apart (measured: AVX-512).
    """
    return max(16, -(-count // 4) * 4) - count


@dataclass(slots=True, eq=False)
class Request:
    """One continuation (`sampling`) or score (`choices`) and how far it has come. `done` is told when it is over."""

    prompt: array[int]
    done: Any
    sampling: Sampling | None = None
    stream: int = 0
    ends: StepEnds | None = None
    choices: Tokens = ()
    place: int = -1
    length: int = 0
    slot: int = ROOT
    cached: int = 0
    computed: int = 0
    steps: list[Tokens] = field(default_factory=list)
    logprobs: list[tuple[float, ...]] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    step_logprobs: list[float] = field(default_factory=list)
    new: int = 0
    since: float = field(default_factory=time.perf_counter)

    def close_step(self) -> None:
        if self.step:
            self.steps.append(tuple(self.step))
            self.logprobs.append(tuple(self.step_logprobs))
            self.step, self.step_logprobs = [], []


class Decoder:
    """Rows in flight, requests waiting, and the cached tree that they share."""

    def __init__(self, network: Network, context: int, eos: frozenset[int], max_batch: int, slots: int) -> None:
        """context: the longest sequence; max_batch: rows in flight; slots: positions kept, more than `context`."""
        self.network, self.context, self.eos = network, context, eos
        self.tree, self.cache = TokenTree(slots), PagedCache(network.layers, slots)
        self.counters = EngineCounters()
        self.waiting: deque[Request] = deque()
        self.rows: list[Request] = []
        self.max_positions = 4096
        self._tables = np.zeros((max_batch, context), dtype=np.int32)
        self._places = list(range(max_batch - 1, -1, -1))
        self._claimed: dict[int, tuple[int, int, int]] = {}
        self._hidden = torch.empty(0)
        self._reserved = 0

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.rows)

    def tick(self) -> None:
        """Admit, compute, sample. An exception fails the rows in flight and leaves the waiting ones."""
        start = time.perf_counter()
        try:
            self._admit()
            self._settle()
            if self._claimed:
                self._compute()
                self._settle()
        except Exception as error:
            self.fail(error)
        self.counters.busy_seconds += time.perf_counter() - start

    def fail(self, error: Exception) -> None:
        """Give `error` to every row in flight, and forget what was to be computed for them."""
        for row in list(self.rows):
            self._release(row)
            _refuse(row, error)
        self.tree.forget(list(self._claimed))
        self._claimed.clear()

    def drop(self, error: Exception) -> None:
        """Give `error` to the waiting requests too."""
        self.fail(error)
        while self.waiting:
            _refuse(self.waiting.popleft(), error)

    def _admit(self) -> None:
        while self.waiting and self._places and len(self._claimed) < self.max_positions:
            row = self.waiting[0]
            if row.done.done():
                self.waiting.popleft()
                continue
            if self._reserved + self._most(row) >= self.tree.size:
                return
            self.waiting.popleft()
            self._join(row)

    def _most(self, row: Request) -> int:
        """The positions a row may come to hold."""
        return min(len(row.prompt) + (row.sampling.max_tokens if row.sampling else 0), self.context)

    def _join(self, row: Request) -> None:
        path = self.tree.match(row.prompt)
        fresh = row.prompt[len(path) :]
        try:
            check_known(fresh, self.network.vocabulary)
        except ValueError as error:
            return _refuse(row, error)
        row.place = self._places.pop()
        row.cached = row.length = len(path)
        row.slot = path[-1] if path else ROOT
        self._tables[row.place, : len(path)] = path
        self._reserved += self._most(row)
        self.rows.append(row)
        for token in fresh:
            self._step_to(row, token)
        self.counters.cached += row.cached

    def _step_to(self, row: Request, token: int) -> None:
        """Make `token` the row's last position, to be computed unless the tree holds it."""
        slot = self.tree.find(row.slot, token)
        if slot is None:
            if not self.tree.room:
                self._make_room()
            slot = self.tree.add(row.slot, token)
            self._claimed[slot] = (token, row.length, row.place)
            row.computed += 1
        self._tables[row.place, row.length] = slot
        row.length += 1
        row.slot = slot

    def _make_room(self) -> None:
        self.tree.clock += 1
        for row in self.rows:
            self.tree.touch(self._tables[row.place, : row.length])
        self.tree.evict(max(1, self.tree.size // 8))

    def _release(self, row: Request) -> None:
        self.tree.touch(self._tables[row.place, : row.length])
        self._places.append(row.place)
        self._reserved -= self._most(row)
        self.rows.remove(row)

    def _compute(self) -> None:
        """Run all claimed positions through the network and keep their hidden states."""
        slots = list(self._claimed)
        filler = _filler(len(slots)) if self.network.pads else 0
        tokens, positions, places = np.array([*self._claimed.values(), *[(0, 0, self.rows[0].place)] * filler]).T.copy()
        slots += [ROOT] * filler
        device = self.network.device
        self.cache.targets = torch.tensor(slots, device=device)
        layout = Layout(self._tables, places, positions)
        hidden = self.network.hidden(
            torch.from_numpy(tokens).to(device)[None], torch.from_numpy(positions).to(device)[None], self.cache, layout
        )
        if not self._hidden.numel():
            self._hidden = hidden.new_empty((self.tree.size, hidden.shape[-1]))
        self._hidden.index_copy_(0, self.cache.targets, hidden)
        self.counters.computed += len(self._claimed)
        self._claimed.clear()

    def _settle(self) -> None:
        """Sample for every row whose last position is computed, until all of them need the network or are over."""
        while ready := [row for row in self.rows if row.slot not in self._claimed]:
            alive = []
            for row in ready:
                if row.done.done():  # cancelled
                    self._release(row)
                else:
                    alive.append(row)
            if alive:
                self._sample(alive)

    def _sample(self, rows: list[Request]) -> None:
        slots = [row.slot for row in rows]
        slots += [ROOT] * (_filler(len(slots)) if self.network.pads else 0)
        logits = self.network.logits(self._hidden[torch.tensor(slots, device=self.network.device)])[: len(rows)]
        scored = [i for i, row in enumerate(rows) if row.sampling is None]
        if scored:
            self._finish_scores([rows[i] for i in scored], logits[scored])
        drawn = [i for i, row in enumerate(rows) if row.sampling is not None]
        if not drawn:
            return
        rows, logits = [rows[i] for i in drawn], logits[drawn] if scored else logits
        u = uniforms([row.stream for row in rows], [row.length for row in rows])
        settings = [row.sampling for row in rows if row.sampling]
        tokens, logprobs = draw(logits, [s.temperature for s in settings], [s.top_p for s in settings], u)
        for row, token, logprob in zip(rows, shared_ids(tokens), logprobs):
            self._accept(row, token, logprob)

    def _finish_scores(self, rows: list[Request], logits: Tensor) -> None:
        logp = torch.log_softmax(logits, dim=-1)
        for row, each in zip(rows, logp):
            self._release(row)
            self.counters.scored += 1
            found = tuple(each[list(row.choices)].tolist())
            row.done.set_result(Score(found, row.cached, row.computed, time.perf_counter() - row.since))

    def _accept(self, row: Request, token: int, logprob: float) -> None:
        """Append a drawn token: the row is over or goes on to it."""
        assert row.sampling is not None
        if token in self.eos:
            return self._finish(row, "end")
        row.step.append(token)
        row.step_logprobs.append(logprob)
        row.new += 1
        self.counters.generated += 1
        if row.ends is not None and row.ends.finished(row.step):
            final = row.ends.final(row.step)
            row.close_step()
            if final:
                return self._finish(row, "end")
            if len(row.steps) == row.sampling.max_steps:
                return self._finish(row, "stop")
        if row.new == row.sampling.max_tokens or len(row.prompt) + row.new >= self.context:
            return self._finish(row, "length")
        self._step_to(row, token)

    def _finish(self, row: Request, ended: str) -> None:
        row.close_step()
        self._release(row)
        seconds = time.perf_counter() - row.since
        row.done.set_result(Generation(row.steps, row.logprobs, ended, row.cached, row.computed, seconds))


def _refuse(row: Request, error: Exception) -> None:
    if not row.done.done() and not row.done.get_loop().is_closed():
        row.done.set_exception(error)
