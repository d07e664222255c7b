"""Small convex quadratic programs within a box, many at once, by projected Newton steps.

    minimise  1/2 x'Hx + g'x   subject to  low <= x <= high         H positive definite, D of a few

Tassa, Mansard and Todorov 2014, "Control-limited differential dynamic programming", section III-B and algorithm 1;
after Bertsekas 1982, "Projected Newton methods for optimization problems with simple constraints".
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS, HALVINGS, ARMIJO = 20, 20, 0.1
"""The most Newton steps, the most halvings of one, and the share of the promised descent it must bring (Tassa: 0.1)."""


def solve_box(h: Tensor, g: Tensor, low: Tensor, high: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Solutions [M, D] and which components are free [M, D] (strictly inside, or not pressed against their bound).

    h [M, D, D] positive definite, g [M, D], low <= high [M, D], start [M, D] or None.
    """
    if g.shape[-1] == 1:
        x = (-g / h[..., 0]).clamp(low, high)
        return x, slope_and_free(h, g, low, high, x)[1]
    eye = torch.eye(g.shape[-1]).to(g)
    x = (torch.zeros_like(g) if start is None else start).clamp(low, high)
    for _ in range(ROUNDS):
        slope, free = slope_and_free(h, g, low, high, x)
        if not bool((slope.abs() > 1e-9 * (1 + g.abs())).any()):
            break
        step = _newton(h, slope, free, eye)
        x = _descend(h, g, low, high, x, slope, step)
    return x, slope_and_free(h, g, low, high, x)[1]


def slope_and_free(h: Tensor, g: Tensor, low: Tensor, high: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient at x [M, D], 0 where it presses against a bound, and where it does not (bool [M, D])."""
    slope = g + (h @ x[..., None])[..., 0]
    free = ~(((x <= low) & (slope > 0)) | ((x >= high) & (slope < 0)))
    return slope * free, free


def _newton(h: Tensor, slope: Tensor, free: Tensor, eye: Tensor) -> Tensor:
    """The Newton step [M, D] of the free components, 0 elsewhere."""
    return -torch.linalg.solve(masked(h, free, eye), slope[..., None])[..., 0] * free


def masked(h: Tensor, free: Tensor, eye: Tensor) -> Tensor:
    """h [M, D, D] with rows and columns of held components replaced by those of the identity."""
    return torch.where(free[..., None] & free[..., None, :], h, eye)


def _descend(h: Tensor, g: Tensor, low: Tensor, high: Tensor, x: Tensor, slope: Tensor, step: Tensor) -> Tensor:
    """x + step, projected; halved in those of the batch where that brings too little."""
    size = torch.ones_like(x[..., :1])
    before = worth(h, g, x)
    for _ in range(HALVINGS):
        reached = (x + size * step).clamp(low, high)
        promised = (slope * (reached - x)).sum(-1, keepdim=True)
        short = worth(h, g, reached) - before > ARMIJO * promised + 1e-12 * before.abs()
        if not bool(short.any()):
            break
        size = torch.where(short, size / 2, size)
    return reached


def worth(h: Tensor, g: Tensor, x: Tensor) -> Tensor:
    """[M, 1] the objective."""
    return (x * ((h @ x[..., None])[..., 0] / 2 + g)).sum(-1, keepdim=True)
