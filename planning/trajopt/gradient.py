"""Gradient shooting: ascend the gradient of the return by the actions, with Adam or L-BFGS.

Several sequences of each problem are improved side by side, and each step is clipped to the box (projected gradients);
the best sequence that was scored is the plan. Gradients come from one backward pass through all steps
(`vectors/queries.py`); L-BFGS is in `lbfgs.py`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..interface import (
    ActionSpace,
    Bool,
    BoxActions,
    Expansion,
    Int,
    Keys,
    ModelError,
    Plan,
    Returns,
    SequenceQuery,
    Size,
    WarmStartable,
)
from ..noise import coloured, normals
from ..settings_checks import check_choices, check_flags, check_integers, check_numbers
from ..vectors.base import (
    NO_FINITE_RETURN,
    RowNumbers,
    Rows,
    SequenceSearch,
    any_finite,
    checked_returns,
    empty_query,
)
from ..vectors.queries import Gradients, ReturnGradients, gradients_nodes
from ..vectors.risk import Risk, at_risk, check_risk
from ..vectors.warm_start import initial_sequences
from .lbfgs import LBFGS


@dataclass(frozen=True, kw_only=True)
class GradientShooting:
    """Maximise the return over action sequences with Adam (Kingma and Ba 2015) or L-BFGS (Nocedal and Wright 2006,
    section 7.2).

    horizon: H, actions in a sequence; shortened to a smaller budget. iterations: the most gradients of a sequence.
    starts: sequences of a problem; the first begins with the plan of `after`, any search over vectors, or the middle of
        the box, the others with noise around it. std, noise_beta: deviation of the noise, as a fraction of the
        half-range, and its exponent (see `GaussianSettings`).
    optimiser: "adam" or "lbfgs". L-BFGS needs far fewer gradients where returns are smooth; Adam is robust where they
        have kinks. A step that L-BFGS tries and rejects costs a gradient like any other.
    rate: Adam's learning rate, as a fraction of the half-range, annealed to a hundredth by a cosine schedule; for
        L-BFGS the largest change of an action by the first step. memory: pairs that L-BFGS keeps.
    tolerance: it has converged when `Plan.gradient` is at most this fraction of |return|, in any unit of the reward.
        L-BFGS has so too when its next step from the best sequence changes no action by more than this fraction of its
        half-range and promises no more than the square of it, of |return|; or no more than rounding errors of the
        return.
    risk, repeat_last: as in `Shooting` and `GaussianSettings`. A gradient costs 3 H nodes.
    """

    horizon: int = 20
    iterations: int = 100
    starts: int = 4
    std: float = 0.5
    noise_beta: float = 1.0
    optimiser: Literal["adam", "lbfgs"] = "adam"
    rate: float = 0.2
    memory: int = 10
    tolerance: float = 1e-4
    risk: Risk = "mean"
    repeat_last: bool = True

    def __post_init__(self) -> None:
        check_choices(self, optimiser=("adam", "lbfgs"))
        check_integers(self, 1, "horizon", "iterations", "starts", "memory")
        check_numbers(self, "std", "tolerance", "rate", least=0)
        check_numbers(self, "noise_beta")
        check_flags(self, "repeat_last")
        check_risk(self.risk)

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: WarmStartable | None = None
    ) -> GradientSearch:
        """See `Planner.begin`. Errors: ValueError for indexed actions."""
        if not isinstance(actions, BoxActions):
            raise ValueError(
                f"GradientShooting plans vectors within BoxActions, got {actions}; plan over indices with MCTS"
            )
        return GradientSearch(self, root, actions, size, keys, after)


class GradientSearch(SequenceSearch):
    """One run; see `interface.Search`. Each `ask` is one gradient of all sequences of every idle row.

    best [B, H, D], best_return [B], gradient [B]: the best sequence so far, its return and its certificate. `optimizer`
    works on actions in half-ranges from the middle of the box, so in [-1, 1].
    """

    def __init__(
        self,
        planner: GradientShooting,
        root: Expansion,
        box: BoxActions,
        size: Size,
        keys: Keys,
        after: WarmStartable | None = None,
    ) -> None:
        super().__init__(root, box, keys)
        self.planner = planner
        horizon = max(1, min(planner.horizon, size.nodes // 3))
        starts = max(1, min(planner.starts, size.nodes // (3 * horizon)))
        self.iterations = max(1, min(planner.iterations, size.nodes // (3 * horizon * starts)))
        self.middle, self.half_range = (box.low + box.high) / 2, (box.high - box.low) / 2
        self.best = initial_sequences(after, self.rows, box, horizon, planner.repeat_last)
        self.best_return = torch.full_like(self.value, -torch.inf)
        self.gradient = torch.full_like(self.value, torch.nan)
        shape = (starts, *self.best.shape[1:])
        white = normals(self.keys, 0, shape, dtype=self.best.dtype, device=self.best.device)
        noise = planner.std * coloured(white, planner.noise_beta)
        noise[:, 0] = 0
        x = (((self.best - self.middle) / self.half_range)[:, None] + noise).clamp(-1, 1)
        optimizer = LBFGSOptimizer if planner.optimiser == "lbfgs" else AdamOptimizer
        self.optimizer: Optimizer = optimizer(planner, x, self.iterations)

    @property
    def x(self) -> list[Tensor]:
        """B tensors [K, H, D]: the points whose gradients each row needs next, in half-ranges."""
        return self.optimizer.x

    def ask(self, remaining: Int) -> SequenceQuery:
        """Gradients of all sequences of every idle row."""
        idle = self._idle()
        points = self.x
        shape = points[0].shape if points else (1, 1)
        self._stop_reason[idle & (np.asarray(remaining) < gradients_nodes(shape[0], shape[1]))] = "budget"
        rows = np.flatnonzero(idle & ~self.done)
        if not len(rows):
            return empty_query(self.best)
        x = torch.stack([points[b].detach() for b in rows])
        sequences = (self.middle + self.half_range * x).clamp(self.box.low, self.box.high)
        return Gradients(rows.astype(np.int32), sequences, self._mark_pending(rows, len(x[0])))

    def tell(self, query: SequenceQuery, answer: Returns) -> None:
        """See `SequenceSearch.tell`."""
        rows = self._pending_rows(query, "tell")
        if not len(rows):
            return
        scores, gradients = self._scores(query, answer)
        self._mark_told(rows)
        valid = any_finite(torch.isfinite(scores))
        sequences = query.sequences
        if not valid.all():
            self._end_invalid(rows, valid, NO_FINITE_RETURN)
            part = torch.from_numpy(np.flatnonzero(valid)).to(scores.device)
            rows, sequences, scores, gradients = rows[valid], sequences[part], scores[part], gradients[part]
            if not len(rows):
                return
        index = self._index(rows)
        self._update_best(index, sequences, scores, gradients)
        finite = torch.isfinite(gradients).flatten(2).all(-1)
        gradients = torch.where(finite[..., None, None], gradients, 0)
        converged = self.gradient[index] <= self.planner.tolerance * self.best_return[index].abs()
        self._stop_reason[rows[converged.cpu().numpy()]] = "converged"
        ended = self.iteration[rows] >= self.iterations
        stop_reason = "exhausted" if self.iterations == self.planner.iterations else "budget"
        self._stop_reason[rows[ended & ~self.done[rows]]] = stop_reason
        stalled = self.optimizer.step(rows, self.iteration[rows], scores, gradients)
        stalled |= ~finite.any(1).cpu().numpy()
        self._stop_reason[rows[self.optimizer.arrived(rows) & ~self.done[rows]]] = "converged"
        self._stop_reason[rows[stalled & ~self.done[rows]]] = "stalled"

    def _scores(self, query: SequenceQuery, answer: Returns) -> tuple[Tensor, Tensor]:
        """Returns [M, K] reduced by `risk`, and their gradients [M, K, H, D] per half-range."""
        with torch.enable_grad():
            returns = checked_returns(query, answer).detach().to(self.best_return).requires_grad_()
            scores = at_risk(returns, self.planner.risk)
            (by_particle,) = torch.autograd.grad(scores.sum(), returns)
        gradients = answer.gradients if isinstance(answer, ReturnGradients) else None
        shape = [*returns.shape, *query.sequences.shape[2:]]
        if gradients is None or list(gradients.shape) != shape:
            raise ModelError(f"gradients must have shape {shape}")
        return scores.detach(), (by_particle[..., None, None] * gradients.to(returns)).sum(2) * self.half_range

    def _update_best(self, index: Rows, sequences: Tensor, scores: Tensor, gradients: Tensor) -> None:
        """Keep the best sequence of each row with its certificate."""
        top, which = scores.max(1)
        row = torch.arange(len(top), device=top.device)
        better, found, gradient = top > self.best_return[index], sequences[row, which], gradients[row, which]
        held = ((found <= self.box.low) & (gradient < 0)) | ((found >= self.box.high) & (gradient > 0))
        norm = torch.where(held, 0, gradient.abs()).amax((1, 2))  # NaN where a component is, so never converged
        self.best[index] = torch.where(better[:, None, None], found, self.best[index])
        self.gradient[index] = torch.where(better, norm, self.gradient[index])
        self.best_return[index] = torch.maximum(self.best_return[index], top)

    def plan(self) -> Plan:
        """The best sequence scored so far, tensor [B, H, D] within the box, with its certificate."""
        value = torch.where(torch.isfinite(self.best_return), self.best_return, self.value)
        return self._make_plan(self.best, value, self.gradient)


class Optimizer(ABC):
    """Maximises functions of B points, tensors [K, H, D] in [-1, 1]."""

    def __init__(self, planner: GradientShooting, x: Tensor, iterations: int) -> None:
        self.planner, self.iterations = planner, iterations

    @property
    @abstractmethod
    def x(self) -> list[Tensor]:
        """B tensors [K, H, D] whose gradients are needed next."""

    @abstractmethod
    def step(self, rows: RowNumbers, iteration: RowNumbers, scores: Tensor, gradients: Tensor) -> Bool:
        """One step for rows [M], given scores [M, K] and gradients [M, K, H, D] at their points.

        Returns bool [M]: true where the line search failed; never for Adam.
        """

    def arrived(self, rows: RowNumbers) -> Bool:
        """bool [M]: whether the next step of the best sequence is within the tolerance; never for Adam."""
        return np.zeros(len(rows), np.bool_)


class AdamOptimizer(Optimizer):
    """Adam, clipped to the box after every step.

    unit [B]: what each row's gradients are divided by, so that Adam's epsilon, which is added to their size, does not
    depend on the unit of the return: the largest component of its first gradient that is not 0, as a power of two.
    """

    def __init__(self, planner: GradientShooting, x: Tensor, iterations: int) -> None:
        super().__init__(planner, x, iterations)
        self.parameters: list[Tensor] = [torch.nn.Parameter(row.clone()) for row in x]
        self.unit = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        self.adam = torch.optim.Adam([{"params": [row]} for row in self.parameters], lr=planner.rate)

    @property
    def x(self) -> list[Tensor]:
        return self.parameters

    def step(self, rows: RowNumbers, iteration: RowNumbers, scores: Tensor, gradients: Tensor) -> Bool:
        for b, step, gradient in zip(rows.tolist(), iteration.tolist(), gradients):
            if self.unit[b] == 0:
                largest = gradient.abs().max()
                self.unit[b] = torch.where(largest > 0, torch.exp2(torch.floor(torch.log2(largest))), 0)
            self.parameters[b].grad = -gradient / torch.where(self.unit[b] > 0, self.unit[b], 1)
            annealed = (1 + math.cos(math.pi * step / self.iterations)) / 2
            self.adam.param_groups[b]["lr"] = self.planner.rate * (0.01 + 0.99 * annealed)
        self.adam.step()
        self.adam.zero_grad()
        with torch.no_grad():
            for b in rows.tolist():
                self.parameters[b].clamp_(-1, 1)
        return np.zeros(len(rows), np.bool_)


class LBFGSOptimizer(Optimizer):
    """`LBFGS` on B x K sequences; a row has failed when all of its sequences have."""

    def __init__(self, planner: GradientShooting, x: Tensor, iterations: int) -> None:
        super().__init__(planner, x, iterations)
        self.shape = x.shape
        self.lbfgs = LBFGS(x.reshape(x.shape[:2].numel(), -1), planner.memory, planner.rate)

    @property
    def x(self) -> list[Tensor]:
        return list(self.lbfgs.trial.view(self.shape))

    def step(self, rows: RowNumbers, iteration: RowNumbers, scores: Tensor, gradients: Tensor) -> Bool:
        sequence = torch.arange(self.shape[1], device=gradients.device)
        index = torch.as_tensor(rows, device=gradients.device)[:, None] * self.shape[1] + sequence
        self.lbfgs.tell(index.flatten(), scores.flatten(), gradients.flatten(0, 1).flatten(1))
        failed: Bool = self.lbfgs.stalled[index].all(1).cpu().numpy()
        return failed

    def arrived(self, rows: RowNumbers) -> Bool:
        best = self.lbfgs.value.view(self.shape[:2]).argmax(1, keepdim=True)
        found = self.lbfgs.arrived(self.planner.tolerance).view(self.shape[:2]).gather(1, best)
        arrived: Bool = found[:, 0].cpu().numpy()[rows]
        return arrived
