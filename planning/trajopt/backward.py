"""The backward pass of iLQR and DDP: from derivatives along a trajectory to a linear policy that improves it.

With costs c = -reward, z = (x, u), discount d and V = 0 behind the last step (whose reward includes the value), for
t = H - 1 .. 0 (Tassa, Erez and Todorov 2012, "Synthesis and stabilization of complex behaviors through online
trajectory optimization", equations 5 to 7, 10 and 11; with a discount):

    Q_z  = c_z + d f_z' V_x            Q_zz = c_zz + d f_z' V_xx f_z  ( + d V_x . f_zz  in DDP, left out in iLQR )
    k    = argmin 1/2 k' Quu k + Qu' k   within the box (Tassa 2014, section III-B), K = -Quu^-1 Qux of free components
    V_x  = Q_x + K' Quu k + K' Qu + Qux' k          V_xx = Q_xx + K' Quu K + K' Qux + Qux' K

Where Quu is not positive definite its eigenvalues are replaced by their absolute values (Nocedal and Wright, "Numerical
optimization", section 3.4: eigenvalue modification), at that step alone. Other steps keep their exact curvature, so
that steps held at a bound, where Quu may well be negative, do not slow them. Then mu unit / half-range^2 is added;
the unit is a return (`QuadraticModel.unit`), and mu itself has none. All is in float64 and batched over rows.

Shapes: M rows, H steps, S components of the state, D of an action, n = S + D.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from ..interface import BoxActions
from ..vectors.base import Rows
from ..vectors.queries import StepDerivatives
from .boxqp import free_block, solve_box


class _BatchedRows:
    """A dataclass of tensors whose fields `BATCHED` have rows as their first dimension."""

    BATCHED: ClassVar[tuple[str, ...]]

    def take(self, rows: Rows) -> Self:
        """Some of the rows."""
        each = {name: x[rows] for name in self.BATCHED if (x := getattr(self, name)) is not None}
        return replace(self, **each)  # type: ignore[type-var]

    def put(self, rows: Rows, other: Self) -> None:
        """Overwrite some of the rows by those of `other`."""
        for name in self.BATCHED:
            if getattr(self, name) is not None:
                getattr(self, name)[rows] = getattr(other, name)


@dataclass
class LinearPolicy(_BatchedRows):
    """u = u_bar + alpha k + K (x - x_bar) around a trajectory, for a step size alpha.

    feedforward k [M, H, D], feedback K [M, H, D, S]. Expected improvement of the return: alpha expected_linear +
    alpha^2 expected_quadratic, [M] each. finite [M]: whether the derivatives were finite; where not, the rest is
    meaningless.
    """

    feedforward: Tensor
    feedback: Tensor
    expected_linear: Tensor
    expected_quadratic: Tensor
    finite: Tensor

    BATCHED: ClassVar = ("feedforward", "feedback", "expected_linear", "expected_quadratic", "finite")


@dataclass
class QuadraticModel(_BatchedRows):
    """`StepDerivatives` in float64 as costs, with the bounds of the change of each action.

    c_z [M, H, n], c_zz [M, H, n, n], f_z [M, H, S, n], f_zz [M, H, S, n, n] or None, discount [M, H]. reach [M, H]: the
    product of the discounts before a step, 0 behind an end. low, high [M, H, D]: bounds minus the actions of the
    trajectory. half_range [D] of the box. unit [M]: the size of returns, above 0; all ones until it is set.
    """

    c_z: Tensor
    c_zz: Tensor
    f_z: Tensor
    f_zz: Tensor | None
    discount: Tensor
    reach: Tensor
    low: Tensor
    high: Tensor
    half_range: Tensor
    unit: Tensor

    BATCHED: ClassVar = ("c_z", "c_zz", "f_z", "f_zz", "discount", "reach", "low", "high", "unit")

    @classmethod
    def of(cls, found: StepDerivatives, actions: Tensor, box: BoxActions) -> QuadraticModel:
        """From the derivatives along actions [M, H, D]; those of steps behind an end are replaced by 0."""
        assert found.discount is not None and found.r_z is not None
        assert found.r_zz is not None and found.f_z is not None
        discount = found.discount.double()
        reach = torch.cat([torch.ones_like(discount[:, :1]), discount[:, :-1].cumprod(1)], 1)
        alive = reach != 0

        def masked(x: Tensor) -> Tensor:
            return torch.where(alive.view(*alive.shape, *[1] * (x.ndim - 2)), x.double(), 0)

        low, high, u = box.low.double(), box.high.double(), actions.double()
        f_zz = None if found.f_zz is None else masked(found.f_zz)
        return cls(
            -masked(found.r_z), -masked(found.r_zz), masked(found.f_z), f_zz, discount, reach, low - u, high - u,
            (high - low) / 2, torch.ones_like(discount[:, 0]),
        )  # fmt: skip


def certificate(q: QuadraticModel) -> Tensor:
    """[M] how far from a local optimum the trajectory is; exact, whatever the regularisation.

    It is the most return, to first order, that moving one component of one action by half its range, within its bounds,
    would add. NaN where a derivative is not finite.
    """
    size = q.f_z.shape[2]
    v_x, gradients = torch.zeros_like(q.c_z[:, 0, :size]), []
    for t in reversed(range(q.c_z.shape[1])):
        q_z = q.c_z[:, t] + q.discount[:, t, None] * _transposed_product(q.f_z[:, t], v_x)
        gradients.append(q.reach[:, t, None] * q_z[:, size:])
        v_x = q_z[:, :size]
    gradient = torch.stack(gradients[::-1], 1)
    held = ((q.low >= 0) & (gradient > 0)) | ((q.high <= 0) & (gradient < 0))
    return torch.where(held, 0, (gradient * q.half_range).abs()).amax((1, 2))


def backward_pass(q: QuadraticModel, mu: Tensor) -> LinearPolicy:
    """The policy for regularisation mu [M], in multiples of `q.unit`."""
    count, steps = q.reach.shape
    size = q.f_z.shape[2]
    v_x, v_xx = q.c_z.new_zeros(count, size), q.c_z.new_zeros(count, size, size)
    linear, quadratic, finite = q.c_z.new_zeros(count), q.c_z.new_zeros(count), torch.isfinite(q.c_z).all((1, 2))
    feedforward, feedback = [], []
    for t in reversed(range(steps)):
        q_z, q_zz = _q_derivatives(q, t, v_x, v_xx)
        q_u, q_uu, q_ux = q_z[:, size:], q_zz[:, size:, size:], q_zz[:, size:, :size]
        k, gain, step_finite = _policy_of_step(q, t, q_u, q_uu, q_ux, mu)
        feedforward.append(k)
        feedback.append(gain)
        q_uu_k = (q_uu @ k[..., None])[..., 0]
        linear = linear - q.reach[:, t] * (k * q_u).sum(-1)
        quadratic = quadratic - q.reach[:, t] * (k * q_uu_k).sum(-1) / 2
        finite = finite & step_finite
        v_x = q_z[:, :size] + _transposed_product(gain, q_uu_k + q_u) + _transposed_product(q_ux, k)
        mixed = gain.mT @ q_ux
        v_xx = q_zz[:, :size, :size] + gain.mT @ q_uu @ gain + mixed + mixed.mT
        v_xx = (v_xx + v_xx.mT) / 2
    return LinearPolicy(torch.stack(feedforward[::-1], 1), torch.stack(feedback[::-1], 1), linear, quadratic, finite)


def _policy_of_step(
    q: QuadraticModel, t: int, q_u: Tensor, q_uu: Tensor, q_ux: Tensor, mu: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """k [M, D] and K [M, D, S] of step t, and whether its derivatives are finite [M].

    A step behind an end has no costs; there an identity is added to Quu, so that k and K are 0.
    """
    eye = torch.eye(q_u.shape[-1]).to(q_u)
    finite = torch.isfinite(q_uu).all(-1).all(-1) & torch.isfinite(q_u).all(-1)
    ended = (q.reach[:, t] == 0).to(q_u)
    least = LEAST_CURVATURE * q.unit / q.half_range.square().amax()
    regular = positive_definite(torch.where(finite[:, None, None], q_uu, eye), least)
    regular = regular + eye * ((mu * q.unit)[:, None, None] / q.half_range.square() + ended[:, None, None])
    k, free = solve_box(regular, torch.where(finite[:, None], q_u, 0), q.low[:, t], q.high[:, t])
    return k, -torch.linalg.solve(free_block(regular, free, eye), q_ux) * free[..., None], finite


def positive_definite(h: Tensor, least: Tensor) -> Tensor:
    """h [M, D, D], symmetric, with its eigenvalues replaced by their absolute values; unchanged where it is positive
    definite.

    least [M]: the smallest eigenvalue where they are replaced, above 0 so that h can be inverted.
    """
    if h.shape[-1] == 1:
        return torch.maximum(h.abs(), least[:, None, None])
    indefinite = torch.linalg.cholesky_ex(h).info != 0
    if not bool(indefinite.any()):
        return h
    values, vectors = torch.linalg.eigh(h[indefinite])
    values = torch.maximum(values.abs(), least[indefinite, None] + 1e-8 * values.abs().amax(-1, keepdim=True))
    result = h.clone()
    result[indefinite] = vectors @ (values[..., None] * vectors.mT)
    return result


LEAST_CURVATURE = 1e-12
"""The smallest eigenvalue of Quu where it is replaced, in units of the return and half-ranges."""


def _q_derivatives(q: QuadraticModel, t: int, v_x: Tensor, v_xx: Tensor) -> tuple[Tensor, Tensor]:
    """Q_z [M, n] and Q_zz [M, n, n] of step t."""
    d, f_z = q.discount[:, t], q.f_z[:, t]
    q_zz = q.c_zz[:, t] + d[:, None, None] * (f_z.mT @ v_xx @ f_z)
    if q.f_zz is not None:
        q_zz = q_zz + d[:, None, None] * torch.einsum("ms,msij->mij", v_x, q.f_zz[:, t])
    return q.c_z[:, t] + d[:, None] * _transposed_product(f_z, v_x), q_zz


def _transposed_product(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix' vector: [M, I, J] and [M, I] -> [M, J]."""
    return (matrix.mT @ vector[..., None])[..., 0]
