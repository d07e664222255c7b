"""Linear dynamics with quadratic rewards as a model: the one world of vectors whose best plan is known exactly.

For checks, first tries and measured gaps: what a planner finds here is compared with `riccati.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..interface import BoxActions, Evaluate, Expansion
from ..trajopt.lqr import Regulator, lqr


@dataclass(frozen=True)
class LinearQuadratic:
    """x' = A x + B u, reward -(x'Qx + u'Ru) of the step, value -x'Fx of what is reached; it never ends.

    a [S, S], b [S, D], q [S, S], r [D, D], final [S, S], all of one type, which the states have too. actions: bounds
    of u; Riccati's answer is the best plan where they do not bind. gamma: discount of a step. A problem is a state.
    """

    a: Tensor
    b: Tensor
    q: Tensor
    r: Tensor
    final: Tensor
    actions: BoxActions
    gamma: float = 1.0

    cost = 1

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        states = torch.as_tensor(problems).to(self.a)
        if states.ndim != 2 or states.shape[1] != len(self.a):
            raise ValueError(f"problems are states [B, {len(self.a)}], got {list(states.shape)}")
        one = torch.ones_like(states[:, 0])
        return states, Expansion(0 * one, one, self._value(states))

    def expand(
        self, states: Tensor, actions: Tensor, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        reached, reward, discount = self.step(states, actions)
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
        """The best law without bounds; the best return of a problem x is -x' cost[0] x."""
        return lqr(self.a, self.b, self.q, self.r, self.final, horizon=horizon, discount=self.gamma)


def quadratic(x: Tensor, weight: Tensor) -> Tensor:
    """x'Wx [K] of vectors [K, S]."""
    return ((x @ weight) * x).sum(-1)
