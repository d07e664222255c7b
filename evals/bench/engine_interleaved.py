"""A search compared with its own requests sent at once, as long as it had further problems to start.

The requests are those that the search had sent by then, since all of them would contain a larger share of long prompts.
Two engines in one process alternate every few steps of their decode loops, so that drifts in the machine's speed affect
both alike. The time between two steps is charged to the side whose turn it is. vLLM runs in processes of its own, and
there the two are measured one after the other.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from .engine_calls import Call, resend
from .engine_harness import EngineHarness, Measurement, Timing, garbage_collector_frozen
from .engine_workloads import SearchWorkload

STEPS_PER_TURN = 15
"""Steps of one engine before it is the other's turn."""


def read_clocks() -> tuple[float, float]:
    """Wall and processor seconds so far."""
    return time.perf_counter(), time.process_time()


class EngineWorkload:
    """One engine with the work that runs on it.

    work: called with the engine itself, since recording would be part of the measured time, and with `on_drain`.
    timing: of the work until it calls `on_drain`, or to its end.
    """

    def __init__(self, engine: Any, work: Callable[[Any, Callable[[], None]], Coroutine[Any, Any, Any]]) -> None:
        self.engine, self.work = engine, work
        self.scheduler, self.step = engine._scheduler, engine._scheduler.step
        self.task: asyncio.Task[Any] | None = None
        self.timing, self.finished = Timing(0.0, 0.0, 0), False

    def on_drain(self) -> None:
        """Record that the last work has been started; ignored before any token was generated."""
        self.finished = self.scheduler.counters.generated > 0


class Interleaved:
    """Runs two engines in alternation and measures the time of each until both are finished.

    It must be used inside `garbage_collector_frozen`, which undoes the `gc.freeze` of each turn.
    """

    def __init__(
        self, sides: Sequence[EngineWorkload], clocks: Callable[[], tuple[float, float]] = read_clocks
    ) -> None:
        self.sides, self.now, self.left, self.clocks = sides, 0, STEPS_PER_TURN, clocks
        self.done = asyncio.Event()
        self.since = clocks()
        for number, side in enumerate(sides):
            side.scheduler.step = lambda number=number: self.step(number)
        self.begin()

    def step(self, number: int) -> None:
        """Replaces a scheduler's own method: does one step if it is the engine's turn."""
        side = self.sides[number]
        if number != self.now or self.done.is_set():
            return
        if self.left == 0 or side.finished:
            self.switch()
        else:
            self.left -= 1
            side.step()

    def begin(self) -> None:
        """Start the work of the engine whose turn it is, unless it has started; this sends its first requests."""
        side = self.sides[self.now]
        if side.task is None:
            side.task = asyncio.create_task(side.work(side.engine, side.on_drain))
            side.task.add_done_callback(lambda _: self.ended(side))

    def ended(self, side: EngineWorkload) -> None:
        """Pass on the turn of a work that has ended, since its scheduler does no more steps."""
        side.finished = True
        if side is self.sides[self.now] and not self.done.is_set():
            self.switch()

    def switch(self) -> None:
        """Add the time of the engine whose turn ends, and let the other continue unless it is finished."""
        now, side = self.clocks(), self.sides[self.now]
        gc.freeze()  # otherwise the next collection of one side scans the thousands of tasks of the other
        wall, processor = (after - before for after, before in zip(now, self.since))
        generated = side.scheduler.counters.generated
        side.timing = Timing(side.timing.wall + wall, side.timing.processor + processor, generated)
        if all(each.finished for each in self.sides):
            return self.done.set()
        self.now = self.now if self.sides[1 - self.now].finished else 1 - self.now
        self.left, self.since = STEPS_PER_TURN, now
        self.begin()


def compare_in_flight(harness: EngineHarness, workload: SearchWorkload, search: Measurement) -> tuple[Timing, Timing]:
    """The saturated parts of a search and of its requests; all of both where all questions were started at once.

    search: a measurement of the same workload, which determines the requests.
    """
    if harness.engine == "transformers":
        return measure_interleaved(harness, workload, search.saturated_calls)
    return measure_in_sequence(harness, search)


def measure_in_sequence(harness: EngineHarness, search: Measurement) -> tuple[Timing, Timing]:
    """The search as it was measured, and its requests measured now."""
    requests = harness.measure(lambda engine: resend(engine, search.saturated_calls, harness.rows, engine.on_drain))
    return search.saturated or search.timing, requests.saturated or requests.timing


def measure_interleaved(
    harness: EngineHarness, workload: SearchWorkload, calls: Sequence[Call]
) -> tuple[Timing, Timing]:
    """The saturated parts of the search and of its requests `calls`, run in alternation."""

    async def run() -> tuple[Timing, Timing]:
        sides = [
            EngineWorkload(
                harness.fresh_engine(),
                lambda engine, on_drain: workload.run(harness.model(engine, workload.value), on_drain),
            ),
            EngineWorkload(
                harness.fresh_engine(), lambda engine, on_drain: resend(engine, calls, harness.rows, on_drain)
            ),
        ]
        turns = Interleaved(sides)
        await turns.done.wait()
        tasks = [side.task for side in sides if side.task is not None]
        for task in tasks:
            if not task.cancel():
                await task  # raises the error of a work that failed
        await asyncio.gather(*tasks, return_exceptions=True)
        return sides[0].timing, sides[1].timing

    with garbage_collector_frozen():
        return asyncio.run(run())
