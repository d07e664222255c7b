"""A point on a line between walls, as a model and as a loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from forethought.planning.interface import BoxActions, Expansion


@dataclass
class Line:
    """x' = x + u, reward x', over beyond |x'| >= wall (reward counts), value 10 x'; NaN after the end."""

    wall: float = 1e9
    cost: int = 1
    actions: Any = field(default_factory=lambda: BoxActions(torch.tensor([-1.0]), torch.tensor([1.0])))

    def start(self, problems: Any) -> tuple[torch.Tensor, Expansion]:
        x = torch.as_tensor(problems, dtype=torch.float64)
        return x, Expansion(torch.zeros_like(x), torch.ones_like(x), torch.zeros_like(x))

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: str = "all") -> Any:
        ended = states.abs() >= self.wall
        reached = states + torch.as_tensor(actions).reshape(-1)
        discount = (reached.abs() < self.wall).double()
        reward = torch.where(ended, torch.nan, reached)
        return reached, Expansion(reward, discount, torch.where(ended, torch.nan, 10 * reached))


def by_hand(x: float, actions: list[float], gamma: float, wall: float) -> float:
    total, weight = 0.0, 1.0
    for action in actions:
        x += action
        total += weight * x
        weight *= gamma
        if abs(x) >= wall:
            return total
    return total + weight * 10 * x
