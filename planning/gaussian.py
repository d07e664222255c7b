"""A Gaussian over sequences of action vectors, and the search that samples, scores and refits it.

Here live means and deviations of B problems and what has been asked and told about them. How returns become weights
is the planner's affair (`shooting.py`), what a sequence is worth the model's (`rollout.py`). All tensors are on the
device of the box; only counters are numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .interface import Bool, Box, Candidates, Expansion, Int, Keys, ModelError, Plan, Returns, Size
from .noise import coloured, fold, normals, signed

if TYPE_CHECKING:
    from .shooting import Shooting

Rows = slice | Tensor


@dataclass
class Gaussian:
    """Independent normals over sequences of actions, clipped to the box.

    mean, std: [B, H, D] in the units of the action. low, high: [D].

    Samples are clipped rather than drawn from a truncated normal: optimal torques often lie on a bound, and clipping
    puts a finite share of the samples exactly there where truncation puts none. A mean is an average of clipped
    samples, so it stays within the box too.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def fresh(cls, rows: int, horizon: int, box: Box, std: float) -> Gaussian:
        """Centred in the box; `std` is a fraction of its half-range."""
        shape = (rows, horizon, len(box.low))
        middle, half = (box.low + box.high) / 2, (box.high - box.low) / 2
        return cls(middle.expand(shape).clone(), (std * half).expand(shape).clone(), box.low, box.high)

    def sample(self, rows: Rows, noise: Tensor) -> Tensor:
        """Sequences [M, K, H, D] within the box, from standard noise of that shape."""
        wild = torch.addcmul(self.mean[rows][:, None], self.std[rows][:, None], noise)
        return torch.clamp(wild, self.low, self.high)

    def refit(
        self, rows: Rows, samples: Tensor, weights: Tensor, *, smoothing: float, least: float, adapt: bool
    ) -> None:
        """Move to the weighted mean and deviation of `samples` [M, K, H, D] under `weights` [M, K] that sum to 1.

        smoothing: share of the old mean and deviation that stays. least: floor of the deviation as a fraction of
        the half-range. adapt: False leaves the deviation alone.
        """
        share = weights[..., None, None]
        mean = (share * samples).sum(1)
        if adapt:
            std = (share * (samples - mean[:, None]).square()).sum(1).sqrt()
            std = torch.lerp(std, self.std[rows], smoothing)
            self.std[rows] = torch.maximum(std, least * (self.high - self.low) / 2)
        self.mean[rows] = torch.lerp(mean, self.mean[rows], smoothing).clamp(self.low, self.high)

    def shifted(self, steps: int, horizon: int, std: float, keep: bool) -> Gaussian:
        """The start of the next search after `steps` actions were taken: mean moved on, deviation opened again.

        Steps that no earlier plan covers repeat its last action (keep) or are the middle of the box.
        """
        fresh = Gaussian.fresh(len(self.mean), horizon, Box(self.low, self.high), std)
        rest = self.mean[:, steps : steps + horizon]
        fresh.mean[:, : rest.shape[1]] = rest
        if keep and rest.shape[1]:
            fresh.mean[:, rest.shape[1] :] = rest[:, -1:]
        return fresh


class GaussianSearch:
    """Sample candidates, weigh their returns, refit: one iteration per `ask` for every row that is free.

    planner: a `BestOfN`, `CEM` or `MPPI`. root: its `discount` 0 marks problems that are over, its `value` stands for
        the plan's until something was told. after: an earlier search of the same rows; see `advance`.

    A candidate opens H nodes (of `Model.cost`, which counts a model's particles). Rows whose rooms differ may want
    different numbers of candidates; a query holds the rows of one number, and the next `ask` has the others.
    """

    def __init__(
        self, planner: Shooting, root: Expansion, box: Box, size: Size, keys: Keys, after: Any | None = None
    ) -> None:
        self.planner, self.box, self.schedule = planner, box, planner.schedule(size)
        rows = len(keys)
        self.keys = signed(keys).to(box.low.device)
        self.taken = 0
        self.law = self._start(after, rows)
        self.best = self.law.mean.clone()
        self.best_return = self.law.mean.new_full((rows,), -torch.inf)
        self.value = torch.as_tensor(root.value).to(self.best_return).broadcast_to(rows).clone()
        self.kept = self.best[:, None].expand(-1, planner.keep, -1, -1).clone()
        self.kept_returns = self.best_return[:, None].expand(-1, planner.keep).clone()
        self.iteration, self.pending = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
        self.stamps = np.zeros(rows, dtype=np.uint64)
        over = np.broadcast_to(torch.as_tensor(root.discount).cpu().numpy() == 0, rows)
        self._why = np.where(over, "exhausted", "").astype(object)

    def _start(self, after: Any | None, rows: int) -> Gaussian:
        planner, horizon = self.planner, self.schedule.horizon
        if after is None:
            return Gaussian.fresh(rows, horizon, self.box, planner.std)
        if not isinstance(after, GaussianSearch):
            raise ValueError(f"after wants an earlier search over vectors, got {type(after).__name__}")
        box = after.box
        if len(after.keys) != rows or not (torch.equal(box.low, self.box.low) and torch.equal(box.high, self.box.high)):
            raise ValueError(
                f"after was a search over {len(after.keys)} rows in {box.low.tolist()}..{box.high.tolist()}, this is "
                f"one over {rows} rows in {self.box.low.tolist()}..{self.box.high.tolist()}"
            )
        std = planner.std if planner.warm_std is None else planner.warm_std
        return Gaussian(after.plan().actions, after.law.std, box.low, box.high).shifted(
            after.taken, horizon, std, planner.repeat_last
        )

    @property
    def done(self) -> Bool:
        return np.asarray(self._why != "", dtype=np.bool_)

    @property
    def why(self) -> list[str]:
        return list(self._why)

    def advance(self, actions_taken: Any) -> None:
        """Mark actions as taken in the world, [B, D] for one step or [B, n, D] for n: the next search starts there."""
        shape = tuple(np.shape(actions_taken))
        if len(shape) not in (2, 3) or shape[0] != len(self.keys):
            raise ValueError(f"advance wants actions [B, D] or [B, n, D] with B = {len(self.keys)}, got {list(shape)}")
        self.taken += 1 if len(shape) == 2 else shape[1]

    def ask(self, room: Int) -> Candidates:
        """The next iteration of every free row (of those that want as many candidates as the first of them)."""
        free = ~self.done & (self.pending == 0)
        numbers = np.minimum(self.schedule.at(self.iteration), np.asarray(room) // self.schedule.horizon)
        self._why[free & (numbers <= 0)] = "budget"
        rows = np.flatnonzero(free & (numbers > 0))
        if not len(rows):
            return Candidates(rows.astype(np.int32), self.law.mean.new_empty(0, 0, *self.law.mean.shape[1:]))
        count = int(numbers[rows[0]])
        rows = rows[numbers[rows] == count]
        at, iteration = self._at(rows), torch.from_numpy(self.iteration[rows]).to(self.keys.device)
        sequences = self.law.sample(at, self._noise(at, iteration, count))
        self.pending[rows] = count
        self.stamps[rows] = fold(self.keys[at], iteration, 1).cpu().numpy().view(np.uint64)
        return Candidates(rows.astype(np.int32), sequences, self.stamps[rows])

    def _noise(self, at: Rows, iteration: Tensor, count: int) -> Tensor:
        mean = self.law.mean
        white = normals(self.keys[at], iteration, (count, *mean.shape[1:]), dtype=mean.dtype, device=mean.device)
        noise = coloured(white, self.planner.beta)
        if self.planner.center:
            noise[:, :1] = 0
        return noise

    def _at(self, rows: NDArray[Any]) -> Rows:
        """An index into the rows; the whole slice where it serves, which spares copies."""
        if len(rows) == len(self.keys) and bool((rows == np.arange(len(rows))).all()):
            return slice(None)
        return torch.from_numpy(rows.astype(np.int64)).to(self.keys.device)

    def tell(self, query: Candidates, answer: Returns) -> None:
        """Returns of a query, or of some of its rows, in any order.

        Errors: ValueError for rows told twice or never asked, ModelError for a wrong shape or a row without one
        finite return; then nothing was told.
        """
        rows = self._waiting(query, "tell")
        if not len(rows):
            return
        scores = self.planner.reduce(_checked(query, answer).to(self.best_return))
        at = self._at(rows)
        samples = torch.cat([self.kept[at], query.sequences], 1)
        scores = torch.cat([self.kept_returns[at], scores], 1)
        lost = rows[~torch.isfinite(scores).any(1).cpu().numpy()]
        if len(lost):
            raise ModelError(f"returns of row(s) {lost.tolist()} hold not one finite number")
        self._refit(at, samples, scores)
        self.pending[rows] = 0
        self.iteration[rows] += 1
        self._why[rows[self.schedule.at(self.iteration[rows]) == 0]] = self.schedule.why

    def _refit(self, at: Rows, samples: Tensor, scores: Tensor) -> None:
        planner = self.planner
        weights = planner.weigh(scores)
        self.law.refit(at, samples, weights, smoothing=planner.smoothing, least=planner.least_std, adapt=planner.adapt)
        self.value[at] = torch.where(weights > 0, weights * scores, 0).sum(1)
        sorted_scores, order = scores.sort(dim=1, descending=True, stable=True)
        row = torch.arange(len(scores), device=scores.device)
        better = sorted_scores[:, 0] > self.best_return[at]
        self.best[at] = torch.where(better[:, None, None], samples[row, order[:, 0]], self.best[at])
        self.best_return[at] = torch.where(better, sorted_scores[:, 0], self.best_return[at])
        keep = min(planner.keep, scores.shape[1])
        if keep:
            self.kept[at, :keep] = samples[row[:, None], order[:, :keep]]
            self.kept_returns[at, :keep] = sorted_scores[:, :keep]

    def drop(self, query: Candidates) -> None:
        """The call failed: the same candidates will be asked again."""
        self.pending[self._waiting(query, "drop")] = 0

    def _waiting(self, query: Candidates, verb: str) -> NDArray[Any]:
        """The query's rows, if each of them was asked just so and is waited for."""
        rows = np.asarray(query.row, dtype=np.int64)
        if len(np.unique(rows)) < len(rows) or (len(rows) and not 0 <= rows.min() <= rows.max() < len(self.keys)):
            raise ValueError(f"{verb} wants different rows of 0..{len(self.keys) - 1}, got {rows.tolist()}")
        stale = self.pending[rows] != query.sequences.shape[1]
        if query.keys is not None:
            stale |= self.stamps[rows] != query.keys
        if stale.any():
            raise ValueError(f"{verb}: no such answer is waited for in row(s) {rows[stale].tolist()}; told twice?")
        return rows

    def plan(self) -> Plan:
        """The mean, or the best sequence seen, as the planner's `answer` says; tensor [B, H, D] within the box."""
        told = torch.isfinite(self.best_return)
        best = self.planner.answer == "best"
        actions = torch.where(told[:, None, None] & best, self.best, self.law.mean)
        value = torch.where(told & best, self.best_return, self.value)
        rows = len(self.keys)
        return Plan(
            best=np.full(rows, -1, dtype=np.int32),
            path=[[] for _ in range(rows)],
            actions=actions,
            value=value.cpu().numpy().astype(np.float32),
            finished=[[] for _ in range(rows)],
            why=self.why,
        )


def _checked(query: Candidates, answer: Returns) -> Tensor:
    returns = torch.as_tensor(answer.returns)
    asked = tuple(query.sequences.shape[:2])
    if returns.ndim != 3 or tuple(returns.shape[:2]) != asked or returns.shape[2] == 0:
        raise ModelError(f"returns wants shape [{asked[0]}, {asked[1]}, P], got {list(returns.shape)}")
    return returns
