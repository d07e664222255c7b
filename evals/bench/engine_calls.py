"""What an engine was asked and answered, written down call by call, and the same calls sent again without a search."""

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

    sampling: None for a score, which has `choices` instead. begun, ended: seconds on one clock for all calls.
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
        """The new tokens of a continuation; none of a score."""
        steps = self.answer.steps if isinstance(self.answer, Generation) else []
        return tuple(token for step in steps for token in step)

    @property
    def content(self) -> tuple[Any, ...]:
        """What was asked; two calls of one content are the same request."""
        return self.prompt, self.sampling, self.stream, self.choices

    @property
    def prefilled(self) -> int:
        """Positions of the prompt that were not found in the cache."""
        return len(self.prompt) - self.answer.cached


class Recorder(Engine):
    """An engine that passes everything on and keeps the calls that were answered.

    thinner: to be called by whoever keeps requests in flight when he has nothing left to begin where one ends.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.fingerprint, self.context, self.tokenizer = engine.fingerprint, engine.context, engine.tokenizer
        self.counters: EngineCounters = engine.counters
        self.flops = engine.flops
        self.thinner: Callable[[], None] = lambda: None
        self._calls: list[Call] = []

    @property
    def calls(self) -> list[Call]:
        """In the order in which they were sent."""
        return sorted(self._calls, key=lambda call: call.begun)

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        begun = time.perf_counter()
        done = await self.engine.generate(prompt, sampling, stream)
        self._calls.append(Call(tuple(prompt), sampling, stream, (), done, begun, time.perf_counter()))
        return done

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        begun = time.perf_counter()
        done = await self.engine.score(prompt, choices)
        self._calls.append(Call(tuple(prompt), None, 0, tuple(choices), done, begun, time.perf_counter()))
        return done

    async def close(self) -> None:
        await self.engine.close()


async def replay(
    engine: Engine, calls: Sequence[Call], places: int = 0, thinner: Callable[[], None] = lambda: None
) -> list[Generation | Score]:
    """The answers to all of these calls, sent at once in their order. thinner: called when fewer than `places` are
    left."""
    left = len(calls)

    async def send(call: Call) -> Generation | Score:
        nonlocal left
        done = await _send(engine, call)
        left -= 1
        if left == places - 1:
            thinner()
        return done

    return await asyncio.gather(*[send(call) for call in calls])


async def replay_in_turn(engine: Engine, calls: Sequence[Call], after: Sequence[int]) -> list[Generation | Score]:
    """As `replay`, but each call is sent when the one that wrote the end of its prompt (`writers`) is answered."""
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


def writers(calls: Sequence[Call]) -> list[int]:
    """For each call the number of the earlier one whose text its prompt goes on from the furthest; -1 for none."""
    texts: dict[Tokens, int] = {}
    found = []
    for number, call in enumerate(calls):
        ends = (call.prompt[:end] for end in range(len(call.prompt), 0, -1))
        found.append(next((texts[text] for text in ends if text in texts), -1))
        if call.written:
            texts.setdefault(call.prompt + call.written, number)
    return found


def predicted_hits(calls: Sequence[Call], tokenizer: Any, block: int = 1) -> int:
    """Prompt tokens that a cache without limits would have found, from the calls alone.

    block: tokens that are found together or not at all; above 1 the last token of a prompt is never among them, as
    vLLM computes it anew to have something to draw from.
    """
    tree = BlockManager(2 + sum(len(call.prompt) + len(call.written) for call in calls))
    events = [(call.begun, False, call) for call in calls] + [(call.ended, True, call) for call in calls]
    hits = 0
    for _, over, call in sorted(events, key=lambda event: event[:2]):
        if over:
            _grow(tree, call.prompt + _computed(call, tokenizer))
        else:
            found = len(tree.match_prefix(call.prompt))
            hits += found if block == 1 else min(found, len(call.prompt) - 1) // block * block
            _grow(tree, call.prompt)
    return hits


def _computed(call: Call, tokenizer: Any) -> Tokens:
    """The written tokens that went through the network: all but the last, which is drawn and not computed unless the
    end of sequence was drawn after it."""
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
