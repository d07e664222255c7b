"""What a search over text takes by itself, without an engine: its own Python, and what a full tape spares another.

First the same search runs over a full tape, which leaves planner, driver, text model and tape; then over answers kept
from that run, which leaves planner and driver.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ...planning.usage import GENERATED_TOKENS, NODES
from .engine_bed import Bed
from .engine_calls import Recorder
from .engine_work import Plans


class Remembered:
    """An `AsyncModel` that answers at once what its model answered before, and asks that for the rest.

    States are told apart by identity: given back are the very objects that were given out. missed: answers it lacked.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.missed = model, 0
        self.actions, self.cost, self.most_tokens = model.actions, model.cost, model.most_tokens
        self._starts: dict[str, Any] = {}
        self._reached: dict[Any, Any] = {}

    async def start(self, problems: Any) -> Any:
        (question,) = problems
        if question not in self._starts:
            self._starts[question] = await self.model.start(problems)
        return self._starts[question]

    async def expand(self, states: Any, actions: Any, **how: Any) -> Any:
        key = (*map(id, states), *map(int, actions), *how.values())
        found = self._reached.get(key)
        if found is None:
            self.missed += 1
            found = self._reached[key] = await self.model.expand(states, actions, **how)
        return found


def own_costs(bed: Bed, plans: Plans, repeats: int) -> dict[str, float]:
    """Processor microseconds per charged node, least of the repeats: with text model and tape, and without.

    seconds: what the search took of the processor with text model and tape, all nodes together.
    """
    model = bed.model(bed.fresh(), plans.value)
    nodes = _paid(plans, model)[NODES]
    remembered = Remembered(model)
    _paid(plans, remembered)
    took = {"over_tape": lambda: plans.run(model), "search_and_driver": lambda: plans.run(remembered)}
    each = {name: 1e6 * min(_timed(work) for _ in range(repeats)) / nodes for name, work in took.items()}
    return each | {"seconds": 1e-6 * nodes * each["over_tape"]}


def second_planner(bed: Bed, first: Plans, second: Plans) -> dict[str, float]:
    """What a second planner pays over the tape of a first.

    nodes, tokens: charged to the second. requests, generated: what it asked the engine for continuations. scores: what
    it asked for the critic. repeated: requests among these that the first had made, which is what a tape forbids.
    """
    engine = Recorder(bed.fresh())
    model = bed.model(engine, first.value)
    _paid(first, model)
    known = {call.content for call in engine.calls}
    before = len(engine.calls)
    bill = _paid(second, model)
    asked = engine.calls[before:]
    return {
        "nodes": bill[NODES], "tokens": bill[GENERATED_TOKENS],
        "requests": sum(call.sampling is not None for call in asked),
        "generated": sum(len(call.written) for call in asked), "scores": sum(call.sampling is None for call in asked),
        "repeated": sum(call.content in known for call in asked),
    }  # fmt: skip


def _paid(plans: Plans, model: Any) -> list[float]:
    """What these plans are charged in all, [units]."""

    async def run() -> list[float]:
        return charged(await plans.run(model))

    return asyncio.run(run())


def charged(outcomes: list[Any]) -> list[float]:
    """Sums over problems of what was charged, closing included, [units]."""
    return [float(x) for x in sum(outcome.charged[0] + outcome.completion[0] for outcome in outcomes)]


def _timed(work: Callable[[], Awaitable[Any]]) -> float:
    async def run() -> None:
        await work()

    gc.collect()
    begun = time.process_time()
    asyncio.run(run())
    return time.process_time() - begun
