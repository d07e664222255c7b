"""The backward pass of iLQR and DDP: from derivatives along a trajectory to a better law around it.

With costs c = -reward, z = (x, u), discount d and V = 0 behind the last step (whose reward holds the value), for
t = H - 1 .. 0 (Tassa, Erez and Todorov 2012, "Synthesis and stabilization of complex behaviors through online
trajectory optimization", equations 5 to 7, 10 and 11; with a discount):

    Q_z  = c_z + d f_z' V_x            Q_zz = c_zz + d f_z' V_xx f_z  ( + d V_x . f_zz  in DDP, left out in iLQR )
    k    = argmin 1/2 k' Quu k + Qu' k   within the box (Tassa 2014, section III-B), K = -Quu^-1 Qux of free components
    V_x  = Q_x + K' Quu k + K' Qu + Qux' k          V_xx = Q_xx + K' Quu K + K' Qux + Qux' K

Where Quu is not positive definite its eigenvalues are replaced by their absolute values (Nocedal and Wright, "Numerical
optimization", section 3.4: eigenvalue modification), at that step alone: curvature elsewhere stays exact, so that
steps held at a bound, where Quu may well be negative, do not slow the others. To it is added mu / half-range^2, so mu
is in units of the return. All in float64, rows side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..interface import BoxActions
from ..vectors.base import Rows
from ..vectors.queries import Curved
from .boxqp import masked, solve_box


@dataclass
class Law:
    """feedforward k [M, H, D], feedback K [M, H, D, S]. A step of alpha promises alpha first + alpha^2 second [M] of
    return. ok [M]: whether all of it is finite; where not, the rest means nothing."""

    feedforward: Tensor
    feedback: Tensor
    first: Tensor
    second: Tensor
    ok: Tensor


@dataclass
class Quadratic:
    """`Curved` in float64 as costs, and what a law needs to know of the trajectory it is taken at.

    c_z [M, H, n], c_zz [M, H, n, n], f_z [M, H, S, n], f_zz [M, H, S, n, n] or None, discount [M, H], reach [M, H]:
    the product of the discounts before a step, 0 behind an end. low, high [M, H, D]: how far actions may move.
    """

    c_z: Tensor
    c_zz: Tensor
    f_z: Tensor
    f_zz: Tensor | None
    discount: Tensor
    reach: Tensor
    low: Tensor
    high: Tensor
    half: Tensor

    ROWS: ClassVar = ("c_z", "c_zz", "f_z", "f_zz", "discount", "reach", "low", "high")

    @classmethod
    def of(cls, curved: Curved, actions: Tensor, box: BoxActions) -> Quadratic:
        """From the answer about actions [M, H, D]; what is said of steps behind an end counts for nothing."""
        assert curved.discount is not None and curved.slope is not None
        assert curved.curve is not None and curved.moved is not None
        discount = curved.discount.double()
        reach = torch.cat([torch.ones_like(discount[:, :1]), discount[:, :-1].cumprod(1)], 1)
        alive = reach != 0

        def kept(x: Tensor) -> Tensor:
            return torch.where(alive.view(*alive.shape, *[1] * (x.ndim - 2)), x.double(), 0)

        low, high, at = box.low.double(), box.high.double(), actions.double()
        bend = None if curved.bend is None else kept(curved.bend)
        return cls(
            -kept(curved.slope), -kept(curved.curve), kept(curved.moved), bend, discount, reach, low - at, high - at,
            (high - low) / 2,
        )  # fmt: skip

    def take(self, rows: Rows) -> Quadratic:
        """Some of the rows."""
        parts: dict[str, Any] = {name: getattr(self, name) for name in self.ROWS}
        for name, x in parts.items():
            parts[name] = None if x is None else x[rows]
        return replace(self, **parts)

    def put(self, rows: Rows, other: Quadratic) -> None:
        """Write `other` over some of the rows."""
        for name in self.ROWS:
            if getattr(self, name) is not None:
                getattr(self, name)[rows] = getattr(other, name)


def certificate(q: Quadratic) -> Tensor:
    """[M] the most return, to first order, that moving one component of one action by half its range within its
    bounds would add; exact, whatever the regularisation. NaN where a derivative is not finite."""
    size = q.f_z.shape[2]
    ahead, slopes = torch.zeros_like(q.c_z[:, 0, :size]), []
    for t in reversed(range(q.c_z.shape[1])):
        whole = q.c_z[:, t] + q.discount[:, t, None] * _pulled(q.f_z[:, t], ahead)
        slopes.append(q.reach[:, t, None] * whole[:, size:])
        ahead = whole[:, :size]
    slope = torch.stack(slopes[::-1], 1)
    held = ((q.low >= 0) & (slope > 0)) | ((q.high <= 0) & (slope < 0))
    return torch.where(held, 0, (slope * q.half).abs()).amax((1, 2))


def backward(q: Quadratic, mu: Tensor) -> Law:
    """The law for regularisation mu [M]."""
    count, steps = q.reach.shape
    size = q.f_z.shape[2]
    v_x, v_xx = q.c_z.new_zeros(count, size), q.c_z.new_zeros(count, size, size)
    first, second, ok = q.c_z.new_zeros(count), q.c_z.new_zeros(count), torch.isfinite(q.c_z).all((1, 2))
    forward, feedback = [], []
    for t in reversed(range(steps)):
        q_z, q_zz = _ahead(q, t, v_x, v_xx)
        q_u, q_uu, q_ux = q_z[:, size:], q_zz[:, size:, size:], q_zz[:, size:, :size]
        k, gain, good = _law_at(q, t, q_u, q_uu, q_ux, mu)
        forward.append(k)
        feedback.append(gain)
        push = (q_uu @ k[..., None])[..., 0]
        first = first - q.reach[:, t] * (k * q_u).sum(-1)
        second = second - q.reach[:, t] * (k * push).sum(-1) / 2
        ok = ok & good
        v_x = q_z[:, :size] + _pulled(gain, push + q_u) + _pulled(q_ux, k)
        mixed = gain.mT @ q_ux
        v_xx = q_zz[:, :size, :size] + gain.mT @ q_uu @ gain + mixed + mixed.mT
        v_xx = (v_xx + v_xx.mT) / 2
    return Law(torch.stack(forward[::-1], 1), torch.stack(feedback[::-1], 1), first, second, ok)


def _law_at(q: Quadratic, t: int, q_u: Tensor, q_uu: Tensor, q_ux: Tensor, mu: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """k [M, D], K [M, D, S] of step t and whether they are finite [M]. A step behind an end has no costs: there Quu
    gets an identity, and the law is to do nothing."""
    eye = torch.eye(q_u.shape[-1]).to(q_u)
    good = torch.isfinite(q_uu).all(-1).all(-1) & torch.isfinite(q_u).all(-1)
    dead = (q.reach[:, t] == 0).to(q_u)
    firm = convex(torch.where(good[:, None, None], q_uu, eye))
    firm = firm + eye * (mu[:, None, None] / q.half.square() + dead[:, None, None])
    k, free = solve_box(firm, torch.where(good[:, None], q_u, 0), q.low[:, t], q.high[:, t])
    return k, -torch.linalg.solve(masked(firm, free, eye), q_ux) * free[..., None], good


def convex(h: Tensor) -> Tensor:
    """h [M, D, D], symmetric, with the absolute values of its eigenvalues, none of them 0; as it is where it is
    positive definite."""
    if h.shape[-1] == 1:
        return h.abs().clamp(min=TINY)
    bad = torch.linalg.cholesky_ex(h).info != 0
    if not bool(bad.any()):
        return h
    values, vectors = torch.linalg.eigh(h[bad])
    values = torch.maximum(values.abs(), TINY + 1e-8 * values.abs().amax(-1, keepdim=True))
    made = h.clone()
    made[bad] = vectors @ (values[..., None] * vectors.mT)
    return made


TINY = 1e-12


def _ahead(q: Quadratic, t: int, v_x: Tensor, v_xx: Tensor) -> tuple[Tensor, Tensor]:
    """Q_z [M, n] and Q_zz [M, n, n] of step t."""
    d, f_z = q.discount[:, t], q.f_z[:, t]
    q_zz = q.c_zz[:, t] + d[:, None, None] * (f_z.mT @ v_xx @ f_z)
    if q.f_zz is not None:
        q_zz = q_zz + d[:, None, None] * torch.einsum("ms,msij->mij", v_x, q.f_zz[:, t])
    return q.c_z[:, t] + d[:, None] * _pulled(f_z, v_x), q_zz


def _pulled(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix' vector: [M, I, J] and [M, I] -> [M, J]."""
    return (matrix.mT @ vector[..., None])[..., 0]
