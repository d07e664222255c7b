"""The base class of searches over sequences of action vectors: rows that await answers, and checks of answers.

A search adds what to ask (`ask`), how to use an answer (`tell`) and what to recommend (`plan`).

Shapes: B problems (rows), M rows of one query, K candidates, P particles, H steps, D components of an action vector.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..interface import Bool, BoxActions, Expansion, Int, Keys, ModelError, Plan, Returns, SequenceQuery
from ..noise import fold, signed
from .warm_start import SequenceWarmStart

Rows = slice | Tensor  # type: ignore[explicit-any]  # of any bounds
"""An index into the rows of tensors."""

RowNumbers = NDArray[np.int64]


class SequenceSearch(SequenceWarmStart):
    """One run over B problems whose actions are vectors; see `interface.Search`.

    root: rows with `discount` 0 are over before they began; `value` is the plan's value until an answer was told.
    keys: int64 [B], on the device of the box, as are all tensors of the search; its counters are numpy arrays.
    iteration: [B] answers told. pending: [B] candidates that await an answer. query_keys: [B] keys of the latest query.
    faults: what was wrong with the answers about rows that ended as "invalid".
    most_nodes: the most nodes per row that the search can use, where it is known before it begins.
    """

    most_nodes: int | None = None

    def __init__(self, root: Expansion, box: BoxActions, keys: Keys) -> None:
        super().__init__(box, len(keys))
        self.keys = signed(keys).to(box.low.device)
        self.value = torch.as_tensor(root.value).to(box.low).broadcast_to(self.rows).clone()
        self.iteration = np.zeros(self.rows, dtype=np.int64)
        self.pending = np.zeros(self.rows, dtype=np.int64)
        self.query_keys = np.zeros(self.rows, dtype=np.uint64)
        over = np.broadcast_to(torch.as_tensor(root.discount).cpu().numpy() == 0, self.rows)
        self._stop_reason = np.where(over, "exhausted", "").astype(object)
        self.faults: dict[int, str] = {}

    @property
    def done(self) -> Bool:
        return np.asarray(self._stop_reason != "", dtype=np.bool_)

    @property
    def evaluated(self) -> Bool:
        """[B] rows that were told an answer."""
        return np.asarray(self.iteration > 0)

    @property
    def stop_reason(self) -> list[str]:
        return list(self._stop_reason)

    @abstractmethod
    def ask(self, remaining: Int) -> SequenceQuery:
        """The next query; see `interface.Search.ask`."""

    @abstractmethod
    def tell(self, query: SequenceQuery, answer: Returns) -> None:
        """The answer to a query or to some of its rows, in any order.

        A row without a finite return ends as "invalid", and the others go on.

        Errors: ValueError for rows told twice or never asked, ModelError for a wrong shape; after an error the search
        is unchanged.
        """

    @abstractmethod
    def plan(self) -> Plan:
        """The best plan so far."""

    def drop(self, query: SequenceQuery) -> None:
        """The call failed: the same query will be asked again."""
        self.pending[self._pending_rows(query, "drop")] = 0

    def _idle(self) -> Bool:
        """[B] rows that are not done and await no answer."""
        return np.asarray(~self.done & (self.pending == 0))

    def _mark_pending(self, rows: RowNumbers, candidates: int) -> Keys:
        """The keys uint64 [M] of a query about `rows`, which from now on await its answer."""
        iteration = torch.from_numpy(self.iteration[rows]).to(self.keys.device)
        self.pending[rows] = candidates
        keys: Keys = fold(self.keys[self._index(rows)], iteration, 1).cpu().numpy().view(np.uint64)
        self.query_keys[rows] = keys
        return keys

    def _pending_rows(self, query: SequenceQuery, verb: str) -> NDArray[np.int64]:
        """The rows of the query. Errors: ValueError for a row that does not await the answer to this very query."""
        rows = np.asarray(query.row, dtype=np.int64)
        if (len(rows) > 1 and len(np.unique(rows)) < len(rows)) or (
            len(rows) and not 0 <= rows.min() <= rows.max() < self.rows
        ):
            raise ValueError(f"{verb} takes different rows of 0..{self.rows - 1}, got {rows.tolist()}")
        stale = self.pending[rows] != query.sequences.shape[1]
        if query.keys is not None:
            stale |= self.query_keys[rows] != query.keys
        if stale.any():
            raise ValueError(f"{verb}: row(s) {rows[stale].tolist()} await no answer to this query; was it told twice?")
        return rows

    def _mark_told(self, rows: RowNumbers) -> None:
        self.pending[rows] = 0
        self.iteration[rows] += 1

    def _end_invalid(self, rows: RowNumbers, valid: Bool, fault: str) -> None:
        """End those of `rows` [M] that are not `valid` [M], because of this fault in the model's answers."""
        ended = rows[~valid]
        self._stop_reason[ended] = "invalid"
        self.faults |= dict.fromkeys(ended.tolist(), fault)

    def _index(self, rows: RowNumbers) -> Rows:
        """`rows` as an index into tensors; the full slice where these are all rows, because it copies nothing."""
        if len(rows) == self.rows and (self.rows == 1 or bool((rows == np.arange(self.rows)).all())):
            return slice(None)
        return torch.from_numpy(rows.astype(np.int64)).to(self.keys.device)

    def _make_plan(self, actions: Tensor, value: Tensor, gradient: Tensor | None = None) -> Plan:
        """The plan of actions [B, H, D] with estimated returns [B] and certificates [B]."""
        return Plan(
            best=np.full(self.rows, -1, dtype=np.int32),
            path=[[] for _ in range(self.rows)],
            actions=actions,
            value=value.cpu().numpy().astype(np.float32),
            finished=[[] for _ in range(self.rows)],
            stop_reason=self.stop_reason,
            gradient=None if gradient is None else gradient.cpu().numpy().astype(np.float32),
            faults=dict(self.faults),
        )


def empty_query(like: Tensor) -> SequenceQuery:
    """A query about no row, with sequences of the steps and components of `like` [..., H, D]."""
    return SequenceQuery(np.zeros(0, np.int32), like.new_empty(0, 0, *like.shape[-2:]))


def checked_returns(query: SequenceQuery, answer: Returns) -> Tensor:
    """The returns [M, K, P] of an answer. Errors: ModelError for another shape."""
    returns = torch.as_tensor(answer.returns)
    asked = tuple(query.sequences.shape[:2])
    if returns.ndim != 3 or tuple(returns.shape[:2]) != asked or returns.shape[2] == 0:
        raise ModelError(f"returns must have shape [{asked[0]}, {asked[1]}, P], got {list(returns.shape)}")
    return returns


NO_FINITE_RETURN = "the model gave no candidate a finite return"


def any_finite(finite: Tensor) -> Bool:
    """[M] rows of which `finite` [M, K] is true somewhere."""
    found: Bool = finite.any(1).cpu().numpy()
    return found
