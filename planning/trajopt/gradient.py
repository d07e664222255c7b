"""Gradient shooting: climb the return's gradient by the actions, through a differentiable model, by Adam or L-BFGS.

Several sequences climb side by side, each step clipped to the box (projected gradients); the best that was scored is
the plan. What is climbed, one backward pass through all steps, is in `derivatives.py`; L-BFGS is in `lbfgs.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..interface import ActionSpace, BoxActions, Expansion, Int, Keys, ModelError, Plan, SequenceQuery, Size
from ..noise import coloured, normals
from ..vectors.base import Rows, SequenceSearch, carried, nothing, refuse_lost, returns_of
from ..vectors.queries import Sloped, Slopes
from ..vectors.risk import Risk, at_risk, check_risk
from .lbfgs import LBFGS


@dataclass(frozen=True, kw_only=True)
class GradientShooting:
    """Adam (Kingma and Ba 2015) or L-BFGS (Nocedal and Wright 2006, section 7.2) on action sequences.

    horizon: H, actions in a sequence; shortened to a smaller budget. iterations: the most gradients of a sequence.
    starts: sequences that climb; the first begins with the plan of `after`, any search over vectors, or the middle of
        the box, the others around it. std, beta: deviation, as a fraction of the half-range, and colour of that noise.
    optimiser: "adam" or "lbfgs". L-BFGS wants far fewer gradients where returns are smooth; Adam is not led astray
        where they have kinks. A step that L-BFGS tries and shortens is a gradient too, and is paid like any other.
    rate: Adam's, as a fraction of the half-range, annealed to a hundredth by a cosine over the iterations; the largest
        change that the first step of L-BFGS makes. memory: pairs that L-BFGS keeps.
    tolerance: it has converged when `Plan.gradient` is at most this share of 1 + |return|.
    risk, repeat_last: as in `Shooting`. A gradient costs 3 H nodes.
    """

    horizon: int = 20
    iterations: int = 100
    starts: int = 4
    std: float = 0.5
    beta: float = 1.0
    optimiser: Literal["adam", "lbfgs"] = "adam"
    rate: float = 0.2
    memory: int = 10
    tolerance: float = 1e-4
    risk: Risk = "mean"
    repeat_last: bool = True

    def __post_init__(self) -> None:
        if self.optimiser not in ("adam", "lbfgs"):
            raise ValueError(f"optimiser is adam or lbfgs, got {self.optimiser!r}")
        for name in ("horizon", "iterations", "starts", "memory"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)}")
        for name in ("std", "tolerance", "rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is at least 0 and finite, got {getattr(self, name)}")
        check_risk(self.risk)

    def begin(
        self, root: Expansion, actions: ActionSpace, size: Size, *, keys: Keys, after: Any | None = None
    ) -> GradientSearch:
        """See `Planner.begin`. Errors: ValueError for actions that are slots."""
        if not isinstance(actions, BoxActions):
            raise ValueError(
                f"GradientShooting wants vectors within a BoxActions, got {actions}; plan over slots with MCTS"
            )
        return GradientSearch(self, root, actions, size, keys, after)


class GradientSearch(SequenceSearch):
    """One run; see `interface.Search`. Places are in half-ranges from the middle of the box."""

    def __init__(
        self,
        planner: GradientShooting,
        root: Expansion,
        box: BoxActions,
        size: Size,
        keys: Keys,
        after: Any | None = None,
    ) -> None:
        super().__init__(root, box, keys)
        self.planner = planner
        horizon = max(1, min(planner.horizon, size.nodes // 3))
        starts = max(1, min(planner.starts, size.nodes // (3 * horizon)))
        self.iterations = max(1, min(planner.iterations, size.nodes // (3 * horizon * starts)))
        self.middle, self.half = (box.low + box.high) / 2, (box.high - box.low) / 2
        self.best = carried(after, self.rows, box, horizon, planner.repeat_last)
        self.told = torch.full_like(self.value, -torch.inf)
        self.gradient = torch.full_like(self.value, torch.nan)
        shape = (starts, *self.best.shape[1:])
        white = normals(self.keys, 0, shape, dtype=self.best.dtype, device=self.best.device)
        noise = planner.std * coloured(white, planner.beta)
        noise[:, 0] = 0
        place = (((self.best - self.middle) / self.half)[:, None] + noise).clamp(-1, 1)
        self.ascent = (Newtonian if planner.optimiser == "lbfgs" else Climbers)(planner, place, self.iterations)

    @property
    def climbers(self) -> list[Tensor]:
        """B tensors [K, H, D]: where the gradients of each row are wanted next."""
        return self.ascent.climbers

    def ask(self, remaining: Int) -> SequenceQuery:
        """A gradient for every climber of every free row."""
        free = self._free()
        shape = self.climbers[0].shape if self.climbers else (1, 1)
        self._stop_reason[free & (np.asarray(remaining) < 3 * shape[0] * shape[1])] = "budget"
        rows = np.flatnonzero(free & ~self.done)
        if not len(rows):
            return nothing(self.best)
        place = torch.stack([self.climbers[b].detach() for b in rows])
        sequences = (self.middle + self.half * place).clamp(self.box.low, self.box.high)
        return Slopes(rows.astype(np.int32), sequences, self._await(rows, len(place[0])))

    def tell(self, query: Any, answer: Sloped) -> None:
        """See `SequenceSearch.tell`."""
        rows = self._waiting(query, "tell")
        if not len(rows):
            return
        returns, slopes = self._reduced(query, answer)
        refuse_lost(rows, torch.isfinite(returns))
        at = self._at(rows)
        self._note(at, query.sequences, returns, slopes)
        self._told(rows)
        enough = self.gradient[at] <= self.planner.tolerance * (1 + self.told[at].abs())
        self._stop_reason[rows[enough.cpu().numpy()]] = "converged"
        ended = self.iteration[rows] >= self.iterations
        stop_reason = "exhausted" if self.iterations == self.planner.iterations else "budget"
        self._stop_reason[rows[ended & ~self.done[rows]]] = stop_reason
        stuck = self.ascent.climb(rows, self.iteration[rows], returns, slopes)
        self._stop_reason[rows[stuck & ~self.done[rows]]] = "stalled"

    def _reduced(self, query: SequenceQuery, answer: Sloped) -> tuple[Tensor, Tensor]:
        """Returns [M, K] by `risk` and their slopes [M, K, H, D] per half-range; slopes that are not finite are 0."""
        with torch.enable_grad():
            returns = returns_of(query, answer).detach().to(self.told).requires_grad_()
            reduced = at_risk(returns, self.planner.risk)
            (shares,) = torch.autograd.grad(reduced.sum(), returns)
        if answer.slopes is None or answer.slopes.shape != (*returns.shape, *query.sequences.shape[2:]):
            raise ModelError(f"slopes want shape {[*returns.shape, *query.sequences.shape[2:]]}")
        slopes = (shares[..., None, None] * answer.slopes.to(returns)).sum(2) * self.half
        lost = ~torch.isfinite(slopes).all(-1).all(-1)
        return reduced.detach(), torch.where(lost[..., None, None], 0, slopes)

    def _note(self, at: Rows, sequences: Tensor, returns: Tensor, slopes: Tensor) -> None:
        """Keep the best sequence and its certificate."""
        top, which = returns.max(1)
        row = torch.arange(len(top), device=top.device)
        better, found = top > self.told[at], sequences[row, which]
        held = ((found <= self.box.low) & (slopes[row, which] < 0)) | (
            (found >= self.box.high) & (slopes[row, which] > 0)
        )
        norm = torch.where(held, 0, slopes[row, which].abs()).amax((1, 2))
        self.best[at] = torch.where(better[:, None, None], found, self.best[at])
        self.gradient[at] = torch.where(better, norm, self.gradient[at])
        self.told[at] = torch.maximum(self.told[at], top)

    def plan(self) -> Plan:
        """The best sequence scored so far, tensor [B, H, D] within the box, with its certificate."""
        return self._found(self.best, torch.where(torch.isfinite(self.told), self.told, self.value), self.gradient)


class Climbers:
    """Adam on B parameters [K, H, D], every step clipped to the box."""

    def __init__(self, planner: GradientShooting, place: Tensor, iterations: int) -> None:
        self.rate, self.iterations = planner.rate, iterations
        self.climbers: list[Tensor] = [torch.nn.Parameter(x.clone()) for x in place]
        self.adam = torch.optim.Adam([{"params": [x]} for x in self.climbers], lr=planner.rate)

    def climb(self, rows: Any, iteration: Any, returns: Tensor, slopes: Tensor) -> Any:
        """One step for these rows by slopes [M, K, H, D]; which of them [M] have nowhere to go: of Adam's none."""
        for b, step, slope in zip(rows.tolist(), iteration.tolist(), slopes):
            self.climbers[b].grad = -slope
            part = (1 + math.cos(math.pi * step / self.iterations)) / 2
            self.adam.param_groups[b]["lr"] = self.rate * (0.01 + 0.99 * part)
        self.adam.step()
        self.adam.zero_grad()
        with torch.no_grad():
            for b in rows.tolist():
                self.climbers[b].clamp_(-1, 1)
        return np.zeros(len(rows), bool)


class Newtonian:
    """`LBFGS` on B x K sequences."""

    def __init__(self, planner: GradientShooting, place: Tensor, iterations: int) -> None:
        self.shape = place.shape
        self.lbfgs = LBFGS(place.reshape(place.shape[:2].numel(), -1), planner.memory, planner.rate)

    @property
    def climbers(self) -> list[Tensor]:
        return list(self.lbfgs.place.view(self.shape))

    def climb(self, rows: Any, iteration: Any, returns: Tensor, slopes: Tensor) -> Any:
        """As `Climbers.climb`; a row has nowhere to go when none of its sequences has."""
        each = torch.arange(self.shape[1], device=slopes.device)
        index = torch.as_tensor(rows, device=slopes.device)[:, None] * self.shape[1] + each
        self.lbfgs.tell(index.flatten(), returns.flatten(), slopes.flatten(0, 1).flatten(1))
        return self.lbfgs.stuck[index].all(1).cpu().numpy()
