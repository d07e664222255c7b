"""Budgets, and a ledger of what was reserved, charged and spent under one.

*Charged* is what a planner would have paid as if alone, and caps and comparisons look at nothing else. *Spent* is the
actual cost. Caps in nodes, calls and tokens are hard: the most that a call may cost is reserved before it is made.
Seconds are a stop time: no call starts after it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .interface import Int, ModelError, Query, Size, Usage
from .settings_checks import check_integers, check_numbers
from .usage import GENERATED_TOKENS, MODEL_CALLS, NODES, ONE_STEP_USAGE, UNITS, no_usage

MAX_NODES = 65_536
"""The largest search under a budget that is not in nodes."""

PerRow = NDArray[np.int64]
RealPerRow = NDArray[np.float64]
Counts = PerRow | int
"""A number per row [B], or one number that holds for all rows."""


@dataclass(frozen=True)
class Budget:
    """Caps per problem; at least one.

    nodes: reached states; in control one evaluation of the model. model_calls: calls of a language model.
    generated_tokens: tokens that it writes. These are exact. seconds: of wall time, a stop time for the whole call.

    Errors: ValueError for no cap, and for one that is no positive integer (`seconds`: no positive number).
    """

    nodes: int | None = None
    model_calls: int | None = None
    generated_tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        caps = (self.nodes, self.model_calls, self.generated_tokens, self.seconds)
        if all(cap is None for cap in caps):
            raise ValueError("a Budget needs at least one of nodes, model_calls, generated_tokens, seconds")
        check_integers(self, 1, "nodes", "model_calls", "generated_tokens", optional=True)
        check_numbers(self, "seconds", above=0, optional=True)

    def size(self, cost: int = 1) -> Size:
        """How large a search over a model of that `cost` may grow."""
        bounds = [c for c in (self.model_calls, self.generated_tokens) if c is not None]
        nodes = min([*bounds, MAX_NODES] if self.nodes is None else [*bounds, self.nodes // cost])
        return Size(nodes, exact=self.nodes is not None)


def budget_of(given: Budget | int) -> Budget:
    """A budget; a number means nodes."""
    return given if isinstance(given, Budget) else Budget(nodes=given)


@dataclass(frozen=True)
class Cap:
    """A hard cap on one unit of usage. most: the most of it that one call may cost."""

    unit: int
    cap: int
    most: int


class Ledger:
    """What `rows` problems have reserved, been charged and spent under one budget.

    cost: nodes that one edge may be charged. most_tokens: the most tokens that one edge may generate.
    """

    def __init__(self, budget: Budget, rows: int, cost: int = 1, most_tokens: int = 0) -> None:
        self.budget, self.rows = budget, rows
        self._charged, self._spent = no_usage(rows), no_usage(rows)  # without the answers counted next
        self._one_step_answers: Counts = 0
        self._in_flight: Counts = 0
        caps = (
            (NODES, budget.nodes, cost),
            (MODEL_CALLS, budget.model_calls, 1),
            (GENERATED_TOKENS, budget.generated_tokens, most_tokens),
        )
        self._caps = [Cap(unit, cap, most) for unit, cap, most in caps if cap is not None and most > 0]
        self._reserved_exactly = all(cap.most == ONE_STEP_USAGE[cap.unit] for cap in self._caps)
        """Whether an answer of one node and one call costs what was reserved, so that its charge changes nothing."""
        self._started = time.perf_counter()
        self._largest = MAX_NODES if budget.nodes is None else min(budget.nodes // cost, np.iinfo(np.int32).max)
        self._query: Query | None = None
        self._query_counts: Counts = 0
        self._every_row = np.arange(rows, dtype=np.int32).tobytes()
        self._remaining: Int = np.zeros(rows, np.int32)
        self._update_remaining()
        self._same_remaining: int | None = int(self._remaining[0]) if rows else None
        """What remains to each row as long as that is the same for all, since one number is faster than an array."""

    @property
    def charged(self) -> Usage:
        """[B, units] what these plans would have paid as if alone."""
        return self._charged + self._one_step_usage()

    @property
    def spent(self) -> Usage:
        """[B, units] what these plans actually cost."""
        return self._spent + self._one_step_usage()

    def _one_step_usage(self) -> Usage:
        """[B, units] of the answers that cost one node and one call each."""
        return np.multiply.outer(np.broadcast_to(self._one_step_answers, self.rows), ONE_STEP_USAGE)

    def late(self) -> bool:
        """Whether the stop time has passed."""
        return self.budget.seconds is not None and time.perf_counter() - self._started >= self.budget.seconds

    def remaining(self) -> Int:
        """[B] how many new nodes each row may still open, calls in flight counted at the most they may cost."""
        if self.budget.seconds is None:
            return self._remaining
        return np.zeros(self.rows, np.int32) if self.late() else self._remaining

    def reserve(self, query: Query) -> None:
        """Set aside the most that the call for `query` may cost."""
        counts = self._counts(query)
        self._in_flight = self._in_flight + counts
        if isinstance(counts, int) and self._same_remaining is not None:
            self._same_remaining -= counts
            self._remaining.fill(self._same_remaining)
        else:
            self._same_remaining = None
            self._remaining -= counts

    def release(self, query: Query) -> None:
        """Give a reservation back: the call failed."""
        counts = self._counts(query)
        self._in_flight = self._in_flight - counts
        self._update_remaining()

    def charge(self, query: Query, usage: Usage | None, spent: Usage | None = None) -> None:
        """Book the answer to a reserved query; usage None is one node and one call each."""
        counts = self._counts(query)
        self._in_flight = self._in_flight - counts
        if usage is None:
            self._one_step_answers = self._one_step_answers + counts
            if not self._reserved_exactly:
                self._update_remaining()
        else:
            self.book(query.row, usage, spent)

    def book(self, row: Int, usage: Usage, spent: Usage | None = None) -> None:
        """Charge rows [K] for what was not reserved, such as the start.

        usage, spent: [K, units]. Errors: ModelError for another shape, and for costs that are negative or not
        finite.
        """
        for name, given in (("usage", usage), ("spent", spent)):
            if given is not None and np.shape(given) != (len(row), len(UNITS)):
                raise ModelError(f"the model's {name} has shape {np.shape(given)}, expected {(len(row), len(UNITS))}")
            if given is not None and len(row) and not 0 <= given.min() <= given.max() < np.inf:
                raise ModelError(f"the model's {name} holds a cost that is negative or not finite")
        # adding all rows in order, as in lock step, is much faster than adding them by index
        index = None if row.tobytes() == self._every_row else row
        add_rows(self._charged, index, usage)
        add_rows(self._spent, index, usage if spent is None else spent)
        self._update_remaining()

    def _counts(self, query: Query) -> Counts:
        """How many entries of the query each row has; computed once for the reservation and the charge."""
        if self._query is not query:
            every = query.row.tobytes() == self._every_row
            self._query, self._query_counts = query, 1 if every else np.bincount(query.row, minlength=self.rows)
        return self._query_counts

    def _update_remaining(self) -> None:
        """Set how many calls of each row fit under every cap beside those in flight."""
        self._same_remaining = None
        left: RealPerRow | int = self._largest
        for cap in self._caps:
            booked = self._in_flight * cap.most
            if ONE_STEP_USAGE[cap.unit]:
                booked = booked + self._one_step_answers
            left = np.minimum(left, ((cap.cap - booked) - self._charged[:, cap.unit]) / cap.most)
        self._remaining[:] = np.maximum(left, 0)


def add_rows(total: Usage, row: Int | None, usage: Usage) -> None:
    """Add each row of `usage` [K, units] to the row of `total` [B, units] that `row` [K] names; rows may repeat.

    row: None for all rows in order.
    """
    if row is None:
        total += usage
        return
    units = total.shape[1]
    index = row.astype(np.int64)[:, None] * units + np.arange(units)
    np.add.at(total.reshape(-1), index.ravel(), usage.ravel())  # numpy is fast for add.at in one dimension only
