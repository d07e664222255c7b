"""Known equations as a `Model`. It knows no planner and no environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...planning.interface import ActionSpace, DiscreteActions, Evaluate, Expansion, action_count
from ..dynamics.base import Dynamics, rows_of

ValueFn = Callable[[Tensor], Tensor]
"""Discounted return still to come [K] of K states (of a model: physical ones or observations)."""


def value_of(value: ValueFn | None, states: Tensor, discount: Tensor, evaluate: Evaluate) -> Tensor:
    """[K] leaf values: 0 without a function, where the episode is over, and where nobody asked."""
    if value is None or evaluate != "all":
        return torch.zeros_like(discount)
    return torch.where(discount > 0, value(states), torch.zeros_like(discount))


def slots_tensor(actions: Any, n: int, device: torch.device | str) -> Tensor:
    """Indices as a tensor int64 [K]. Errors: ValueError when one of them is no slot."""
    index = torch.as_tensor(actions).to(device=device, dtype=torch.int64)
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= n):
        raise ValueError(f"actions are slots 0..{n - 1}, got {int(index.min())}..{int(index.max())}")
    return index


class AnalyticModel:
    """The dynamics themselves. States are physical, tensors [K, size].

    value: return still to come of physical states; None means 0, which flatters shallow leaves wherever rewards are
        negative: give tree searches on Pendulum a value or equal depths.
    gamma: factor on everything after a step, in (0, 1].
    dtype, device: of the states; float32 agrees with gymnasium to about 1e-6 a step.
    """

    cost = 1

    def __init__(
        self,
        dynamics: Dynamics,
        value: ValueFn | None = None,
        gamma: float = 1.0,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not 0.0 < gamma <= 1.0:
            raise ValueError(f"gamma is in (0, 1], got {gamma}")
        self.dynamics, self.value, self.gamma = dynamics, value, gamma
        self.dtype, self.device = dtype, device
        self.actions: ActionSpace = dynamics.actions

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        """A problem is a physical state or an observation."""
        states = self.dynamics.physical(rows_of(problems, self.dtype, self.device))
        alive = (~self.dynamics.ended(states)).to(self.dtype)
        value = value_of(self.value, states, alive, "all")
        return states, Expansion(torch.zeros_like(alive), alive, value)

    def expand(
        self, states: Tensor, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        reached, reward, discount = self.step(states, actions)
        return reached, Expansion(reward, discount, value_of(self.value, reached, discount, evaluate))

    def step(self, states: Tensor, actions: Any) -> tuple[Tensor, Tensor, Tensor]:
        """[K, size] and actions -> next states [K, size], rewards [K], discounts [K]."""
        if isinstance(self.actions, DiscreteActions):
            actions = slots_tensor(actions, action_count(self.actions), states.device)
        else:
            actions = torch.as_tensor(actions).to(dtype=states.dtype, device=states.device)
        reached, reward, alive = self.dynamics.step(states, actions)
        return reached, reward, alive if self.gamma == 1.0 else self.gamma * alive
