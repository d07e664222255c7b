"""Time limits that pass when a test says so, whatever the machine is doing meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

ATTEMPT, DEADLINE = 61.0, 601.0
"""Seconds that stand for the limit of one attempt, and for that of a request with all its attempts."""


@dataclass(eq=False)
class _Running:
    seconds: float
    limit: asyncio.Timeout
    loop: asyncio.AbstractEventLoop
    task: object
    attempts: int = 0


class TimeLimits:
    """Replaces `asyncio.timeout` for these two numbers of seconds; other limits keep to the clock.

    most_attempts: the deadline of a request passes when it begins one attempt more than these.
    """

    def __init__(self) -> None:
        self.most_attempts: int | None = None
        self._clock, self._running = asyncio.timeout, list[_Running]()

    def __call__(self, seconds: float | None) -> asyncio.Timeout:
        return self._until_expired(seconds) if seconds in (ATTEMPT, DEADLINE) else self._clock(seconds)

    def expire(self, seconds: float) -> None:
        """All limits of that many seconds that run now pass; may be called from any thread."""
        for running in [each for each in self._running if each.seconds == seconds]:
            running.loop.call_soon_threadsafe(self._expire, running)

    def _expire(self, running: _Running) -> None:
        if running in self._running:
            running.limit.reschedule(0)

    @asynccontextmanager
    async def _until_expired(self, seconds: float) -> AsyncIterator[None]:
        async with self._clock(None) as limit:
            running = _Running(seconds, limit, asyncio.get_running_loop(), asyncio.current_task())
            self._running.append(running)
            try:
                if seconds == ATTEMPT:
                    self._begin_attempt(running.task)
                yield
            finally:
                self._running.remove(running)

    def _begin_attempt(self, task: object) -> None:
        (deadline,) = (each for each in self._running if each.seconds == DEADLINE and each.task is task)
        deadline.attempts += 1
        if self.most_attempts is not None and deadline.attempts > self.most_attempts:
            deadline.limit.reschedule(0)
