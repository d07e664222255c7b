"""Budgets and what has been paid: caps per problem, reservations for calls under way, charged and spent.

*Charged* is what a planner would have paid alone, and all that caps and comparisons look at. *Spent* is what the
engine did. Caps in nodes, calls and tokens are hard: the most a call may use is reserved before it is made. Seconds
are a stop time: nothing starts after it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from .interface import UNITS, Int, Size, Usage

NODES, CALLS, GENERATED = UNITS.index("nodes"), UNITS.index("model_calls"), UNITS.index("generated_tokens")
SECONDS = UNITS.index("seconds")
MOST_NODES = 65_536
PLAIN = np.zeros(len(UNITS))
PLAIN[[NODES, CALLS]] = 1


@dataclass(frozen=True)
class Budget:
    """Caps per problem; at least one. `seconds` is a stop time for the whole call, the others are exact."""

    nodes: int | None = None
    model_calls: int | None = None
    generated_tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        caps = (self.nodes, self.model_calls, self.generated_tokens, self.seconds)
        if all(cap is None for cap in caps):
            raise ValueError("a Budget needs at least one of nodes, model_calls, generated_tokens, seconds")
        if any(cap is not None and cap <= 0 for cap in caps):
            raise ValueError(f"a Budget's caps must be positive, got {self}")

    def size(self, cost: int = 1) -> Size:
        """How large a search over a model of that `cost` may grow."""
        bounds = [c for c in (self.model_calls, self.generated_tokens) if c is not None]
        nodes = min([*bounds, MOST_NODES] if self.nodes is None else [*bounds, self.nodes // cost])
        return Size(nodes, exact=self.nodes is not None)


class Ledger:
    """What `rows` problems have reserved, been charged and spent under one budget."""

    def __init__(self, budget: Budget, rows: int, cost: int = 1, most_tokens: int = 0) -> None:
        self.budget, self.rows = budget, rows
        self.most = np.zeros(len(UNITS))
        self.most[[NODES, CALLS, GENERATED]] = cost, cost, most_tokens
        self.charged, self.spent, self.closing = (np.zeros((rows, len(UNITS))) for _ in range(3))
        self.caps = [
            (unit, cap)
            for unit, cap in ((NODES, budget.nodes), (CALLS, budget.model_calls), (GENERATED, budget.generated_tokens))
            if cap is not None and self.most[unit] > 0
        ]
        self.begun = time.perf_counter()
        self.flying = np.zeros(rows, np.int64)
        self._room: Int | None = None

    def late(self) -> bool:
        """Whether the stop time has passed."""
        return self.budget.seconds is not None and time.perf_counter() - self.begun >= self.budget.seconds

    def room(self) -> Int:
        """[B] how many new nodes each row may still open, calls under way counted at their most."""
        if self.late():
            return np.zeros(self.rows, np.int32)
        if self._room is None:
            room = np.full(self.rows, float(MOST_NODES))
            for unit, cap in self.caps:
                most = self.most[unit]
                room = np.minimum(room, (cap - self.charged[:, unit] - self.flying * most) // most)
            self._room = np.maximum(room, 0).astype(np.int32)
        return self._room

    def reserve(self, query: Any) -> None:
        """Set aside the most that the call for `query` may cost."""
        counts = np.bincount(query.row, minlength=self.rows)
        self.flying += counts
        if self._room is not None:
            self._room = self._room - counts.astype(np.int32)

    def release(self, query: Any) -> None:
        """Give a reservation back: the call failed or is about to be charged."""
        self.flying -= np.bincount(query.row, minlength=self.rows)
        self._room = None

    def charge(self, query: Any, usage: Usage | None, spent: Usage | None = None) -> None:
        """Book the answer to a reserved query; usage None is one node and one call each."""
        counts = np.bincount(query.row, minlength=self.rows)
        self.flying -= counts
        if usage is None:
            self.charged += counts[:, None] * PLAIN
            self.spent += counts[:, None] * PLAIN
            if self.most[NODES] != 1 or len(self.caps) != 1 or self.caps[0][0] != NODES:
                self._room = None
            return
        np.add.at(self.charged, query.row, usage)
        np.add.at(self.spent, query.row, usage if spent is None else spent)
        self._room = None
