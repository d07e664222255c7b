"""Linear dynamics with quadratic rewards as a model: with vectors as actions, its best plan is known exactly.

Tests and benchmarks compare the plans of planners with the solution of the Riccati equation (`trajopt/lqr.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..interface import Actions, BoxActions, Evaluate, Expansion, Steppable
from ..trajopt.lqr import Regulator, lqr


@dataclass(frozen=True)
class LinearQuadratic(Steppable[Tensor]):
    """x' = A x + B u, reward -(x'Qx + u'Ru) of the step, value -x'Fx of the reached state; it never ends.

    a [S, S], b [S, D], q [S, S], r [D, D], final [S, S], all of the same type as the states. actions: bounds of u;
    the Riccati solution is the best plan where they do not bind. gamma: discount of a step. A problem is a state.
    """

    a: Tensor
    b: Tensor
    q: Tensor
    r: Tensor
    final: Tensor
    actions: BoxActions
    gamma: float = 1.0

    cost = 1

    def start(self, problems: object) -> tuple[Tensor, Expansion]:
        states = torch.as_tensor(problems).to(self.a)
        if states.ndim != 2 or states.shape[1] != len(self.a):
            raise ValueError(f"problems are states [B, {len(self.a)}], got {list(states.shape)}")
        one = torch.ones_like(states[:, 0])
        return states, Expansion(0 * one, one, self._value(states))

    def expand(
        self, states: Tensor, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        reached, reward, discount = self.step(states, torch.as_tensor(actions))
        value = self._value(reached) if evaluate == "all" else torch.zeros_like(reward)
        return reached, Expansion(reward, discount, value)

    def step(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[K, S] and [K, D] -> next states [K, S], rewards [K], discounts [K]."""
        actions = actions.to(states)
        reward = -(quadratic(states, self.q) + quadratic(actions, self.r))
        return states @ self.a.T + actions @ self.b.T, reward, torch.full_like(reward, self.gamma)

    def _value(self, states: Tensor) -> Tensor:
        return -quadratic(states, self.final)

    def optimum(self, horizon: int) -> Regulator:
        """The optimal feedback law without bounds; the best return of a problem x is -x' cost[0] x."""
        return lqr(self.a, self.b, self.q, self.r, self.final, horizon=horizon, discount=self.gamma)


def quadratic(x: Tensor, weight: Tensor) -> Tensor:
    """x'Wx [K] of vectors [K, S]."""
    return ((x @ weight) * x).sum(-1)
