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
from .jit import njit

NODES, CALLS, GENERATED = UNITS.index("nodes"), UNITS.index("model_calls"), UNITS.index("generated_tokens")
SECONDS = UNITS.index("seconds")
CHARGED, SPENT = range(2)
"""The two bills of a ledger, float64 [2, B, units]."""
PLAINLY, FLYING, ROOM = range(3)
"""Its counts, int32 [3, B]: answers of one node and one call, calls under way, how many more there is room for."""
MOST_NODES = 65_536
"""As large as a search grows whose budget is not in nodes."""

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


@njit
def shift(counts: Any, to: int, off: int, row: Any) -> None:
    """One unit from line `off` to line `to` of the counts for each row named."""
    for b in row:
        counts[to, b] += 1
        counts[off, b] -= 1


@njit
def add(bills: Any, row: Any, usage: Any, paid: Any) -> None:
    """Rows of usage [K, units] put to what is charged, and of what the engine did to what is spent."""
    for k in range(len(row)):
        for unit in range(bills.shape[2]):
            bills[CHARGED, row[k], unit] += usage[k, unit]
            bills[SPENT, row[k], unit] += paid[k, unit]


@njit
def reckon(bills: Any, counts: Any, caps: Any, most: int) -> None:
    """Fill in the room: how many calls fit under every cap [C] (unit, cap, most of a call) with those under way."""
    for b in range(counts.shape[1]):
        left = float(most)
        for c in range(len(caps)):
            unit, cap, each = int(caps[c, 0]), caps[c, 1], caps[c, 2]
            one = counts[PLAINLY, b] if unit in (NODES, CALLS) else 0
            left = min(left, (cap - bills[CHARGED, b, unit] - one - counts[FLYING, b] * each) // each)
        counts[ROOM, b] = max(left, 0.0)


@njit
def settle(bills: Any, counts: Any, caps: Any, most: int, row: Any, usage: Any, paid: Any) -> None:
    """What was reserved for these rows is booked as `add` does, and the room is reckoned anew."""
    add(bills, row, usage, paid)
    for b in row:
        counts[FLYING, b] -= 1
    reckon(bills, counts, caps, most)


class Ledger:
    """What `rows` problems have reserved, been charged and spent under one budget."""

    def __init__(self, budget: Budget, rows: int, cost: int = 1, most_tokens: int = 0) -> None:
        self.budget, self.rows = budget, rows
        self._bills, self._counts = np.zeros((2, rows, len(UNITS))), np.zeros((3, rows), np.int32)
        self._cost = cost
        caps = (
            (NODES, budget.nodes, cost),
            (CALLS, budget.model_calls, 1),
            (GENERATED, budget.generated_tokens, most_tokens),
        )
        known = [each for each in caps if each[1] is not None and each[2] > 0]
        self._caps = np.array(known, float).reshape(-1, 3)
        self.begun = time.perf_counter()
        self._most = MOST_NODES if budget.nodes is None else min(budget.nodes // cost, np.iinfo(np.int32).max)
        self._remaining = self._counts[ROOM]
        self._reckon()

    @property
    def charged(self) -> Usage:
        """[B, units] what these plans would have paid alone."""
        return self._bills[CHARGED] + self._counts[PLAINLY, :, None] * PLAIN

    @property
    def spent(self) -> Usage:
        """[B, units] what the engine did."""
        return self._bills[SPENT] + self._counts[PLAINLY, :, None] * PLAIN

    def late(self) -> bool:
        """Whether the stop time has passed."""
        return self.budget.seconds is not None and time.perf_counter() - self.begun >= self.budget.seconds

    def remaining(self) -> Int:
        """[B] how many new nodes each row may still open, calls under way counted at their most."""
        return np.zeros(self.rows, np.int32) if self.late() else self._remaining

    def _reckon(self) -> None:
        reckon(self._bills, self._counts, self._caps, self._most)

    def reserve(self, query: Any) -> None:
        """Set aside the most that the call for `query` may cost."""
        shift(self._counts, FLYING, ROOM, query.row)

    def release(self, query: Any) -> None:
        """Give a reservation back: the call failed."""
        shift(self._counts, ROOM, FLYING, query.row)

    def charge(self, query: Any, usage: Usage | None, spent: Usage | None = None) -> None:
        """Book the answer to a reserved query; usage None is one node and one call each."""
        if usage is None:
            shift(self._counts, PLAINLY, FLYING, query.row)
            if self._cost > 1:
                self._reckon()
            return
        usage = np.asarray(usage, float)
        paid = usage if spent is None else np.asarray(spent, float)
        settle(self._bills, self._counts, self._caps, self._most, query.row, usage, paid)

    def book(self, row: Int, usage: Usage, spent: Usage | None = None) -> None:
        """Charge rows for what was not reserved, such as the start."""
        usage = np.asarray(usage, float)
        add(self._bills, row, usage, usage if spent is None else np.asarray(spent, float))
