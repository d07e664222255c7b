"""What the searches over trees share: rows that end, answers that are written once, and a plan read off the tree.

A search of its own says what to ask (`ask`), where a row ends (`_best`, `_worth`) and how its root is weighted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from .interface import Bool, EdgeQuery, Evaluate, Expansion, Int, Plan
from .journal import Event, Notes
from .records import RUNNING, WHY, answer_leaves, give_back
from .tree import Tree


class TreeSearch(ABC):
    """One run over B problems; see `interface.Search`."""

    def __init__(self, tree: Tree, notes: Notes | None = None) -> None:
        self.tree, self.rows = tree, tree.rows
        self.why_codes = np.zeros(self.rows, np.int32)
        self.notes = Notes() if notes is None else notes

    @property
    def journal(self) -> list[Event]:
        """What was asked, told and dropped so far, in order; see `journal.py`."""
        return self.notes.events()

    @property
    def done(self) -> Bool:
        return self.why_codes != RUNNING

    @property
    def stop_reason(self) -> list[str]:
        return [WHY[c] for c in self.why_codes]

    @abstractmethod
    def ask(self, remaining: Int) -> EdgeQuery:
        """The next leaves; see `interface.Search.ask`."""

    def _asked(self, remaining: Int, out: Int, to_end: bool, evaluate: Evaluate) -> EdgeQuery:
        """The query of `out` [4, K] (row, parent, slot, node), noted in the journal."""
        query = EdgeQuery(out[0], out[1], out[2], out[3], to_end, evaluate)
        self.notes.kept.append(("ask", remaining.copy(), query))
        return query

    def tell(self, query: EdgeQuery, answer: Expansion) -> None:
        """Write the answers; ValueError for a leaf that nobody waits for, ModelError for numbers of a wrong shape."""
        bad = self._write(query, answer)
        if bad >= 0:
            raise ValueError(
                f"node {query.node[bad]} of row {query.row[bad]} is not awaited: told twice, dropped, or never asked"
            )
        self.notes.told(query, answer)

    def _write(self, query: EdgeQuery, answer: Expansion) -> int:
        """Position of the first leaf that nobody waits for, -1 if all were written."""
        tree = self.tree
        numbers = tree.numbers_of(answer, len(query.row))
        return answer_leaves(tree.I, tree.F, tree.P, query.row, query.node, *numbers)

    def drop(self, query: EdgeQuery) -> None:
        """Give leaves back that will not be answered; ValueError for one that nobody waits for."""
        for b, n in zip(query.row.tolist(), query.node.tolist()):
            if not self._give_back(b, n):
                raise ValueError(f"node {n} of row {b} is not awaited, so it cannot be dropped")
        self.notes.kept.append(("drop", query, None))

    def _give_back(self, row: int, node: int) -> bool:
        tree = self.tree
        return give_back(tree.I, tree.F, tree.P, row, node)

    def plan(self) -> Plan:
        """What is best so far."""
        tree = self.tree
        best = [self._best(b) for b in range(self.rows)]
        path = [tree.path(b, n) for b, n in enumerate(best)]
        return Plan(
            best=np.array(best, np.int32),
            path=path,
            actions=[tree.slots_along(b, p) for b, p in enumerate(path)],
            value=np.array([self._worth(b, p) for b, p in enumerate(path)], np.float32),
            weights=self.weights(),
            finished=[tree.finished(b) for b in range(self.rows)],
            stop_reason=self.stop_reason,
        )

    @abstractmethod
    def _best(self, row: int) -> int:
        """The node at which the row's plan ends."""

    @abstractmethod
    def _worth(self, row: int, path: list[int]) -> float:
        """The estimated return of a plan along this path."""

    @abstractmethod
    def weights(self) -> NDArray[np.float32]:
        """[B, A] shares of the roots' slots; they sum to 1, or to 0 in a row that has opened nothing."""


def shares(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Counts [B, A] divided by their sums in place; rows of zeros stay."""
    total = counts.sum(1, keepdims=True)
    return np.divide(counts, total, out=counts, where=total > 0)
