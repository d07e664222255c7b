"""What all searches over trees share: rows that stop, answers written once, and a plan read off the tree.

A search adds what to ask (`ask`), the node at which a plan ends (`_best`), the value of the plan (`_value`), and how
the actions of the root are weighted (`weights`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from ..event_log import Event, EventLog
from ..interface import Bool, EdgeQuery, Evaluate, Expansion, Int, Plan
from ..scoring import negative_discount
from .leaves import NEGATIVE_DISCOUNT, answer_leaves, cancel_leaf
from .nodes import INVALID, RUNNING, STOP_REASONS
from .tree import Tree


class TreeSearch(ABC):
    """One run over B problems; see `interface.Search`."""

    def __init__(self, tree: Tree, log: EventLog | None = None) -> None:
        self.tree, self.rows = tree, tree.rows
        self.stop_codes = np.zeros(self.rows, np.int32)
        if tree.faults:
            self.stop_codes[list(tree.faults)] = INVALID
        self.log = EventLog() if log is None else log

    @property
    def journal(self) -> list[Event]:
        """What was asked, told and dropped so far, in order; see `journal.py`."""
        return self.log.events()

    @property
    def done(self) -> Bool:
        return self.stop_codes != RUNNING

    @property
    def stop_reason(self) -> list[str]:
        return [STOP_REASONS[code] for code in self.stop_codes]

    @abstractmethod
    def ask(self, remaining: Int) -> EdgeQuery:
        """The next leaves; see `interface.Search.ask`."""

    def _asked(self, remaining: Int, leaves: Int, to_end: bool, evaluate: Evaluate) -> EdgeQuery:
        """The logged query of `leaves` [4, K] (row, parent, action, node)."""
        query = EdgeQuery(leaves[0], leaves[1], leaves[2], leaves[3], to_end, evaluate)
        self.log.log_ask(remaining.copy(), query)
        return query

    def tell(self, query: EdgeQuery, answer: Expansion) -> None:
        """Write the answers.

        Errors: ValueError for a leaf that is not awaited, ModelError for numbers of a wrong shape.
        """
        bad = self._write(query, answer)
        if bad == NEGATIVE_DISCOUNT:
            raise ValueError(negative_discount(type(self).__name__))
        if bad >= 0:
            raise ValueError(
                f"node {query.node[bad]} of row {query.row[bad]} is not awaited: told twice, dropped, or never asked"
            )
        self.log.log_tell(query, answer)

    def _write(self, query: EdgeQuery, answer: Expansion) -> int:
        """Write the answers; the position of the first leaf that is not awaited, -1 if all were written."""
        tree = self.tree
        numbers = tree.arrays_of(answer, len(query.row))
        return answer_leaves(tree.block, tree.priors, query.row, query.node, *numbers)

    def drop(self, query: EdgeQuery) -> None:
        """Cancel leaves that will not be answered.

        Errors: ValueError for one that is not awaited.
        """
        for b, n in zip(query.row.tolist(), query.node.tolist()):
            if not self._cancel(b, n):
                raise ValueError(f"node {n} of row {b} is not awaited, so it cannot be dropped")
        self.log.log_drop(query)

    def _cancel(self, row: int, node: int) -> bool:
        """Remove an awaited leaf; False if it is not awaited."""
        return cancel_leaf(self.tree.block, self.tree.priors, row, node)

    def plan(self) -> Plan:
        """What is best so far."""
        tree = self.tree
        best = [self._best(b) for b in range(self.rows)]
        path = [tree.path(b, n) for b, n in enumerate(best)]
        return Plan(
            best=np.array(best, np.int32),
            path=path,
            actions=[tree.actions_along(b, p) for b, p in enumerate(path)],
            value=np.array([self._value(b, p) for b, p in enumerate(path)], np.float32),
            weights=self.weights(),
            finished=[tree.finished(b) for b in range(self.rows)],
            stop_reason=self.stop_reason,
            faults=dict(tree.faults),
        )

    @abstractmethod
    def _best(self, row: int) -> int:
        """The node at which the row's plan ends."""

    @abstractmethod
    def _value(self, row: int, path: list[int]) -> float:
        """The estimated return of a plan along this path."""

    @abstractmethod
    def weights(self) -> NDArray[np.float32]:
        """[B, A] weights of the roots' actions; they sum to 1, or to 0 in a row that has opened nothing."""


def normalized(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Counts [B, A] divided by their sums in place; rows of zeros stay."""
    total = counts.sum(1, keepdims=True)
    return np.divide(counts, total, out=counts, where=total > 0)
