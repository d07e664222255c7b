"""A linear system with quadratic costs whose best plan Riccati's equation gives, from three starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from forethought.planning import BoxActions
from forethought.planning.testing.linear_quadratic import LinearQuadratic
from forethought.planning.trajopt.lqr import dare

HORIZON = 8
STARTS = torch.tensor([[1.0, 0.0], [-0.5, 0.5], [0.3, -0.8]]).double()


def linear(bound: float = 8.0) -> LinearQuadratic:
    """Its final cost is the Riccati equation's: the best law is one gain, the best return -x'Px."""
    a, b = torch.tensor([[1.0, 0.1], [0.0, 1.0]]).double(), torch.tensor([[0.005], [0.1]]).double()
    q, r, top = torch.diag(torch.tensor([1.0, 0.1])).double(), torch.tensor([[0.05]]).double(), torch.tensor([bound])
    return LinearQuadratic(a, b, q, r, dare(a, b, q, r).cost, BoxActions(-top.double(), top.double()))


def law() -> Any:
    world = linear()
    return dare(world.a, world.b, world.q, world.r)


def best() -> np.ndarray:
    found: np.ndarray = -((STARTS @ law().cost) * STARTS).sum(1).numpy()
    return found


def policy(states: Tensor, logits: Any) -> Tensor:
    """Half of the best law: right in sign, not in size."""
    found: Tensor = -0.5 * states @ law().gain.T
    return found


def walked(world: LinearQuadratic, act: Any) -> tuple[np.ndarray, Tensor]:
    """Returns [3] and actions [3, H, 1] of a law, by a loop."""
    x, total, taken = STARTS, torch.zeros(3).double(), []
    for _ in range(HORIZON):
        u = act(x, None).clamp(world.actions.low, world.actions.high)
        total = total - ((x @ world.q) * x).sum(1) - ((u @ world.r) * u).sum(1)
        x = x @ world.a.T + u @ world.b.T
        taken.append(u)
    return (total - ((x @ world.final) * x).sum(1)).numpy(), torch.stack(taken, 1)
