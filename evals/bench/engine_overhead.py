"""The Python time of a search over text without its engine, and what a tape saves a second planner.

The search is repeated over a complete tape, which leaves planner, driver, text model and tape, and over memoized
answers, which leaves planner and driver.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ...planning.interface import UNITS
from .engine_calls import RecordingEngine
from .engine_harness import EngineHarness
from .engine_workloads import SearchWorkload

NODES, GENERATED = UNITS.index("nodes"), UNITS.index("generated_tokens")


class MemoizedModel:
    """An `AsyncModel` that memoizes the answers of its model.

    States are compared by identity, and memoized answers are the same objects. missed: answers that were not memoized.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.missed = model, 0
        self.actions, self.cost, self.most_tokens = model.actions, model.cost, model.most_tokens
        self._starts: dict[str, Any] = {}
        self._expanded: dict[Any, Any] = {}

    async def start(self, problems: Any) -> Any:
        """See `AsyncModel.start`."""
        (question,) = problems
        if question not in self._starts:
            self._starts[question] = await self.model.start(problems)
        return self._starts[question]

    async def expand(self, states: Any, actions: Any, **options: Any) -> Any:
        """See `AsyncModel.expand`."""
        key = (*map(id, states), *map(int, actions), *options.values())
        found = self._expanded.get(key)
        if found is None:
            self.missed += 1
            found = self._expanded[key] = await self.model.expand(states, actions, **options)
        return found


def search_overhead(harness: EngineHarness, workload: SearchWorkload, repeats: int) -> dict[str, float]:
    """Processor microseconds per charged node with text model and tape and without; the least of the repeats.

    seconds: processor seconds of the whole search with text model and tape.
    """
    model = harness.model(harness.fresh_engine(), workload.value)
    nodes = _total_charged(workload, model)[NODES]
    memoized = MemoizedModel(model)
    _total_charged(workload, memoized)
    workloads = {"with_tape": lambda: workload.run(model), "search_and_driver": lambda: workload.run(memoized)}
    each = {name: 1e6 * min(_timed(work) for _ in range(repeats)) / nodes for name, work in workloads.items()}
    return each | {"seconds": 1e-6 * nodes * each["with_tape"]}


def second_planner(harness: EngineHarness, first: SearchWorkload, second: SearchWorkload) -> dict[str, float]:
    """What a second planner requests with the tape of a first.

    nodes, tokens: charged to the second. requests, generated: its requests for continuations and their tokens. scores:
    its requests of the critic. repeated: those of its requests that the first had made, which the tape should prevent.
    """
    engine = RecordingEngine(harness.fresh_engine())
    model = harness.model(engine, first.value)
    _total_charged(first, model)
    known = {call.content for call in engine.calls}
    before = len(engine.calls)
    usage = _total_charged(second, model)
    sent = engine.calls[before:]
    return {
        "nodes": usage[NODES], "tokens": usage[GENERATED], "requests": sum(call.sampling is not None for call in sent),
        "generated": sum(len(call.written) for call in sent), "scores": sum(call.sampling is None for call in sent),
        "repeated": sum(call.content in known for call in sent),
    }  # fmt: skip


def _total_charged(workload: SearchWorkload, model: Any) -> list[float]:
    """[len(UNITS)] usage charged to all problems of a workload."""

    async def run() -> list[float]:
        return charged(await workload.run(model))

    return asyncio.run(run())


def charged(outcomes: list[Any]) -> list[float]:
    """[len(UNITS)] usage charged over problems, completion included."""
    return [float(x) for x in sum(outcome.charged[0] + outcome.completion[0] for outcome in outcomes)]


def _timed(work: Callable[[], Awaitable[Any]]) -> float:
    async def run() -> None:
        await work()

    gc.collect()
    begun = time.process_time()
    asyncio.run(run())
    return time.process_time() - begun
