"""The log of what a search over leaves asked, was told and dropped, kept cheaply while the search runs.

`journal.py` reruns, saves and loads what `EventLog.events` returns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .interface import EdgeQuery, Evaluate, Expansion, Int

Event = tuple[str, Any, Any]
"""("ask", remaining, query), ("tell", query, answer) or ("drop", query, None)."""

ROW, PARENT, ACTION, NODE_ID, REMAINING = range(5)
"""Rows of an entry, int32 [5, most]: of each leaf its row, parent, action and node, and each row's remaining nodes."""

BUFFER_SIZE = 16_384
"""Most integers of a buffer, from which entries are taken."""


class EventLog:
    """What was asked, told and dropped, in order.

    A query of MCTS is written by its kernel into an entry of a preallocated buffer, and of the answer to the latest
    query only the answer is stored: as `Event` objects, ten thousand simulations would be a hundred thousand Python
    objects, which would take a third of the search's time. `events` makes the objects when they are wanted.

    rows: how many rows a search has. most: the most leaves of a query, at least `rows`. asks: about how many queries
    follow. evaluate: the `EdgeQuery.evaluate` of all queries in entries; none of them has `to_end`.
    """

    def __init__(self, rows: int = 0, most: int = 0, asks: int = 0, evaluate: Evaluate = "all") -> None:
        self.rows, self.evaluate = rows, evaluate
        entries = max(1, min(asks, BUFFER_SIZE // ((REMAINING + 1) * max(1, most))))
        self.buffers = [np.empty((entries, REMAINING + 1, most), np.int32)]
        self.used = 0
        self.latest: EdgeQuery | None = None
        self.items: list[Any] = []  # of a query in an entry its length, of the answer to the latest the answer

    def next_entry(self) -> Int:
        """The next unused entry, int32 [5, most]."""
        buffer = self.buffers[-1]
        if self.used == len(buffer):
            self.buffers.append(buffer := np.empty_like(buffer))
            self.used = 0
        return buffer[self.used]

    def log_entry(self, entry: Int, count: int) -> EdgeQuery:
        """Log the query of `count` leaves that was written into the next entry, and return it."""
        self.used += 1
        self.items.append(count)
        self.latest = query = self._query(entry, count)
        return query

    def _query(self, entry: Int, count: int) -> EdgeQuery:
        if count < entry.shape[1]:
            entry = entry[:, :count]
        return EdgeQuery(entry[ROW], entry[PARENT], entry[ACTION], entry[NODE_ID], False, self.evaluate)

    def log_ask(self, remaining: Int, query: EdgeQuery) -> None:
        """Log a query that is in no entry."""
        self.items.append(("ask", remaining, query))

    def log_tell(self, query: EdgeQuery, answer: Expansion) -> None:
        """Log the answer to `query`."""
        self.items.append(answer if query is self.latest else ("tell", query, answer))

    def log_drop(self, query: EdgeQuery) -> None:
        """Log that `query` was dropped."""
        self.items.append(("drop", query, None))

    def events(self) -> list[Event]:
        """All events in order; a query that was asked and told is the same object in both events."""
        entries = (entry for buffer in self.buffers for entry in buffer)
        asked, events = self.latest, []
        for item in self.items:
            if type(item) is int:
                entry = next(entries)
                asked = self._query(entry, item)
                item = ("ask", entry[REMAINING, : self.rows], asked)
            events.append(item if type(item) is tuple else ("tell", asked, item))
        return events
