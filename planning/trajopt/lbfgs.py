"""L-BFGS within a box, many climbers at once, as a machine that is told what it asked for.

Here is the mathematics of one climber, side by side for all: which point to try next, and what its value and gradient
mean. Nothing is called from here (torch.optim.LBFGS calls a closure, for one climber at a time), so every evaluation is
a question of the search that owns this and is paid from its budget.

Two-loop recursion: Nocedal and Wright 2006, "Numerical optimization", algorithm 7.4, with the scaling of equation 7.20.
Bounds: a component at its bound that the gradient pushes outwards is held and the recursion is of the others alone
(two-metric projection, Bertsekas 1982); the step is clipped to the box, and the sufficient increase is asked of the
clipped step (Bertsekas 1999, "Nonlinear programming", equation 2.37). Backtracking alone does not make s'y positive, so
a pair where it is not is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

ARMIJO = 1e-4
"""The share of the promised increase that a step must bring (Nocedal and Wright, section 3.1)."""

SHRINK, LEAST, MOST_TRIES = 0.1, 0.5, 20
"""A step that brought too little is shortened to between these shares of itself; steps in vain before one starts anew
along the gradient, and, if that is in vain too, stops."""


class LBFGS:
    """N climbers in the box [-1, 1]^n, which go uphill; `place` [N, n] is what is to be evaluated next.

    memory: pairs kept. first_step: the largest change of a component that a step along the gradient makes.
    stuck [N]: nothing uphill was found along the gradient; `place` stays where it was.
    """

    def __init__(self, start: Tensor, memory: int = 10, first_step: float = 0.2) -> None:
        self.place, self.first_step = start.clone(), first_step
        self.at, self.slope, self.way = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
        self.value = torch.full_like(start[:, 0], -torch.inf)
        self.step, self.tries = torch.ones_like(self.value), torch.zeros_like(self.value)
        self.s = start.new_zeros(len(start), memory, start.shape[1])
        self.y = torch.zeros_like(self.s)
        self.stuck = torch.zeros_like(self.value, dtype=torch.bool)

    def tell(self, index: Tensor, value: Tensor, slope: Tensor) -> None:
        """Values [M] and gradients [M, n] at the places of climbers `index` (int64 [M]); NaN brings too little."""
        gain = value - self.value[index]
        promised = (self.slope[index] * (self.place[index] - self.at[index])).sum(1)
        begun = torch.isfinite(self.value[index])
        good = torch.isfinite(value) & torch.isfinite(slope).all(1) & (~begun | (gain >= ARMIJO * promised))
        still = begun & (self.place[index] == self.at[index]).all(1)
        self._move(index[good & ~still], value[good & ~still], slope[good & ~still])
        self._shorten(index[~good], gain[~good])
        self.stuck[index[still]] = True
        self.place[index] = self._tried(index)

    def _tried(self, index: Tensor) -> Tensor:
        step = torch.where(self.stuck[index], 0, self.step[index])
        return (self.at[index] + step[:, None] * self.way[index]).clamp(-1, 1)

    def _move(self, index: Tensor, value: Tensor, slope: Tensor) -> None:
        """Go to the places tried, remember the pair, and turn."""
        moved, turned = self.place[index] - self.at[index], self.slope[index] - slope
        known = torch.isfinite(self.value[index]) & ((moved * turned).sum(1) > 0)
        kept = index[known]
        self.s[kept] = torch.cat([self.s[kept, 1:], moved[known][:, None]], 1)
        self.y[kept] = torch.cat([self.y[kept, 1:], turned[known][:, None]], 1)
        self.at[index], self.value[index], self.slope[index] = self.place[index], value, slope
        self._turn(index)

    def _turn(self, index: Tensor) -> None:
        """A new direction for these climbers, to be tried at full length."""
        slope, at = self.slope[index], self.at[index]
        free = ~(((at >= 1) & (slope > 0)) | ((at <= -1) & (slope < 0)))
        way = direction(torch.where(free, slope, 0), self.s[index] * free[:, None], self.y[index] * free[:, None])
        plain = torch.where(free, slope, 0)
        empty = ((self.s[index] * self.y[index] * free[:, None]).sum(-1) > 0).sum(1) == 0
        uphill = (way * plain).sum(1) > 0
        scale = self.first_step / plain.abs().amax(1).clamp(min=torch.finfo(plain.dtype).tiny)
        plain = plain * scale[:, None].clamp(max=torch.finfo(plain.dtype).max)
        self.way[index] = torch.where((empty | ~uphill)[:, None], plain, way)
        self.step[index], self.tries[index] = 1.0, 0.0

    def _shorten(self, index: Tensor, gain: Tensor) -> None:
        """The parabola through what is known (Nocedal and Wright, equation 3.58); then, in vain, start anew."""
        step = self.step[index]
        slope = step * (self.slope[index] * self.way[index]).sum(1)
        share = (slope / (2 * (slope - gain))).nan_to_num(SHRINK, SHRINK, SHRINK).clamp(SHRINK, LEAST)
        self.step[index] = step * share
        self.tries[index] += 1
        worn = index[self.tries[index] >= MOST_TRIES]
        self.stuck[worn] = (self.s[worn] == 0).all(2).all(1)
        self.s[worn], self.y[worn] = 0, 0
        self._turn(worn)


def direction(slope: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """H g [N, n] for gradients g [N, n] and pairs s, y [N, m, n], the latest last; those with s'y <= 0 are left out."""
    curve = (s * y).sum(-1)
    rho = torch.where(curve > 0, 1 / curve.clamp(min=torch.finfo(s.dtype).tiny), 0)
    q, shares = slope, []
    for i in reversed(range(s.shape[1])):
        shares.append(rho[:, i] * (s[:, i] * q).sum(1))
        q = q - shares[-1][:, None] * y[:, i]
    q = _scale(curve, y)[:, None] * q
    for i in range(s.shape[1]):
        back = rho[:, i] * (y[:, i] * q).sum(1)
        q = q + (shares[-1 - i] - back)[:, None] * s[:, i]
    return q


def _scale(curve: Tensor, y: Tensor) -> Tensor:
    """[N] s'y / y'y of the latest pair that counts (equation 7.20); 1 without one."""
    scale = torch.ones_like(curve[:, 0])
    for i in range(curve.shape[1]):
        size = y[:, i].square().sum(1)
        scale = torch.where(curve[:, i] > 0, curve[:, i] / size.clamp(min=torch.finfo(y.dtype).tiny), scale)
    return scale
