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
from torch import Tensor

from .interface import Box, Candidates, Expansion, Int, Keys, Plan, Returns, Size
from .noise import coloured, normals
from .sequences import Rows, SequenceSearch, carried, nothing, refuse_lost, returns_of, shifted

if TYPE_CHECKING:
    from .shooting import Shooting


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
    def around(cls, mean: Tensor, box: Box, std: float) -> Gaussian:
        """Of one deviation everywhere; `std` is a fraction of the box's half-range."""
        half = (box.high - box.low) / 2
        return cls(mean, (std * half).expand(mean.shape).clone(), box.low, box.high)

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


class GaussianSearch(SequenceSearch):
    """Sample candidates, weigh their returns, refit: one iteration per `ask` for every row that is free.

    planner: a `BestOfN`, `CEM` or `MPPI`. root, keys: see `SequenceSearch`. after: an earlier search of the same rows.

    A candidate opens H nodes (of `Model.cost`, which counts a model's particles). Rows whose rooms differ may want
    different numbers of candidates; a query holds the rows of one number, and the next `ask` has the others.
    """

    def __init__(
        self, planner: Shooting, root: Expansion, box: Box, size: Size, keys: Keys, after: Any | None = None
    ) -> None:
        super().__init__(root, box, keys)
        self.planner, self.schedule = planner, planner.schedule(size)
        mean = carried(after, self.rows, box, self.schedule.horizon, planner.repeat_last)
        std = planner.std if after is None or planner.warm_std is None else planner.warm_std
        self.law = Gaussian.around(mean, box, std)
        self.best = mean.clone()
        self.best_return = mean.new_full((self.rows,), -torch.inf)
        self.kept = self.best[:, None].expand(-1, planner.keep, -1, -1).clone()
        self.kept_returns = self.best_return[:, None].expand(-1, planner.keep).clone()
        self.elders = self._elders(after)

    def _elders(self, after: Any | None) -> Tensor:
        """[B, C, H, D] the best sequences that the search before kept, moved on: candidates of the first iteration."""
        if not isinstance(after, GaussianSearch):
            return self.kept[:, :0]
        told = torch.isfinite(after.kept_returns[:, : self.planner.carry])[..., None, None]
        kept = torch.where(told, after.kept[:, : self.planner.carry], after.plan().actions[:, None])
        return shifted(kept, after.taken, self.law.mean.shape[1], self.box, self.planner.repeat_last)

    def ask(self, room: Int) -> Candidates:
        """The next iteration of every free row (of those that want as many candidates as the first of them)."""
        free = self._free()
        numbers = np.minimum(self.schedule.at(self.iteration), np.asarray(room) // self.schedule.horizon)
        self._why[free & (numbers <= 0)] = "budget"
        rows = np.flatnonzero(free & (numbers > 0))
        if not len(rows):
            return nothing(self.law.mean)
        count = int(numbers[rows[0]])
        rows = rows[numbers[rows] == count]
        at, iteration = self._at(rows), torch.from_numpy(self.iteration[rows]).to(self.keys.device)
        sequences = self.law.sample(at, self._noise(at, iteration, count))
        elders = min(self.elders.shape[1], count - 1)
        if elders:
            old = self.elders[at, :elders]
            sequences[:, -elders:] = torch.where((iteration == 0)[:, None, None, None], old, sequences[:, -elders:])
        return Candidates(rows.astype(np.int32), sequences, self._await(rows, count))

    def _noise(self, at: Rows, iteration: Tensor, count: int) -> Tensor:
        mean, center = self.law.mean, self.planner.center
        white = normals(self.keys[at], iteration, (count, *mean.shape[1:]), dtype=mean.dtype, device=mean.device)
        noise = coloured(white, self.planner.beta)
        if center == "last":
            noise[iteration == len(self.schedule.populations) - 1, :1] = 0
        elif center:
            noise[:, :1] = 0
        return noise

    def tell(self, query: Candidates, answer: Returns) -> None:
        """See `SequenceSearch.tell`."""
        rows = self._waiting(query, "tell")
        if not len(rows):
            return
        scores = self.planner.reduce(returns_of(query, answer).to(self.best_return))
        at = self._at(rows)
        samples = torch.cat([self.kept[at], query.sequences], 1)
        scores = torch.cat([self.kept_returns[at], scores], 1)
        refuse_lost(rows, torch.isfinite(scores))
        self._refit(at, samples, scores)
        self._told(rows)
        self._why[rows[self.schedule.at(self.iteration[rows]) == 0]] = self.schedule.why

    def _refit(self, at: Rows, samples: Tensor, scores: Tensor) -> None:
        planner, law = self.planner, self.law
        weights = planner.weigh_samples(scores, samples, law.mean[at], law.std[at], (law.low + law.high) / 2)
        law.refit(at, samples, weights, smoothing=planner.smoothing, least=planner.least_std, adapt=planner.adapt)
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

    def plan(self) -> Plan:
        """The mean, or the best sequence seen, as the planner's `answer` says; tensor [B, H, D] within the box."""
        told = torch.isfinite(self.best_return)
        best = self.planner.answer == "best"
        actions = torch.where(told[:, None, None] & best, self.best, self.law.mean)
        return self._found(actions, torch.where(told & best, self.best_return, self.value))
