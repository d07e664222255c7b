"""A search and its own requests on two engines that take turns of a few ticks in one process.

The speed of a machine drifts within minutes, so that two workloads run one after the other are compared only to a few
hundredths; here a moment's slowness falls on both. All that happens between two ticks of an engine is its caller's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .engine_bed import Bed, Stretch
from .engine_calls import Call, Recorder, replay
from .engine_work import Plans

TICKS = 15
"""Of one engine before it is the other's turn."""


class Side:
    """One engine and the work on it; `taken` is what it took until it said that it was thinning out, or to its end."""

    def __init__(self, engine: Any, work: Callable[[Recorder], Awaitable[Any]]) -> None:
        self.recorder, self.work = Recorder(engine), work
        self.decoder, self.tick = engine._decoder, engine._decoder.tick
        self.task: asyncio.Future[Any] | None = None
        self.taken, self.over = Stretch(0.0, 0.0, 0), False
        self.recorder.thinned = self.thinned

    def thinned(self) -> None:
        """Nothing is left to begin where something ends; of no account before anything was written."""
        self.over = self.decoder.counters.generated > 0


class Turns:
    """Lets only one of the two engines tick, and counts its time, until both are over."""

    def __init__(self, sides: Sequence[Side]) -> None:
        self.sides, self.now, self.left = sides, 0, TICKS
        self.done = asyncio.Event()
        self.since = _clocks()
        for number, side in enumerate(sides):
            side.decoder.tick = lambda number=number: self.tick(number)
        self.begin()

    def tick(self, number: int) -> None:
        side = self.sides[number]
        if number != self.now or self.done.is_set():
            return
        if self.left == 0 or side.over:
            self.switch()
        else:
            self.left -= 1
            side.tick()

    def begin(self) -> None:
        side = self.sides[self.now]
        if side.task is None:
            side.task = asyncio.ensure_future(_all(side.work(side.recorder)))
            side.task.add_done_callback(lambda _: self.ended(side))

    def ended(self, side: Side) -> None:
        """A work that is at its end ticks no more and has to give its turn away by itself."""
        side.over = True
        if side is self.sides[self.now] and not self.done.is_set():
            self.switch()

    def switch(self) -> None:
        """Close the account of the side whose turn it was; the other's turn, unless it is over already."""
        now, side = _clocks(), self.sides[self.now]
        spent = [after - before for after, before in zip(now, self.since)]
        written = side.decoder.counters.generated
        side.taken = Stretch(side.taken.wall + spent[0], side.taken.processor + spent[1], written)
        if all(each.over for each in self.sides):
            return self.done.set()
        self.now = self.now if self.sides[1 - self.now].over else 1 - self.now
        self.left, self.since = TICKS, now
        self.begin()


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


async def _all(work: Awaitable[Any]) -> Any:
    return await work


def in_turns(bed: Bed, plans: Plans, calls: Sequence[Call]) -> tuple[Stretch, Stretch]:
    """What the search and those of its requests took, each while it had something to begin where one ended."""

    async def run() -> tuple[Stretch, Stretch]:
        sides = [
            Side(bed.fresh(), lambda engine: plans.run(bed.model(engine, plans.value), engine.thinner)),
            Side(bed.fresh(), lambda engine: replay(engine, calls, bed.rows)),
        ]
        turns = Turns(sides)
        await turns.done.wait()
        tasks = [side.task for side in sides if side.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return sides[0].taken, sides[1].taken

    return asyncio.run(run())
