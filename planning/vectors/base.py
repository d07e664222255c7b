"""What searches over sequences of action vectors share: rows that end, answers that are awaited once, warm starts.

A search of its own says what to ask (`ask`), what an answer means (`tell`) and what it recommends (`plan`).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..interface import Bool, BoxActions, Expansion, Int, Keys, ModelError, Plan, SequenceQuery, WarmStartable
from ..noise import fold, signed

Rows = slice | Tensor


class SequenceSearch(WarmStartable):
    """One run over B problems whose actions are vectors; see `interface.Search`.

    root: its `discount` 0 marks problems that are over, its `value` stands for the plan's until something was told.
    keys: on the device of the box, where everything is but the counters.
    iteration: [B] queries told. pending: [B] candidates awaited. taken: actions carried out since; see `advance`.
    """

    def __init__(self, root: Expansion, box: BoxActions, keys: Keys) -> None:
        self.box, self.rows = box, len(keys)
        self.keys = signed(keys).to(box.low.device)
        self.taken = 0
        self.value = torch.as_tensor(root.value).to(box.low).broadcast_to(self.rows).clone()
        self.iteration = np.zeros(self.rows, dtype=np.int64)
        self.pending = np.zeros(self.rows, dtype=np.int64)
        self.stamps = np.zeros(self.rows, dtype=np.uint64)
        over = np.broadcast_to(torch.as_tensor(root.discount).cpu().numpy() == 0, self.rows)
        self._stop_reason = np.where(over, "exhausted", "").astype(object)

    @property
    def done(self) -> Bool:
        return np.asarray(self._stop_reason != "", dtype=np.bool_)

    @property
    def stop_reason(self) -> list[str]:
        return list(self._stop_reason)

    def advance(self, actions_taken: Any) -> None:
        """Mark actions as taken in the world, [B, D] for one step or [B, n, D] for n: the next search starts there."""
        shape = tuple(np.shape(actions_taken))
        if len(shape) not in (2, 3) or shape[0] != self.rows:
            raise ValueError(f"advance wants actions [B, D] or [B, n, D] with B = {self.rows}, got {list(shape)}")
        self.taken += 1 if len(shape) == 2 else shape[1]

    @abstractmethod
    def ask(self, remaining: Int) -> SequenceQuery:
        """The next query; see `interface.Search.ask`."""

    @abstractmethod
    def tell(self, query: Any, answer: Any) -> None:
        """Answers to a query or to some of its rows, in any order.

        Errors: ValueError for rows told twice or never asked, ModelError for a wrong shape or a row without one
        finite return; then nothing was told.
        """

    @abstractmethod
    def plan(self) -> Plan:
        """What is best so far."""

    def drop(self, query: SequenceQuery) -> None:
        """The call failed: the same will be asked again."""
        self.pending[self._waiting(query, "drop")] = 0

    def _free(self) -> Bool:
        """[B] rows that may be asked about now."""
        return np.asarray(~self.done & (self.pending == 0))

    def _await(self, rows: NDArray[Any], candidates: int) -> Keys:
        """Stamps uint64 [M] of a query about these rows, which from now on is waited for."""
        iteration = torch.from_numpy(self.iteration[rows]).to(self.keys.device)
        self.pending[rows] = candidates
        stamps: Keys = fold(self.keys[self._at(rows)], iteration, 1).cpu().numpy().view(np.uint64)
        self.stamps[rows] = stamps
        return stamps

    def _waiting(self, query: SequenceQuery, verb: str) -> NDArray[Any]:
        """The query's rows, if each of them was asked just so and is waited for."""
        rows = np.asarray(query.row, dtype=np.int64)
        if (len(rows) > 1 and len(np.unique(rows)) < len(rows)) or (
            len(rows) and not 0 <= rows.min() <= rows.max() < self.rows
        ):
            raise ValueError(f"{verb} wants different rows of 0..{self.rows - 1}, got {rows.tolist()}")
        stale = self.pending[rows] != query.sequences.shape[1]
        if query.keys is not None:
            stale |= self.stamps[rows] != query.keys
        if stale.any():
            raise ValueError(f"{verb}: no such answer is waited for in row(s) {rows[stale].tolist()}; told twice?")
        return rows

    def _told(self, rows: NDArray[Any]) -> None:
        self.pending[rows] = 0
        self.iteration[rows] += 1

    def _at(self, rows: NDArray[Any]) -> Rows:
        """An index into the rows; the whole slice where it serves, which spares copies."""
        if len(rows) == self.rows and (self.rows == 1 or bool((rows == np.arange(self.rows)).all())):
            return slice(None)
        return torch.from_numpy(rows.astype(np.int64)).to(self.keys.device)

    def _found(self, actions: Tensor, value: Tensor, gradient: Tensor | None = None) -> Plan:
        """The plan of actions [B, H, D] worth value [B]."""
        return Plan(
            best=np.full(self.rows, -1, dtype=np.int32),
            path=[[] for _ in range(self.rows)],
            actions=actions,
            value=value.cpu().numpy().astype(np.float32),
            finished=[[] for _ in range(self.rows)],
            stop_reason=self.stop_reason,
            gradient=None if gradient is None else gradient.cpu().numpy().astype(np.float32),
        )


def nothing(like: Tensor) -> SequenceQuery:
    """The query about no row, with sequences like [..., H, D]."""
    return SequenceQuery(np.zeros(0, np.int32), like.new_empty(0, 0, *like.shape[-2:]))


def carried(after: Any, rows: int, box: BoxActions, horizon: int, keep: bool) -> Tensor:
    """Sequences [B, H, D] to begin with: what is left of the plan of the search `after`, None for none.

    Steps that no earlier plan covers repeat its last action (keep) or are the middle of the box.

    Errors: ValueError for a search that is not over vectors, or over other rows or bounds.
    """
    if after is None:
        return ((box.low + box.high) / 2).expand(rows, horizon, -1).clone()
    earlier = getattr(after, "box", None)
    if earlier is None or not hasattr(after, "taken"):
        raise ValueError(f"after wants an earlier search over vectors, got {type(after).__name__}")
    same = earlier.low.shape == box.low.shape and torch.equal(earlier.low, box.low)
    if after.rows != rows or not (same and torch.equal(earlier.high, box.high)):
        raise ValueError(
            f"after was a search over {after.rows} rows in {earlier.low.tolist()}..{earlier.high.tolist()}, this is "
            f"one over {rows} rows in {box.low.tolist()}..{box.high.tolist()}"
        )
    return shifted(after.plan().actions, after.taken, horizon, box, keep)


def shifted(sequences: Tensor, taken: int, horizon: int, box: BoxActions, keep: bool) -> Tensor:
    """Sequences [..., H', D] without their first `taken` actions, as [..., horizon, D]; see `carried` for the end."""
    rest = sequences[..., taken : taken + horizon, :]
    middle = ((box.low + box.high) / 2).to(rest)
    end = rest[..., -1:, :] if keep and rest.shape[-2] else middle
    return torch.cat([rest, end.expand(*rest.shape[:-2], horizon - rest.shape[-2], rest.shape[-1])], -2)


def returns_of(query: SequenceQuery, answer: Any) -> Tensor:
    """The returns [M, K, P] of an answer. Errors: ModelError when they have another shape."""
    returns = torch.as_tensor(answer.returns)
    asked = tuple(query.sequences.shape[:2])
    if returns.ndim != 3 or tuple(returns.shape[:2]) != asked or returns.shape[2] == 0:
        raise ModelError(f"returns wants shape [{asked[0]}, {asked[1]}, P], got {list(returns.shape)}")
    return returns


def refuse_lost(rows: NDArray[Any], finite: Tensor) -> None:
    """ModelError naming the rows of `rows` [M] in which nothing of `finite` [M, K] holds."""
    found = finite.cpu().numpy().any(1)
    if not found.all():
        lost = rows[~found]
        raise ModelError(f"returns of row(s) {lost.tolist()} hold not one finite number")
