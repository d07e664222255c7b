"""Riccati's recursion: the linear-quadratic regulator over a finite horizon, time-varying too, and without end.

The problem, with states x in R^S, actions u in R^D and no bounds (Bertsekas, "Dynamic programming and optimal
control", volume 1, section 4.1; the infinite horizon is his volume 2, section 4.2):

    minimise    sum_t  gamma^t ( x_t' Q_t x_t + u_t' R_t u_t + 2 x_t' N_t u_t )  +  gamma^H x_H' F x_H
    subject to  x_{t+1} = A_t x_t + B_t u_t

The best action is u_t = -K_t x_t, and what is still to be paid from x at step t is x' P_t x. Everything is float64
and batched over leading dimensions. This is what the other planners' plans are measured against (`linear.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch import Tensor


@dataclass(frozen=True)
class Regulator:
    """The best linear law u = -gain x and what it costs.

    gain: [..., H, D, S]; cost: [..., H + 1, S, S], the last is the final cost. Without the H of a finite horizon:
    [..., D, S] and [..., S, S].
    """

    gain: Tensor
    cost: Tensor


def lqr(
    a: Any,
    b: Any,
    q: Any,
    r: Any,
    final: Any,
    *,
    horizon: int | None = None,
    cross: Any | None = None,
    discount: float = 1.0,
) -> Regulator:
    """The regulator of a finite horizon; the recursion runs over time, batches side by side.

    a [..., S, S], b [..., S, D], q [..., S, S], r [..., D, D], final [..., S, S], cross (N) [..., S, D] or None.
    horizon: H steps of the same matrices. None: a is [..., H, S, S], and of b, q, r and cross each is [..., H, ., .]
        or, of two dimensions, the same at every step. discount: gamma in (0, 1].

    Errors: ValueError for shapes that do not fit, entries that are not finite, q, r or final that are not symmetric,
    and where R + gamma B'PB is not positive definite, so that no action is best.
    """
    a, b, q, r, final, n = _matrices(a, b, q, r, final, cross)
    gamma = _discount(discount)
    if horizon is None:
        if a.ndim < 3:
            raise ValueError(f"lqr wants a horizon, or a [..., H, S, S] with time in it, got a {list(a.shape)}")
        steps = a.shape[-3]
    else:
        steps = horizon
    if steps < 1:
        raise ValueError(f"lqr wants at least one step, got {steps}")
    parts = [x if x.ndim > 2 and horizon is None else x.unsqueeze(-3) for x in (a, b, q, r, n)]
    wrong = [x.shape[-3] for x in parts if x.shape[-3] not in (1, steps)]
    if wrong:
        raise ValueError(f"lqr wants {steps} steps of every matrix that has time in it, got {wrong[0]}")
    cost, gains, costs = final, [], [final]
    for t in reversed(range(steps)):
        now = tuple(x[..., min(t, x.shape[-3] - 1), :, :] for x in parts)
        cost, gain = _step(now, cost, gamma, f"step {t}")
        gains.append(gain)
        costs.append(cost)
    return Regulator(_stack(gains[::-1]), _stack(costs[::-1]))


def _step(matrices: tuple[Tensor, ...], cost: Tensor, gamma: float, where: str) -> tuple[Tensor, Tensor]:
    """P_t [..., S, S] and K_t [..., D, S] from A, B, Q, R, N and P_{t+1} (Bertsekas 4.1, equations 4.5 and 4.6, with a
    cross term)."""
    a, b, q, r, n = matrices
    ahead = gamma * cost
    inner = r + b.mT @ ahead @ b
    root, failed = torch.linalg.cholesky_ex(inner)
    if bool((failed != 0).any()):
        least = float(torch.linalg.eigvalsh(inner).min())
        raise ValueError(
            f"R + B'PB of {where} has the eigenvalue {least:g}: no action is best there; make r positive definite"
        )
    mixed = b.mT @ ahead @ a + n.mT
    gain = torch.cholesky_solve(mixed, root.expand(*mixed.shape[:-2], *root.shape[-2:]))
    now = q + a.mT @ ahead @ a - mixed.mT @ gain
    return (now + now.mT) / 2, gain


def dare(a: Any, b: Any, q: Any, r: Any, *, cross: Any | None = None, discount: float = 1.0) -> Regulator:
    """The regulator of an infinite horizon: scipy's solution of the discrete algebraic Riccati equation.

    Matrices as in `lqr`, each [..., ., .] without time. The batch is solved one by one.

    Errors: ValueError as in `lqr`, and for systems without a stabilising law: naming an unstable mode that no action
    reaches, or saying that q leaves a lasting mode unpunished.
    """
    a, b, q, r, _, n = _matrices(a, b, q, r, q, cross)
    root = _discount(discount) ** 0.5
    batch = np.broadcast_shapes(*(x.shape[:-2] for x in (a, b, q, r, n)))
    flat = [x.expand(*batch, *x.shape[-2:]).reshape(-1, *x.shape[-2:]).numpy() for x in (root * a, root * b, q, r, n)]
    costs = torch.from_numpy(np.array([_solve(*part) for part in zip(*flat)]))
    costs = costs.reshape(*batch, *a.shape[-2:])
    _, gain = _step((a, b, q, r, n), costs, discount, "the infinite horizon")
    return Regulator(gain, costs)


def _solve(a: Any, b: Any, q: Any, r: Any, n: Any) -> Any:
    """P [S, S] of one system."""
    mode = unreachable(a, b)
    if mode is not None:
        raise ValueError(
            f"not stabilisable: the mode with eigenvalue {mode:.4g} does not decay and no action reaches it; "
            "act on it too, or discount more"
        )
    try:
        cost = scipy.linalg.solve_discrete_are(a, b, q, r, s=n)
        left = a - b @ np.linalg.solve(r + b.T @ cost @ b, b.T @ cost @ a + n.T)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"no stabilising solution ({error}); {PUNISH}") from error
    slowest = np.abs(np.linalg.eigvals(left)).max()
    if slowest >= 1 - 1e-12:
        raise ValueError(f"no stabilising solution (the best law leaves a mode with factor {slowest:.4g}); {PUNISH}")
    return cost


PUNISH = "q must punish every mode that neither decays nor grows, r every action"


def unreachable(a: Any, b: Any) -> complex | None:
    """An eigenvalue of a [S, S] of modulus 1 or more whose mode b [S, D] does not reach; None where there is none.

    Hautus' test: [a - z I, b] has full rank (Hautus 1969; Kailath, "Linear systems", theorem 6.2-6).
    """
    for z in np.linalg.eigvals(a):
        if abs(z) >= 1 - 1e-12 and np.linalg.matrix_rank(np.hstack([a - z * np.eye(len(a)), b])) < len(a):
            return complex(z)
    return None


def _matrices(a: Any, b: Any, q: Any, r: Any, final: Any, cross: Any | None) -> tuple[Tensor, ...]:
    """All as float64, checked; the cross term's zeros where it is None."""
    named = {"a": a, "b": b, "q": q, "r": r, "final": final}
    found = {name: _tensor(x) for name, x in named.items()}
    if found["b"].ndim < 2:
        raise ValueError(f"b wants shape [..., S, D], got {list(found['b'].shape)}")
    size, width = found["b"].shape[-2:]
    found["cross"] = found["b"].new_zeros(size, width) if cross is None else _tensor(cross)
    wanted = {"a": (size, size), "q": (size, size), "r": (width, width), "final": (size, size), "cross": (size, width)}
    for name, x in found.items():
        if x.ndim < 2 or tuple(x.shape[-2:]) != wanted.get(name, (size, width)):
            raise ValueError(f"{name} wants shape {[..., *wanted[name]]} beside b {[..., size, width]}, got "
                             f"{list(x.shape)}".replace("Ellipsis", "..."))  # fmt: skip
        if not bool(torch.isfinite(x).all()):
            raise ValueError(f"{name} holds NaN or infinity")
        if name in ("q", "r", "final") and not torch.allclose(x, x.mT, rtol=1e-8, atol=1e-10):
            raise ValueError(f"{name} is not symmetric; x'Mx does not change if you give (M + M') / 2")
    return tuple(found[name] for name in ("a", "b", "q", "r", "final", "cross"))


def _tensor(x: Any) -> Tensor:
    """As float64; numpy's views that run backwards are copied."""
    return x.to(torch.float64) if isinstance(x, Tensor) else torch.from_numpy(np.array(x, dtype=np.float64))


def _discount(discount: float) -> float:
    if not 0 < discount <= 1:
        raise ValueError(f"discount is in (0, 1], got {discount}")
    return discount


def _stack(parts: list[Tensor]) -> Tensor:
    """Matrices of every step side by side along time; those of the batch that were not yet broadcast are."""
    batch = np.broadcast_shapes(*(x.shape[:-2] for x in parts))
    return torch.stack([x.expand(*batch, *x.shape[-2:]) for x in parts], -3)
