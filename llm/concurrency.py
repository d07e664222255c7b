"""Concurrent calls whose first error cancels the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def gather_or_cancel(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all calls, which run concurrently; an error in one cancels the others.

    The first call runs without a task of its own, which would cost a tenth of the time that a search takes per node.
    """
    if not calls:
        return []
    first, *others = calls
    tasks = [asyncio.create_task(other) for other in others]
    try:
        return [await first, *[await task for task in tasks]]
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
