"""A Gaussian over sequences of action vectors, and the search that samples, scores and refits it.

Here live means and deviations of B problems and what has been asked and told about them. How returns become weights
is the planner's affair (`shooting.py`), what a sequence is worth the model's (`rollout.py`). All tensors are on the
device of the box; only counters are numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..interface import BoxActions, Expansion, Int, Keys, ModelError, Plan, Returns, SequenceQuery, Size
from ..noise import coloured, normals
from ..scoring import order_of, scores_of
from ..vectors.base import Rows, SequenceSearch, carried, nothing, refuse_lost, returns_of, shifted
from .weights import compiled, moments, note, refit, sample

if TYPE_CHECKING:
    from ..shooting import Shooting


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
    def around(cls, mean: Tensor, box: BoxActions, std: float) -> Gaussian:
        """Of one deviation everywhere; `std` is a fraction of the box's half-range."""
        half = (box.high - box.low) / 2
        return cls(mean, (std * half).expand(mean.shape).clone(), box.low, box.high)

    @cached_property
    def middle(self) -> Tensor:
        """[D] of the box."""
        return (self.low + self.high) / 2

    @property
    def whole(self) -> tuple[Tensor, ...]:
        """Mean, deviation and bounds."""
        return self.mean, self.std, self.low, self.high

    @cached_property
    def arrays(self) -> Any:
        """The same memory as arrays: mean and deviation are only ever changed in place."""
        return tuple(each.numpy() for each in self.whole)

    def _index(self, rows: Rows) -> Any:
        return rows.numpy() if isinstance(rows, Tensor) else np.arange(len(self.mean))[rows]

    def sample(self, rows: Rows, noise: Tensor) -> Tensor:
        """Sequences [M, K, H, D] within the box, from standard noise of that shape, which may be overwritten."""
        if compiled(noise, *self.whole):
            noise = noise.contiguous()
            sample(self._index(rows), noise, self.arrays)
            return noise
        wild = torch.addcmul(self.mean[rows][:, None], self.std[rows][:, None], noise)
        return torch.minimum(torch.maximum(wild, self.low), self.high)  # a third of the time of clamp

    def refit(
        self, rows: Rows, samples: Tensor, weights: Tensor, *, smoothing: float, least: float, adapt: bool
    ) -> None:
        """Move to the weighted mean and deviation of `samples` [M, K, H, D] under `weights` [M, K] that sum to 1.

        smoothing: share of the old mean and deviation that stays. least: floor of the deviation as a fraction of
        the half-range. adapt: False leaves the deviation alone.
        """
        if compiled(samples, weights, *self.whole):
            refit(self._index(rows), samples, weights, self.arrays, (smoothing, least, adapt))
            return
        mean, std = moments(samples, weights)
        if smoothing:
            mean, std = torch.lerp(mean, self.mean[rows], smoothing), torch.lerp(std, self.std[rows], smoothing)
        if adapt:
            self.std[rows] = torch.maximum(std, least * (self.high - self.low) / 2)
        self.mean[rows] = torch.minimum(torch.maximum(mean, self.low), self.high)


class GaussianSearch(SequenceSearch):
    """Sample candidates, weigh their returns, refit: one iteration per `ask` for every row that is free.

    planner: a `BestOfN`, `CEM` or `MPPI`. root, keys: see `SequenceSearch`. after: an earlier search of the same rows.

    A candidate opens H nodes (of `Model.cost`, which counts a model's particles). Rows whose rooms differ may want
    different numbers of candidates; a query holds the rows of one number, and the next `ask` has the others.
    """

    def __init__(
        self, planner: Shooting, root: Expansion, box: BoxActions, size: Size, keys: Keys, after: Any | None = None
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
        self.best_violation: Tensor | None = None
        self.kept_violation: Tensor | None = None
        self.elders = self._elders(after)

    def _elders(self, after: Any | None) -> Tensor:
        """[B, C, H, D] the best sequences that the search before kept, moved on: candidates of the first iteration."""
        if not hasattr(after, "kept_returns") or after is None:
            return self.kept[:, :0]
        told = torch.isfinite(after.kept_returns[:, : self.planner.carry])[..., None, None]
        kept = torch.where(told, after.kept[:, : self.planner.carry], after.plan().actions[:, None])
        return shifted(kept, after.taken, self.law.mean.shape[1], self.box, self.planner.repeat_last)

    def ask(self, remaining: Int) -> SequenceQuery:
        """The next iteration of every free row (of those that want as many candidates as the first of them)."""
        free = self._free()
        numbers = np.minimum(self.schedule.at(self.iteration), np.asarray(remaining) // self.schedule.horizon)
        self._stop_reason[free & (numbers <= 0)] = "budget"
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
        return SequenceQuery(rows.astype(np.int32), sequences, self._await(rows, count))

    def _noise(self, at: Rows, iteration: Tensor, count: int) -> Tensor:
        mean, center = self.law.mean, self.planner.center
        white = normals(self.keys[at], iteration, (count, *mean.shape[1:]), dtype=mean.dtype, device=mean.device)
        noise = coloured(white, self.planner.beta)
        if center == "last":
            noise[iteration == len(self.schedule.populations) - 1, :1] = 0
        elif center:
            noise[:, :1] = 0
        return noise

    def tell(self, query: SequenceQuery, answer: Returns) -> None:
        """See `SequenceSearch.tell`."""
        rows = self._waiting(query, "tell")
        if not len(rows):
            return
        returns = self.planner.reduce(returns_of(query, answer).to(self.best_return))
        violation = self._violation(query, answer)
        at, samples = self._at(rows), query.sequences
        if self.kept.shape[1]:
            samples = torch.cat([self.kept[at], samples], 1)
            returns = torch.cat([self.kept_returns[at], returns], 1)
            if violation is not None and self.kept_violation is not None:
                violation = torch.cat([self.kept_violation[at], violation], 1)
        refuse_lost(rows, returns > -torch.inf)
        self._refit(rows, samples, returns, violation)
        self._told(rows)
        self._stop_reason[rows[self.schedule.at(self.iteration[rows]) == 0]] = self.schedule.stop_reason

    def _violation(self, query: SequenceQuery, answer: Returns) -> Tensor | None:
        """[M, K] violations of the model's constraint over particles, reduced as returns are; None without one."""
        if answer.violation is None:
            return None
        if answer.violation.shape != answer.returns.shape:
            raise ModelError(f"violation wants shape {list(answer.returns.shape)}, got {list(answer.violation.shape)}")
        if self.best_violation is None:
            self.best_violation = torch.full_like(self.best_return, torch.inf)
            self.kept_violation = torch.full_like(self.kept_returns, torch.inf)
        return -self.planner.reduce(-answer.violation.to(self.best_return))

    def _refit(self, rows: Int, samples: Tensor, returns: Tensor, violation: Tensor | None) -> None:
        planner, law, at = self.planner, self.law, self._at(rows)
        scores = scores_of(returns, violation)
        weights = planner.weigh_samples(scores, samples, law.mean[at], law.std[at], law.middle)
        law.refit(at, samples, weights, smoothing=planner.smoothing, least=planner.least_std, adapt=planner.adapt)
        if violation is None and not planner.keep and compiled(samples, returns, self.best):
            note(rows, samples, returns, weights, (self.best, self.best_return, self.value))
            return
        self.value[at] = torch.where(weights > 0, weights * returns, 0).sum(1)
        order = order_of(returns, violation)
        self._note(at, samples, returns, violation, order[:, 0])
        keep = min(planner.keep, returns.shape[1])
        if keep:
            row, first = torch.arange(len(order), device=order.device)[:, None], order[:, :keep]
            self.kept[at, :keep] = samples[row, first]
            self.kept_returns[at, :keep] = returns[row, first]
            if violation is not None and self.kept_violation is not None:
                self.kept_violation[at, :keep] = violation[row, first]

    def _note(self, at: Rows, samples: Tensor, returns: Tensor, violation: Tensor | None, first: Tensor) -> None:
        """Remember the sequence at `first` [M] where it is better than the best so far."""
        row = torch.arange(len(first), device=first.device)
        top = returns[row, first]
        better = top > self.best_return[at]
        if violation is not None and self.best_violation is not None:
            over, least = violation[row, first], self.best_violation[at]
            better = (over < least) | ((over == least) & better)
            self.best_violation[at] = torch.where(better, over, least)
        self.best[at] = torch.where(better[:, None, None], samples[row, first], self.best[at])
        self.best_return[at] = torch.where(better, top, self.best_return[at])

    def elites(self) -> tuple[Tensor, Tensor]:
        return self.kept, self.kept_returns

    def plan(self) -> Plan:
        """The mean, or the best sequence seen, as the planner's `answer` says; tensor [B, H, D] within the box."""
        told = torch.isfinite(self.best_return)
        best = self.planner.answer == "best" or self.best_violation is not None
        actions = torch.where(told[:, None, None] & best, self.best, self.law.mean)
        found = self._found(actions, torch.where(told & best, self.best_return, self.value))
        if self.best_violation is not None:
            found.violation = self.best_violation.cpu().numpy().astype(np.float32)
        return found
