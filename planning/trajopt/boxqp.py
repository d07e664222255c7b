"""Batches of small convex quadratic programs within a box, solved by projected Newton steps.

    minimise  1/2 x'Hx + g'x   subject to  low <= x <= high         H positive definite, of a few components

Tassa, Mansard and Todorov 2014, "Control-limited differential dynamic programming", section III-B and algorithm 1;
after Bertsekas 1982, "Projected Newton methods for optimization problems with simple constraints".
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_ITERATIONS, MAX_HALVINGS, ARMIJO = 20, 20, 0.1
"""The most Newton steps, the most halvings of one step, and the fraction of the predicted decrease that a step must
achieve (Tassa 2014: 0.1)."""


def solve_box(h: Tensor, g: Tensor, low: Tensor, high: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Solutions x [M, D], and which components are free [M, D]: those the gradient does not push against their bound.

    h [M, D, D] positive definite, g [M, D], low <= high [M, D], start [M, D] or None for 0.
    """
    if g.shape[-1] == 1:
        x = (-g / h[..., 0]).clamp(low, high)
        return x, projected_gradient(h, g, low, high, x)[1]
    eye = torch.eye(g.shape[-1]).to(g)
    x = (torch.zeros_like(g) if start is None else start).clamp(low, high)
    for _ in range(MAX_ITERATIONS):
        gradient, free = projected_gradient(h, g, low, high, x)
        terms = g.abs() + (h.abs() @ x.abs()[..., None])[..., 0]
        if not bool((gradient.abs() > 1e-9 * terms).any()):
            break
        step = _newton_step(h, gradient, free, eye)
        x = _line_search(h, g, low, high, x, gradient, step)
    return x, projected_gradient(h, g, low, high, x)[1]


def projected_gradient(h: Tensor, g: Tensor, low: Tensor, high: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient at x [M, D], 0 where it pushes against a bound, and the free components, bool [M, D]."""
    gradient = g + (h @ x[..., None])[..., 0]
    free = ~(((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0)))
    return gradient * free, free


def _newton_step(h: Tensor, gradient: Tensor, free: Tensor, eye: Tensor) -> Tensor:
    """The Newton step [M, D] in the free components, 0 in the others."""
    return -torch.linalg.solve(free_block(h, free, eye), gradient[..., None])[..., 0] * free


def free_block(h: Tensor, free: Tensor, eye: Tensor) -> Tensor:
    """h [M, D, D] with rows and columns of the components that are not free replaced by those of the identity."""
    return torch.where(free[..., None] & free[..., None, :], h, eye)


def _line_search(h: Tensor, g: Tensor, low: Tensor, high: Tensor, x: Tensor, gradient: Tensor, step: Tensor) -> Tensor:
    """x + step, projected to the box; the step is halved in problems where it decreases the objective too little."""
    size = torch.ones_like(x[..., :1])
    before = objective(h, g, x)
    for _ in range(MAX_HALVINGS):
        trial = (x + size * step).clamp(low, high)
        predicted = (gradient * (trial - x)).sum(-1, keepdim=True)
        too_little = objective(h, g, trial) - before > ARMIJO * predicted + 1e-12 * before.abs()
        if not bool(too_little.any()):
            break
        size = torch.where(too_little, size / 2, size)
    return trial


def objective(h: Tensor, g: Tensor, x: Tensor) -> Tensor:
    """[M, 1] values of 1/2 x'Hx + g'x."""
    return (x * ((h @ x[..., None])[..., 0] / 2 + g)).sum(-1, keepdim=True)
