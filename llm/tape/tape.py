"""The tape: records of all requests of a run, so that all planners search the same random tree.

The tape knows keys and bytes. `records.py` defines what they contain, and a store keeps them: in memory here, in a file
that several processes share in `sqlite.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from ..engines.base import Generation, Score

T = TypeVar("T")
Made = TypeVar("Made", Generation, Score)


class Store(Protocol):
    """Stores records: bytes under a 16-byte digest. `put` never overwrites; it stores all records of a call or none."""

    def get(self, key: bytes) -> bytes | None:
        """The record of `key`, None if there is none."""
        ...

    def put(self, records: Mapping[bytes, bytes]) -> None:
        """Add records whose keys are new."""
        ...

    def reject(self, key: bytes) -> None:
        """Take the record of `key`, whose content cannot be read, for missing; the next one replaces it."""
        ...

    @property
    def damaged(self) -> int:
        """How many records were found damaged and not replaced since."""
        ...

    def close(self) -> None:
        """Release what the store holds."""
        ...

    def __len__(self) -> int: ...


class MemoryStore:
    """Records in a dictionary; `size` is their number of bytes."""

    def __init__(self, fallback: Store | None = None) -> None:
        """fallback: a store that is read where a key is missing here, and never written, such as a replayed tape."""
        self._records: dict[bytes, bytes] = {}
        self._fallback = fallback
        self.size = 0

    def get(self, key: bytes) -> bytes | None:
        """The record of `key` here or in the fallback."""
        record = self._records.get(key)
        return self._fallback.get(key) if record is None and self._fallback is not None else record

    def put(self, records: Mapping[bytes, bytes]) -> None:
        """Add records whose keys are new here."""
        for key, record in records.items():
            if self._records.setdefault(key, record) is record:
                self.size += len(record)

    def reject(self, key: bytes) -> None:
        """Forget the record of `key` here, or reject it in the fallback."""
        record = self._records.pop(key, None)
        if record is not None:
            self.size -= len(record)
        elif self._fallback is not None:
            self._fallback.reject(key)

    @property
    def damaged(self) -> int:
        """How many records of the fallback are damaged."""
        return self._fallback.damaged if self._fallback is not None else 0

    def close(self) -> None:
        """Close the fallback."""
        if self._fallback is not None:
            self._fallback.close()

    def __len__(self) -> int:
        return len(self._records)


class Tape:
    """Records of all planners of a run. Identical requests that run at the same time are one call.

    hits: requests answered from the store. misses: calls to an engine. merged: requests that joined a running call.
    """

    def __init__(self, store: Store | None = None) -> None:
        """store: by default in memory."""
        self.store: Store = MemoryStore() if store is None else store
        self.hits = self.misses = self.merged = 0
        self._running: dict[bytes, tuple[asyncio.AbstractEventLoop, list[asyncio.Future[None]]]] = {}

    def __len__(self) -> int:
        return len(self.store)

    @property
    def damaged(self) -> int:
        """How many records of the store are damaged and were not asked again of an engine."""
        return self.store.damaged

    def close(self) -> None:
        """Close the store, which already holds every record."""
        self.store.close()

    async def fetch(
        self,
        key: bytes,
        call: Callable[[], Awaitable[Made]],
        to_records: Callable[[Made], tuple[dict[bytes, bytes], T]],
        unpack: Callable[[bytes], T],
    ) -> tuple[T, Made | None]:
        """The content of the record `key`, and what the engine returned if this fetch called it, else None.

        The first request of a key makes the call. Requests that join it share its error, and call again if it was
        cancelled.

        to_records: from the engine's answer to records by key, `key` among them, and the content of that one.
        unpack: from a record to its content; ValueError for bytes that are no such record, which count as missing.
        """
        joined = False
        while (recorded := self._recorded(key, unpack)) is None:
            loop = asyncio.get_running_loop()
            call_loop, waiting = self._running.get(key, (None, []))
            if call_loop is loop:
                joined = True
                waiting.append(finished := loop.create_future())
                await finished
                continue
            self.misses += 1
            self._running[key] = loop, (waiting := [])
            failure = None
            try:
                made = await call()
                records, content = to_records(made)
                self.store.put(records)
            except Exception as error:
                failure = error
                raise
            finally:
                self._running.pop(key, None)
                _wake(waiting, failure)
            stored = self.store.get(key)  # another process may have stored the key first
            other = None if stored is None or stored is records[key] else self._recorded(key, unpack)
            return (content if other is None else other), made
        self.merged += joined
        self.hits += not joined
        return recorded, None

    def _recorded(self, key: bytes, unpack: Callable[[bytes], T]) -> T | None:
        """The content of a record, None where it is missing or damaged."""
        record = self.store.get(key)
        if record is None:
            return None
        try:
            return unpack(record)
        except ValueError:
            self.store.reject(key)
            return None


def _wake(waiting: Sequence[asyncio.Future[None]], failure: Exception | None) -> None:
    """Tell the requests that joined a call that it has finished."""
    for finished in waiting:
        if finished.done():  # cancelled
            continue
        if failure is None:
            finished.set_result(None)
        else:
            finished.set_exception(failure)
