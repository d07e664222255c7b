"""A search against its own requests sent at once, as long as it had problems to begin where one ended.

The requests are those that the search had sent by then: with all of them, more would be long prompts and less first
ones, and the engine's work another. Two engines in one process take turns of a few ticks, since a machine's speed
drifts within minutes: a moment's slowness falls on both. All that happens between two ticks is the caller's. vLLM works
in processes of its own, and there the two are run one after the other.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from .engine_bed import Bed, Stretch, Taken, old_garbage_aside
from .engine_calls import Call, replay
from .engine_work import Plans

TICKS = 15
"""Of one engine before it is the other's turn."""


def read_clocks() -> tuple[float, float]:
    """Wall and processor seconds."""
    return time.perf_counter(), time.process_time()


class Side:
    """One engine and the work on it; `taken` is what it took until it said that it was thinning out, or to its end.

    work: is given the engine itself, without a recorder, whose notes would be counted with what they are of, and whom
    to tell when it has nothing left to begin where something ends.
    """

    def __init__(self, engine: Any, work: Callable[[Any, Callable[[], None]], Coroutine[Any, Any, Any]]) -> None:
        self.engine, self.work = engine, work
        self.decoder, self.tick = engine._scheduler, engine._scheduler.step
        self.task: asyncio.Task[Any] | None = None
        self.taken, self.over = Stretch(0.0, 0.0, 0), False

    def thinner(self) -> None:
        """Nothing is left to begin where something ends; of no account before anything was written."""
        self.over = self.decoder.counters.generated > 0


class Turns:
    """Lets only one of the two engines tick, and counts its time, until both are over. To be used within
    `old_garbage_aside`, which looks at garbage again that was put aside at the turns."""

    def __init__(self, sides: Sequence[Side], clocks: Callable[[], tuple[float, float]] = read_clocks) -> None:
        self.sides, self.now, self.left, self.clocks = sides, 0, TICKS, clocks
        self.done = asyncio.Event()
        self.since = clocks()
        for number, side in enumerate(sides):
            side.decoder.step = lambda number=number: self.tick(number)
        self.begin()

    def tick(self, number: int) -> None:
        """In place of a decoder's own: its tick if it is its turn."""
        side = self.sides[number]
        if number != self.now or self.done.is_set():
            return
        if self.left == 0 or side.over:
            self.switch()
        else:
            self.left -= 1
            side.tick()

    def begin(self) -> None:
        """Start the work of the side whose turn it is, the first time: to send its requests is part of it."""
        side = self.sides[self.now]
        if side.task is None:
            side.task = asyncio.create_task(side.work(side.engine, side.thinner))
            side.task.add_done_callback(lambda _: self.ended(side))

    def ended(self, side: Side) -> None:
        """A work that is at its end ticks no more and has to give its turn away by itself."""
        side.over = True
        if side is self.sides[self.now] and not self.done.is_set():
            self.switch()

    def switch(self) -> None:
        """Close the account of the side whose turn it was; the other's turn, unless it is over already."""
        now, side = self.clocks(), self.sides[self.now]
        gc.freeze()  # else whoever collects garbage next looks through the other's thousands of tasks too
        spent = [after - before for after, before in zip(now, self.since)]
        written = side.decoder.counters.generated
        side.taken = Stretch(side.taken.wall + spent[0], side.taken.processor + spent[1], written)
        if all(each.over for each in self.sides):
            return self.done.set()
        self.now = self.now if self.sides[1 - self.now].over else 1 - self.now
        self.left, self.since = TICKS, now
        self.begin()


def flying(bed: Bed, plans: Plans, search: Taken) -> tuple[Stretch, Stretch]:
    """A search that was measured before and its requests, each while all were in flight; whole where all questions
    were begun at once."""
    if bed.engine == "transformers":
        return in_turns(bed, plans, search.early)
    return one_by_one(bed, search)


def one_by_one(bed: Bed, search: Taken) -> tuple[Stretch, Stretch]:
    """The search as it was measured, and its requests measured now."""
    requests = bed.measured(lambda engine: replay(engine, search.early, bed.rows, engine.thinner))
    return search.full or search.whole, requests.full or requests.whole


def in_turns(bed: Bed, plans: Plans, calls: Sequence[Call]) -> tuple[Stretch, Stretch]:
    """What the search and those of its requests took, each while it had something to begin where one ended."""

    async def run() -> tuple[Stretch, Stretch]:
        sides = [
            Side(bed.fresh(), lambda engine, thinner: plans.run(bed.model(engine, plans.value), thinner)),
            Side(bed.fresh(), lambda engine, thinner: replay(engine, calls, bed.rows, thinner)),
        ]
        turns = Turns(sides)
        await turns.done.wait()
        tasks = [side.task for side in sides if side.task is not None]
        for task in tasks:
            if not task.cancel():
                await task  # which raises what went wrong
        await asyncio.gather(*tasks, return_exceptions=True)
        return sides[0].taken, sides[1].taken

    with old_garbage_aside():
        return asyncio.run(run())
