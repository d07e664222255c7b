"""Recorded requests to an engine with their answers, and sending the same requests again without a search."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...llm.engines.base import Engine, EngineCounters, Generation, Sampling, Score, Tokens
from ...llm.engines.stops import decode
from ...llm.engines.transformers.block_manager import BlockManager


class Call(NamedTuple):
    """One request and its answer.

    sampling: None for a score request, which has `choices` instead. begun, ended: seconds on one clock for all calls.
    """

    prompt: Tokens
    sampling: Sampling | None
    stream: int
    choices: Tokens
    answer: Generation | Score
    begun: float
    ended: float

    @property
    def written(self) -> Tokens:
        """The generated tokens; empty for a score request."""
        steps = self.answer.steps if isinstance(self.answer, Generation) else []
        return tuple(token for step in steps for token in step)

    @property
    def content(self) -> tuple[Any, ...]:
        """The request itself; two calls with the same content are the same request."""
        return self.prompt, self.sampling, self.stream, self.choices

    @property
    def prefilled(self) -> int:
        """Prompt tokens that were not found in the cache."""
        return len(self.prompt) - self.answer.cached


class RecordingEngine(Engine):
    """An engine that forwards all requests and records those that were answered.

    on_drain: to be called when the last work has been started, so that the batch drains from then on.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.fingerprint, self.context, self.tokenizer = engine.fingerprint, engine.context, engine.tokenizer
        self.counters: EngineCounters = engine.counters
        self.flops = engine.flops
        self.on_drain: Callable[[], None] = lambda: None
        self._calls: list[Call] = []

    @property
    def calls(self) -> list[Call]:
        """The recorded calls in the order in which they were sent."""
        return sorted(self._calls, key=lambda call: call.begun)

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """See `Engine.generate`."""
        begun = time.perf_counter()
        done = await self.engine.generate(prompt, sampling, stream)
        self._calls.append(Call(tuple(prompt), sampling, stream, (), done, begun, time.perf_counter()))
        return done

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """See `Engine.score`."""
        begun = time.perf_counter()
        done = await self.engine.score(prompt, choices)
        self._calls.append(Call(tuple(prompt), None, 0, tuple(choices), done, begun, time.perf_counter()))
        return done

    async def close(self) -> None:
        """Close the engine."""
        await self.engine.close()


async def resend(
    engine: Engine, calls: Sequence[Call], rows: int = 0, on_drain: Callable[[], None] = lambda: None
) -> list[Generation | Score]:
    """Send all calls at once and return their answers.

    on_drain: called when fewer than `rows` of them are unanswered.
    """
    left = len(calls)

    async def send(call: Call) -> Generation | Score:
        nonlocal left
        done = await _send(engine, call)
        left -= 1
        if left == rows - 1:
            on_drain()
        return done

    return await asyncio.gather(*[send(call) for call in calls])


async def resend_in_order(engine: Engine, calls: Sequence[Call], after: Sequence[int]) -> list[Generation | Score]:
    """Send each call when the call that generated the end of its prompt is answered, and return the answers.

    after: from `prompt_sources`.
    """
    ended = [asyncio.Event() for _ in calls]

    async def send(number: int, call: Call) -> Generation | Score:
        if after[number] >= 0:
            await ended[after[number]].wait()
        done = await _send(engine, call)
        ended[number].set()
        return done

    return await asyncio.gather(*[send(i, call) for i, call in enumerate(calls)])


async def _send(engine: Engine, call: Call) -> Generation | Score:
    if call.sampling is None:
        return await engine.score(call.prompt, call.choices)
    return await engine.generate(call.prompt, call.sampling, call.stream)


def prompt_sources(calls: Sequence[Call]) -> list[int]:
    """For each call the index of the earlier call with the longest text that its prompt starts with; -1 for none."""
    texts: dict[Tokens, int] = {}
    found = []
    for number, call in enumerate(calls):
        ends = (call.prompt[:end] for end in range(len(call.prompt), 0, -1))
        found.append(next((texts[text] for text in ends if text in texts), -1))
        if call.written:
            texts.setdefault(call.prompt + call.written, number)
    return found


def predicted_cache_hits(calls: Sequence[Call], tokenizer: Any, block: int = 1) -> int:
    """Prompt tokens that an unlimited prefix cache would have found, computed from the calls.

    block: tokens that are found together or not at all. Above 1 the last token of a prompt is never found, since vLLM
        recomputes it to have logits to sample from.
    """
    tree = BlockManager(2 + sum(len(call.prompt) + len(call.written) for call in calls))
    events = [(call.begun, False, call) for call in calls] + [(call.ended, True, call) for call in calls]
    hits = 0
    for _, ended, call in sorted(events, key=lambda event: event[:2]):
        if ended:
            _grow(tree, call.prompt + _computed(call, tokenizer))
        else:
            found = len(tree.match_prefix(call.prompt))
            hits += found if block == 1 else min(found, len(call.prompt) - 1) // block * block
            _grow(tree, call.prompt)
    return hits


def _computed(call: Call, tokenizer: Any) -> Tokens:
    """The generated tokens that the network computed: all but the last, unless an end of sequence was sampled next."""
    done = call.answer
    if not isinstance(done, Generation) or call.sampling is None or not done.steps:
        return ()
    closed = call.sampling.stop is not None and call.sampling.stop in decode(tokenizer, done.steps[-1])
    return call.written if done.ended == "end" and not closed else call.written[:-1]


def _grow(tree: BlockManager, tokens: Tokens) -> None:
    path = tree.match_prefix(tokens)
    slot = path[-1] if path else 0
    for token in tokens[len(path) :]:
        slot = tree.allocate(slot, token)
