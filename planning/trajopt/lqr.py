"""The linear-quadratic regulator by Riccati's equation, over a finite horizon (time-varying too) and an infinite one.

The problem, with states x in R^S, actions u in R^D and no bounds (Bertsekas, "Dynamic programming and optimal
control", volume 1, section 4.1; the infinite horizon is his volume 2, section 4.2):

    minimise    sum_t  gamma^t ( x_t' Q_t x_t + u_t' R_t u_t + 2 x_t' N_t u_t )  +  gamma^H x_H' F x_H
    subject to  x_{t+1} = A_t x_t + B_t u_t

The optimal action is u_t = -K_t x_t, and the optimal cost from x at step t on is x' P_t x. Everything is float64 and
batched over leading dimensions. Tests and benchmarks compare the plans of the other planners with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..settings_checks import check_integer

Matrix = Tensor | ArrayLike
"""Anything that becomes a float64 tensor [..., rows, columns]."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Regulator:
    """The optimal linear policy u = -gain x and its cost x' cost x.

    Finite horizon: gain [..., H, D, S], cost [..., H + 1, S, S], of which the last is the final cost. Infinite horizon:
    gain [..., D, S], cost [..., S, S].
    """

    gain: Tensor
    cost: Tensor


def lqr(
    a: Matrix,
    b: Matrix,
    q: Matrix,
    r: Matrix,
    final: Matrix,
    *,
    horizon: int | None = None,
    cross: Matrix | None = None,
    discount: float = 1.0,
) -> Regulator:
    """The regulator of a finite horizon, by the recursion backwards in time, for all systems of the batch at once.

    a [..., S, S], b [..., S, D], q [..., S, S], r [..., D, D], final [..., S, S], cross (N) [..., S, D] or None.
    horizon: H steps of the same matrices. None: a is [..., H, S, S], and each of b, q, r and cross is [..., H, ., .]
        or, with two dimensions, the same at every step. discount: gamma in (0, 1].

    Errors: ValueError for complex matrices, shapes that do not fit, entries that are not finite, q, r or final that are
    not symmetric, and where R + gamma B'PB is not positive definite, so that there is no optimal action.
    """
    *system, last, n = _matrices(a, b, q, r, final, cross)
    gamma = _discount(discount)
    steps = horizon
    if steps is None:
        if system[0].ndim < 3:
            raise ValueError(f"lqr needs a horizon, or a of shape [..., H, S, S], got a {list(system[0].shape)}")
        steps = system[0].shape[-3]
    check_integer("horizon", steps, 1)
    parts = [x if x.ndim > 2 and horizon is None else x.unsqueeze(-3) for x in (*system, n)]
    wrong = [x.shape[-3] for x in parts if x.shape[-3] not in (1, steps)]
    if wrong:
        raise ValueError(f"lqr needs {steps} steps of every matrix that varies in time, got {wrong[0]}")
    cost, gains, costs = last, [], [last]
    for t in reversed(range(steps)):
        matrices = tuple(x[..., min(t, x.shape[-3] - 1), :, :] for x in parts)
        cost, gain = _riccati_step(matrices, cost, gamma, f"step {t}")
        gains.append(gain)
        costs.append(cost)
    return Regulator(_stacked(gains[::-1]), _stacked(costs[::-1]))


def _riccati_step(matrices: tuple[Tensor, ...], cost: Tensor, gamma: float, where: str) -> tuple[Tensor, Tensor]:
    """P_t [..., S, S] and K_t [..., D, S] from A, B, Q, R, N and P_{t+1} (Bertsekas 4.1, equations 4.5 and 4.6, with a
    cross term N and P_{t+1} times gamma):

    K = (R + B'PB)^-1 (B'PA + N'),   P_t = Q + A'PA - (B'PA + N')' K.   `where` names the step in an error message.
    """
    a, b, q, r, n = matrices
    ahead = gamma * cost
    inner = r + b.mT @ ahead @ b
    root, failed = torch.linalg.cholesky_ex(inner)
    if bool((failed != 0).any()):
        least = float(torch.linalg.eigvalsh(inner).min())
        raise ValueError(
            f"R + B'PB of {where} has the eigenvalue {least:g}: no action is optimal there; make r positive definite"
        )
    mixed = b.mT @ ahead @ a + n.mT
    gain = torch.cholesky_solve(mixed, root.expand(*mixed.shape[:-2], *root.shape[-2:]))
    before = q + a.mT @ ahead @ a - mixed.mT @ gain
    return (before + before.mT) / 2, gain


def dare(
    a: Matrix, b: Matrix, q: Matrix, r: Matrix, *, cross: Matrix | None = None, discount: float = 1.0
) -> Regulator:
    """The regulator of an infinite horizon: scipy's solution of the discrete algebraic Riccati equation.

    Matrices as in `lqr`, each [..., ., .] without time. The systems of a batch are solved one after the other.

    Errors: ValueError as in `lqr`, and for systems without a stabilising policy: it names an unstable mode that no
    action reaches, or says that q does not penalise a mode that does not decay.
    """
    a_, b_, q_, r_, _, n_ = _matrices(a, b, q, r, q, cross)
    root = _discount(discount) ** 0.5
    batch = np.broadcast_shapes(*(x.shape[:-2] for x in (a_, b_, q_, r_, n_)))
    discounted = (root * a_, root * b_, q_, r_, n_)
    flat = [x.expand(*batch, *x.shape[-2:]).reshape(-1, *x.shape[-2:]).numpy() for x in discounted]
    costs = torch.from_numpy(np.array([_solve(*part) for part in zip(*flat)]))
    costs = costs.reshape(*batch, *a_.shape[-2:])
    _, gain = _riccati_step((a_, b_, q_, r_, n_), costs, discount, "the infinite horizon")
    return Regulator(gain, costs)


def _solve(a: Array, b: Array, q: Array, r: Array, n: Array) -> Array:
    """P [S, S] of one system."""
    mode = unreachable(a, b)
    if mode is not None:
        raise ValueError(
            f"not stabilisable: the mode with eigenvalue {mode:.4g} does not decay and no action reaches it; "
            "act on it too, or discount more"
        )
    try:
        cost: Array = scipy.linalg.solve_discrete_are(a, b, q, r, s=n)
        left = a - b @ np.linalg.solve(r + b.T @ cost @ b, b.T @ cost @ a + n.T)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"no stabilising solution ({error}); {PENALISE_EVERY_MODE}") from error
    slowest = np.abs(np.linalg.eigvals(left)).max()
    if slowest >= 1 - 1e-12:
        raise ValueError(
            f"no stabilising solution (the best policy leaves a mode with factor {slowest:.4g}); {PENALISE_EVERY_MODE}"
        )
    return cost


PENALISE_EVERY_MODE = "q must penalise every mode that neither decays nor grows, r every action"


def unreachable(a: Array, b: Array) -> complex | None:
    """An eigenvalue of a [S, S] of modulus 1 or more whose mode b [S, D] does not reach, or None.

    Hautus' test: [a - z I, b] has full rank (Hautus 1969; Kailath, "Linear systems", theorem 6.2-6).
    """
    largest = np.abs(b).max(initial=0)
    reach = b / largest if largest > 0 else b  # the rank must not depend on the units of the actions
    for z in np.linalg.eigvals(a):
        if abs(z) >= 1 - 1e-12 and np.linalg.matrix_rank(np.hstack([a - z * np.eye(len(a)), reach])) < len(a):
            return complex(z)
    return None


def _matrices(a: Matrix, b: Matrix, q: Matrix, r: Matrix, final: Matrix, cross: Matrix | None) -> tuple[Tensor, ...]:
    """All matrices as float64, checked; a cross term of None as zeros."""
    named = {"a": a, "b": b, "q": q, "r": r, "final": final}
    found = {name: _tensor(name, x) for name, x in named.items()}
    if found["b"].ndim < 2:
        raise ValueError(f"b must have shape [..., S, D], got {list(found['b'].shape)}")
    size, width = found["b"].shape[-2:]
    found["cross"] = found["b"].new_zeros(size, width) if cross is None else _tensor("cross", cross)
    shapes = {"a": (size, size), "q": (size, size), "r": (width, width), "final": (size, size), "cross": (size, width)}
    for name, x in found.items():
        if x.ndim < 2 or tuple(x.shape[-2:]) != shapes.get(name, (size, width)):
            raise ValueError(f"{name} must have shape {[..., *shapes[name]]} beside b {[..., size, width]}, got "
                             f"{list(x.shape)}".replace("Ellipsis", "..."))  # fmt: skip
        if not bool(torch.isfinite(x).all()):
            raise ValueError(f"{name} holds NaN or infinity")
        if name in ("q", "r", "final") and x.numel() and not _symmetric(x):
            raise ValueError(f"{name} is not symmetric; x'Mx does not change if you give (M + M') / 2")
    return tuple(found[name] for name in ("a", "b", "q", "r", "final", "cross"))


def _symmetric(x: Tensor) -> bool:
    """Whether matrices [..., N, N] equal their transposes to a relative precision, in whatever units they are."""
    return bool(((x - x.mT).abs() <= 1e-8 * x.abs().amax((-2, -1), keepdim=True)).all())


def _tensor(name: str, x: Matrix) -> Tensor:
    """As float64; arrays are copied, because torch does not take numpy's views with negative strides.

    Errors: ValueError for complex numbers, whose imaginary parts float64 would drop.
    """
    if x.is_complex() if isinstance(x, Tensor) else np.iscomplexobj(x):
        raise ValueError(f"{name} is complex; write the system in the real and imaginary parts of its states")
    return x.to(torch.float64) if isinstance(x, Tensor) else torch.from_numpy(np.array(x, dtype=np.float64))


def _discount(discount: float) -> float:
    if not 0 < discount <= 1:
        raise ValueError(f"discount is in (0, 1], got {discount}")
    return discount


def _stacked(parts: list[Tensor]) -> Tensor:
    """The matrices of every step, broadcast to the same batch and stacked along time."""
    batch = np.broadcast_shapes(*(x.shape[:-2] for x in parts))
    return torch.stack([x.expand(*batch, *x.shape[-2:]) for x in parts], -3)
