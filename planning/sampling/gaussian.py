"""A Gaussian over sequences of action vectors, and the search that samples from it, scores the samples and refits it.

The search holds means and deviations of B problems and the queries and answers about them. The planner
(`shooting.py`) turns returns into weights, and the model scores sequences (`rollout.py`). All tensors are on the device
of the box; only counters are numpy.

Shapes: B problems, M rows of a query, K candidates, H steps, D components of an action vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..interface import BoxActions, Expansion, Int, Keys, ModelError, Plan, Returns, SequenceQuery, Size, WarmStartable
from ..noise import coloured, normals
from ..scoring import order_of, scores_of
from ..shooting_settings import ShootingPlanner
from ..vectors.base import (
    NO_FINITE_RETURN,
    RowNumbers,
    Rows,
    SequenceSearch,
    any_finite,
    checked_returns,
    empty_query,
)
from ..vectors.warm_start import SequenceWarmStart, initial_sequences, shifted
from .weights import kernels_take, moments, refit, sample, update_best


@dataclass
class Gaussian:
    """Independent normal distributions of every component of a sequence of actions, clipped to the box.

    mean, std: [B, H, D] in the units of the action. low, high: [D].

    Samples are clipped and not drawn from a truncated normal distribution: optimal torques often lie on a bound, and
    clipping puts a finite fraction of the samples exactly there, truncation none. A mean is an average of clipped
    samples, so it stays within the box too.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, mean: Tensor, box: BoxActions, std: float) -> Gaussian:
        """With the same deviation everywhere; `std` is a fraction of the half-range of the box."""
        half = (box.high - box.low) / 2
        return cls(mean, (std * half).expand(mean.shape).clone(), box.low, box.high)

    @cached_property
    def middle(self) -> Tensor:
        """[D] of the box."""
        return (self.low + self.high) / 2

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Mean, deviation and bounds."""
        return self.mean, self.std, self.low, self.high

    @cached_property
    def arrays(self) -> tuple[NDArray[np.float32] | NDArray[np.float64], ...]:
        """`tensors` as arrays of the same memory, which stay valid because mean and deviation change in place only."""
        return tuple(each.numpy() for each in self.tensors)

    def _row_numbers(self, rows: Rows) -> NDArray[np.int64]:
        numbers: NDArray[np.int64] = rows.numpy() if isinstance(rows, Tensor) else np.arange(len(self.mean))[rows]
        return numbers

    def sample(self, rows: Rows, noise: Tensor) -> Tensor:
        """Sequences [M, K, H, D] within the box, from standard normal noise of that shape, which may be overwritten."""
        if kernels_take(noise, *self.tensors):
            noise = noise.contiguous()
            sample(self._row_numbers(rows), noise, self.arrays)
            return noise
        unbounded = torch.addcmul(self.mean[rows][:, None], self.std[rows][:, None], noise)
        return torch.minimum(torch.maximum(unbounded, self.low), self.high)  # takes a third of the time of clamp

    def refit(
        self, rows: Rows, samples: Tensor, weights: Tensor, *, smoothing: float, min_std: float, adapt_std: bool
    ) -> None:
        """Set mean and deviation to those of `samples` [M, K, H, D] under `weights` [M, K], which sum to 1.

        smoothing: fraction of the old mean and deviation that stays. min_std: lower bound of the deviation as a
        fraction of the half-range. adapt_std: False leaves the deviation as it is.
        """
        if kernels_take(samples, weights, *self.tensors):
            refit(self._row_numbers(rows), samples, weights, self.arrays, (smoothing, min_std, adapt_std))
            return
        mean, std = moments(samples, weights)
        if smoothing:
            mean, std = torch.lerp(mean, self.mean[rows], smoothing), torch.lerp(std, self.std[rows], smoothing)
        if adapt_std:
            self.std[rows] = torch.maximum(std, min_std * (self.high - self.low) / 2)
        self.mean[rows] = torch.minimum(torch.maximum(mean, self.low), self.high)


class GaussianSearch(SequenceSearch):
    """One run of `BestOfN`, `CEM`, `ICEM` or `MPPI` over vectors: each `ask` is one iteration of every idle row.

    proposal: the Gaussian that candidates are sampled from. best, best_return: the best sequence [B, H, D] so far and
    its return [B]. kept, kept_returns: the best sequences [B, keep, H, D] carried into the next iteration.
    previous_elites: [B, n, H, D] shifted sequences of the previous decision, candidates of the first iteration.

    A candidate opens H nodes (of `Model.cost`, which includes a model's particles). Rows with different nodes left may
    need different numbers of candidates; a query holds the rows of one number, and the next `ask` has the others.
    """

    def __init__(
        self,
        planner: ShootingPlanner,
        root: Expansion,
        box: BoxActions,
        size: Size,
        keys: Keys,
        after: WarmStartable | None = None,
    ) -> None:
        super().__init__(root, box, keys)
        self.planner, self.settings, self.schedule = planner, planner.vectors, planner.schedule(size)
        settings = self.settings
        mean = initial_sequences(after, self.rows, box, self.schedule.horizon, settings.repeat_last)
        std = settings.std if after is None or settings.warm_std is None else settings.warm_std
        self.proposal = Gaussian.around(mean, box, std)
        self.best = mean.clone()
        self.best_return = mean.new_full((self.rows,), -torch.inf)
        self.kept = self.best[:, None].expand(-1, planner.keep, -1, -1).clone()
        self.kept_returns = self.best_return[:, None].expand(-1, planner.keep).clone()
        self.best_violation: Tensor | None = None
        self.kept_violation: Tensor | None = None
        self.previous_elites = self._shifted_elites(after)

    def elites(self) -> tuple[Tensor, Tensor] | None:
        return (self.kept, self.kept_returns) if self.kept.shape[1] else None

    def _shifted_elites(self, after: WarmStartable | None) -> Tensor:
        """[B, n, H, D] elites of the previous search without the actions taken; missing ones are its plan."""
        elites = None if after is None else after.elites()
        if elites is None or not isinstance(after, SequenceWarmStart):
            return self.kept[:, :0]
        sequences, returns = (x[:, : self.settings.reuse_elites] for x in elites)
        evaluated = torch.isfinite(returns)[..., None, None]
        sequences = torch.where(evaluated, sequences, after.plan().vectors[:, None])
        return shifted(sequences, after.taken, self.proposal.mean.shape[1], self.box, self.settings.repeat_last)

    def ask(self, remaining: Int) -> SequenceQuery:
        """The next iteration of every idle row that needs as many candidates as the first of them."""
        idle = self._idle()
        numbers = np.minimum(self.schedule.at(self.iteration), np.asarray(remaining) // self.schedule.horizon)
        self._stop_reason[idle & (numbers <= 0)] = "budget"
        rows = np.flatnonzero(idle & (numbers > 0))
        if not len(rows):
            return empty_query(self.proposal.mean)
        count = int(numbers[rows[0]])
        rows = rows[numbers[rows] == count]
        index, iteration = self._index(rows), torch.from_numpy(self.iteration[rows]).to(self.keys.device)
        sequences = self.proposal.sample(index, self._noise(index, iteration, count))
        reused = min(self.previous_elites.shape[1], count - 1)
        if reused:
            elites = self.previous_elites[index, :reused]
            first = (iteration == 0)[:, None, None, None]
            sequences[:, -reused:] = torch.where(first, elites, sequences[:, -reused:])
        return SequenceQuery(rows.astype(np.int32), sequences, self._mark_pending(rows, count))

    def _noise(self, index: Rows, iteration: Tensor, count: int) -> Tensor:
        """Coloured standard normal noise [M, K, H, D]; 0 for the candidate that is the mean."""
        mean, include_mean = self.proposal.mean, self.settings.include_mean
        white = normals(self.keys[index], iteration, (count, *mean.shape[1:]), dtype=mean.dtype, device=mean.device)
        noise = coloured(white, self.settings.noise_beta)
        if include_mean == "last":
            noise[iteration == len(self.schedule.populations) - 1, :1] = 0
        elif include_mean:
            noise[:, :1] = 0
        return noise

    def tell(self, query: SequenceQuery, answer: Returns) -> None:
        """See `SequenceSearch.tell`."""
        rows = self._pending_rows(query, "tell")
        if not len(rows):
            return
        returns = self.planner.reduce(checked_returns(query, answer).to(self.best_return))
        violation = self._violation(answer)
        index, samples = self._index(rows), query.sequences
        if self.kept.shape[1]:
            samples = torch.cat([self.kept[index], samples], 1)
            returns = torch.cat([self.kept_returns[index], returns], 1)
            if violation is not None and self.kept_violation is not None:
                violation = torch.cat([self.kept_violation[index], violation], 1)
        self._mark_told(rows)
        valid = any_finite(returns > -torch.inf)
        if not valid.all():
            self._end_invalid(rows, valid, NO_FINITE_RETURN)
            part = torch.from_numpy(np.flatnonzero(valid)).to(returns.device)
            rows, samples, returns = rows[valid], samples[part], returns[part]
            violation = None if violation is None else violation[part]
            if not len(rows):
                return
        self._refit(rows, samples, returns, violation)
        self._stop_reason[rows[self.schedule.at(self.iteration[rows]) == 0]] = self.schedule.stop_reason

    def _violation(self, answer: Returns) -> Tensor | None:
        """[M, K] violations of the constraint, reduced over particles as returns are; None for models without one."""
        if answer.violation is None:
            return None
        if answer.violation.shape != answer.returns.shape:
            shapes = f"{list(answer.returns.shape)}, got {list(answer.violation.shape)}"
            raise ModelError(f"violation must have shape {shapes}")
        if self.best_violation is None:
            self.best_violation = torch.full_like(self.best_return, torch.inf)
            self.kept_violation = torch.full_like(self.kept_returns, torch.inf)
        return -self.planner.reduce(-answer.violation.to(self.best_return))

    def _refit(self, rows: RowNumbers, samples: Tensor, returns: Tensor, violation: Tensor | None) -> None:
        """Weigh the samples, refit the proposal, and update the best and the kept sequences."""
        planner, settings, proposal, index = self.planner, self.settings, self.proposal, self._index(rows)
        scores = scores_of(returns, violation)
        weights = planner.weigh_samples(scores, samples, proposal.mean[index], proposal.std[index], proposal.middle)
        proposal.refit(
            index, samples, weights,
            smoothing=planner.smoothing, min_std=settings.min_std, adapt_std=settings.adapt_std,
        )  # fmt: skip
        if violation is None and not planner.keep and kernels_take(samples, returns, self.best):
            update_best(rows, samples, returns, weights, (self.best, self.best_return, self.value))
            return
        self.value[index] = torch.where(weights > 0, weights * returns, 0).sum(1)
        order = order_of(returns, violation)
        self._update_best(index, samples, returns, violation, order[:, 0])
        keep = min(planner.keep, returns.shape[1])
        if keep:
            row, first = torch.arange(len(order), device=order.device)[:, None], order[:, :keep]
            self.kept[index, :keep] = samples[row, first]
            self.kept_returns[index, :keep] = returns[row, first]
            if violation is not None and self.kept_violation is not None:
                self.kept_violation[index, :keep] = violation[row, first]

    def _update_best(
        self, index: Rows, samples: Tensor, returns: Tensor, violation: Tensor | None, first: Tensor
    ) -> None:
        """Keep candidate `first` [M] of each row where it is better than the best so far."""
        row = torch.arange(len(first), device=first.device)
        top = returns[row, first]
        better = top > self.best_return[index]
        if violation is not None and self.best_violation is not None:
            over, least = violation[row, first], self.best_violation[index]
            better = (over < least) | ((over == least) & better)
            self.best_violation[index] = torch.where(better, over, least)
        self.best[index] = torch.where(better[:, None, None], samples[row, first], self.best[index])
        self.best_return[index] = torch.where(better, top, self.best_return[index])

    def plan(self) -> Plan:
        """The mean or the best sequence seen, as the planner's `answer` says; tensor [B, H, D] within the box."""
        evaluated = torch.isfinite(self.best_return)
        best = self.planner.answer == "best" or self.best_violation is not None
        actions = torch.where(evaluated[:, None, None] & best, self.best, self.proposal.mean)
        found = self._make_plan(actions, torch.where(evaluated & best, self.best_return, self.value))
        if self.best_violation is not None:
            found.violation = self.best_violation.cpu().numpy().astype(np.float32)
        return found
