"""L-BFGS within a box for many problems at once, maximising, with evaluations supplied by the caller.

It holds which point to evaluate next, and updates it from values and gradients that it is told. It calls no function
(torch.optim.LBFGS calls a closure, for one problem), so that every evaluation is a query of a search and is charged to
its budget.

Two-loop recursion: Nocedal and Wright 2006, "Numerical optimization", algorithm 7.4, with the scaling of equation 7.20.
Bounds: a component at its bound that the gradient pushes outwards is held, and the recursion runs over the others alone
(two-metric projection, Bertsekas 1982); the step is clipped to the box, and the sufficient increase is required of the
clipped step (Bertsekas 1999, "Nonlinear programming", equation 2.37). Backtracking alone does not make s'y positive, so
pairs where it is not are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

ARMIJO = 1e-4
"""The fraction of the predicted increase that a step must achieve (Nocedal and Wright, section 3.1)."""

MIN_SHRINK, MAX_SHRINK, MAX_TRIES = 0.1, 0.5, 20
"""A rejected step is multiplied by a factor between the first two. After MAX_TRIES rejected steps the pairs are
forgotten and the search continues along the gradient; if that fails too, it stops."""


class LBFGS:
    """N maximisations in the box [-1, 1]^n.

    trial [N, n]: the points to evaluate next. x, value, gradient: the best points so far, with their values and
    gradients. direction, step: the trial is x + step direction, clipped. s, y [N, memory, n]: pairs of changes of x and
    of minus the gradient. curved [N]: the direction is that of L-BFGS, not of the gradient. stalled [N]: no increase
    was found along the gradient; the trial stays at x.

    memory: pairs kept. first_step: the largest change of a component by the first step along the gradient.
    """

    def __init__(self, start: Tensor, memory: int = 10, first_step: float = 0.2) -> None:
        self.trial, self.first_step = start.clone(), first_step
        self.x, self.gradient, self.direction = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
        self.value = torch.full_like(start[:, 0], -torch.inf)
        self.step, self.tries = torch.ones_like(self.value), torch.zeros_like(self.value)
        self.s = start.new_zeros(len(start), memory, start.shape[1])
        self.y = torch.zeros_like(self.s)
        self.stalled = torch.zeros_like(self.value, dtype=torch.bool)
        self.curved = torch.zeros_like(self.stalled)

    def tell(self, index: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Values [M] and gradients [M, n] at the trial points of problems `index` (int64 [M]); NaN rejects the step."""
        increase = value - self.value[index]
        predicted = (self.gradient[index] * (self.trial[index] - self.x[index])).sum(1)
        begun = torch.isfinite(self.value[index])
        finite = torch.isfinite(value) & torch.isfinite(gradient).all(1)
        accepted = finite & (~begun | (increase >= ARMIJO * predicted))
        unmoved = begun & (self.trial[index] == self.x[index]).all(1)
        moved = accepted & ~unmoved
        self._accept(index[moved], value[moved], gradient[moved])
        self._backtrack(index[~accepted], increase[~accepted])
        self.stalled[index[unmoved]] = True
        self.trial[index] = self._trial_of(index)

    def _trial_of(self, index: Tensor) -> Tensor:
        step = torch.where(self.stalled[index], 0, self.step[index])
        return (self.x[index] + step[:, None] * self.direction[index]).clamp(-1, 1)

    def _accept(self, index: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Move to the trial points, store the pairs (s, y), and compute new directions."""
        s, y = self.trial[index] - self.x[index], self.gradient[index] - gradient
        usable = torch.isfinite(self.value[index]) & ((s * y).sum(1) > 0)
        stored = index[usable]
        self.s[stored] = torch.cat([self.s[stored, 1:], s[usable][:, None]], 1)
        self.y[stored] = torch.cat([self.y[stored, 1:], y[usable][:, None]], 1)
        self.x[index], self.value[index], self.gradient[index] = self.trial[index], value, gradient
        self._new_direction(index)

    def _new_direction(self, index: Tensor) -> None:
        """A direction for these problems, with step 1: that of L-BFGS, or the scaled gradient where it is no ascent."""
        gradient, x = self.gradient[index], self.x[index]
        free = ~(((x >= 1) & (gradient > 0)) | ((x <= -1) & (gradient < 0)))
        free_gradient = torch.where(free, gradient, 0)
        quasi_newton = two_loop(free_gradient, self.s[index] * free[:, None], self.y[index] * free[:, None])
        no_pairs = ((self.s[index] * self.y[index] * free[:, None]).sum(-1) > 0).sum(1) == 0
        ascent = (quasi_newton * free_gradient).sum(1) > 0
        limits = torch.finfo(free_gradient.dtype)
        scale = self.first_step / free_gradient.abs().amax(1).clamp(min=limits.tiny)
        steepest = free_gradient * scale[:, None].clamp(max=limits.max)
        self.curved[index] = ~no_pairs & ascent
        self.direction[index] = torch.where(self.curved[index][:, None], quasi_newton, steepest)
        self.step[index], self.tries[index] = 1.0, 0.0

    def arrived(self, tolerance: float) -> Tensor:
        """bool [N]: whether the next step of L-BFGS is negligible.

        It changes no component by more than `tolerance` and promises no more than the square of it of the value, or it
        promises no more than the value's rounding errors.
        """
        increase, size = (self.direction * self.gradient).sum(1), self.value.abs()
        small = (self.direction.abs().amax(1) <= tolerance) & (increase <= tolerance**2 * size)
        return self.curved & (small | (increase <= 4 * torch.finfo(self.value.dtype).eps * size))

    def _backtrack(self, index: Tensor, increase: Tensor) -> None:
        """Shorten rejected steps by quadratic interpolation (Nocedal and Wright, equation 3.58), or start anew."""
        step = self.step[index]
        slope = step * (self.gradient[index] * self.direction[index]).sum(1)
        factor = (slope / (2 * (slope - increase))).nan_to_num(MIN_SHRINK, MIN_SHRINK, MIN_SHRINK)
        self.step[index] = step * factor.clamp(MIN_SHRINK, MAX_SHRINK)
        self.tries[index] += 1
        restarted = index[self.tries[index] >= MAX_TRIES]
        self.stalled[restarted] = (self.s[restarted] == 0).all(2).all(1)
        self.s[restarted], self.y[restarted] = 0, 0
        self._new_direction(restarted)


def two_loop(gradient: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """H g [N, n] for gradients g [N, n] and pairs s, y [N, m, n], the latest last; pairs with s'y <= 0 are left out."""
    s_y = (s * y).sum(-1)
    rho = torch.where(s_y > 0, 1 / s_y.clamp(min=torch.finfo(s.dtype).tiny), 0)
    q, alphas = gradient, []
    for i in reversed(range(s.shape[1])):
        alphas.append(rho[:, i] * (s[:, i] * q).sum(1))
        q = q - alphas[-1][:, None] * y[:, i]
    q = _initial_scale(s_y, y)[:, None] * q
    for i in range(s.shape[1]):
        beta = rho[:, i] * (y[:, i] * q).sum(1)
        q = q + (alphas[-1 - i] - beta)[:, None] * s[:, i]
    return q


def _initial_scale(s_y: Tensor, y: Tensor) -> Tensor:
    """[N] s'y / y'y of the latest pair that is not left out (equation 7.20); 1 without one."""
    scale = torch.ones_like(s_y[:, 0])
    for i in range(s_y.shape[1]):
        y_y = y[:, i].square().sum(1)
        scale = torch.where(s_y[:, i] > 0, s_y[:, i] / y_y.clamp(min=torch.finfo(y.dtype).tiny), scale)
    return scale
