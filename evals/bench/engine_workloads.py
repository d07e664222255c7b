"""The workloads of `forethought bench engine`, and the record of their requests."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from typing import Any

from ...llm.engines.base import Engine, Generation, Sampling, Score, Tokens
from ...llm.text_model import TextModel
from ...planning import Budget, Planner
from ...planning.driver import Outcome, aplan


@dataclass(slots=True)
class Call:
    """One request and its answer. sampling: None for a score request, which has `choices` instead."""

    prompt: Tokens
    sampling: Sampling | None = None
    stream: int = 0
    choices: Tokens = ()
    answer: Generation | Score | None = None

    async def send(self, engine: Engine) -> Generation | Score:
        """Send the same request to an engine and return its answer."""
        if self.sampling is None:
            return await engine.score(self.prompt, self.choices)
        return await engine.generate(self.prompt, self.sampling, self.stream)


class RecordingEngine(Engine):
    """An engine that forwards all requests and records them in `calls`."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.tokenizer, self.fingerprint = engine, engine.tokenizer, engine.fingerprint
        self.context, self.counters, self.flops = engine.context, engine.counters, engine.flops
        self.calls: list[Call] = []

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """See `Engine.generate`."""
        self.calls.append(call := Call(tuple(prompt), sampling, stream))
        call.answer = answer = await self.engine.generate(prompt, sampling, stream)
        return answer

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """See `Engine.score`."""
        self.calls.append(call := Call(tuple(prompt), choices=tuple(choices)))
        call.answer = answer = await self.engine.score(prompt, choices)
        return answer


@dataclass(frozen=True)
class Measurement:
    """The calls of a workload in the order in which they were sent, and its seconds on an engine with empty cache."""

    calls: Sequence[Call]
    seconds: float

    @property
    def tokens(self) -> dict[str, int]:
        """Generated tokens, prompt tokens, and those of the prompt tokens that were found in the prefix cache."""
        answers = [call.answer for call in self.calls if call.answer is not None]
        steps = [step for answer in answers if isinstance(answer, Generation) for step in answer.steps]
        prompt = sum(len(call.prompt) for call in self.calls)
        return {"generated": sum(map(len, steps)), "prompt": prompt, "cached": sum(each.cached for each in answers)}


@dataclass(frozen=True)
class Workloads:
    """A search with `nodes` for each question on the engine of a text model, and what it is compared with.

    in_flight: how many questions are searched concurrently, each next one beginning where one ends. clock: a function
    that returns seconds.
    """

    text: TextModel
    planner: Planner
    questions: Sequence[str]
    nodes: int
    in_flight: int = 64
    clock: Callable[[], float] = time.perf_counter

    def measure(self, work: Callable[[Engine], Awaitable[Any]]) -> Measurement:
        """Run `work` on the engine with an empty cache and measure it."""
        engine = RecordingEngine(self.text.engine)

        async def seconds() -> float:
            await self.text.engine.clear_cache()
            begun = self.clock()
            await work(engine)
            return self.clock() - begun

        gc.collect()
        gc.freeze()  # otherwise the workload pays for scanning the libraries' objects and all calls recorded before
        try:
            return Measurement(engine.calls, asyncio.run(seconds()))
        finally:
            gc.unfreeze()

    def model(self, engine: Engine) -> TextModel:
        """The text model over an engine, with a new tape."""
        return TextModel(engine, self.text.format, self.text.value, self.text.sampling)

    async def run(self, model: Any) -> list[Outcome[Any]]:
        """Search all questions with a model; one outcome per question."""
        budget, gate = Budget(nodes=self.nodes), asyncio.Semaphore(self.in_flight)

        async def search(key: int, question: str) -> Outcome[Any]:
            async with gate:
                return await aplan(self.planner, model, question, budget, key=key)

        return await asyncio.gather(*[search(i, question) for i, question in enumerate(self.questions)])

    def search(self) -> Measurement:
        """Measure the search."""
        return self.measure(lambda engine: self.run(self.model(engine)))

    def requests(self, search: Measurement) -> Measurement:
        """Measure the requests of a search, all sent at once in the search's order."""
        return self.measure(lambda engine: asyncio.gather(*[call.send(engine) for call in search.calls]))

    def sampling(self, tokens: int) -> Measurement:
        """Measure whole solutions, `in_flight` at a time, and no further one once `tokens` tokens were generated."""
        form = self.text.format
        most = form.max_step_tokens * form.max_steps
        sampling = Sampling(0.8, 1.0, most, form.max_steps, form.delimiter, form.ends)

        async def sample(engine: Engine) -> None:
            prompts, streams, left = cycle(map(form.prompt_tokens, self.questions)), count(), tokens

            async def solve_in_turn() -> None:
                nonlocal left
                while left > 0:
                    answer = await engine.generate(next(prompts), sampling, next(streams))
                    left -= max(1, sum(map(len, answer.steps)))

            await asyncio.gather(*[solve_in_turn() for _ in range(self.in_flight)])

        return self.measure(sample)

    def measure_all(self, before: Measurement | None = None) -> dict[str, Measurement]:
        """Measure each once, the search first. before: an earlier search, whose requests then come first."""
        search = before or self.search()
        found = {"requests": self.requests(search), "sampling": self.sampling(search.tokens["generated"])}
        return {"search": self.search() if before else search, **found}
