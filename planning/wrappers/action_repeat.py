"""Repeat every action for several steps of the model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..interface import Actions, Constrained, Evaluate, Expansion, Float, Model, States
from ..settings_checks import check_integer
from ..usage import Usage, no_usage, usage_or_one_step
from .base import ModelWrapper, constraint_of


class ActionRepeat(ModelWrapper[States], Constrained[States]):
    """One edge is the same action taken `k` times: discounted rewards are summed, discounts multiplied.

    Rewards after an end are ignored. Every edge is charged all k steps, whether or not the episode ended among them.
    """

    converted = (Constrained,)

    def __init__(self, model: Model[States], k: int) -> None:
        super().__init__(model)
        check_integer("k", k, 1)
        self.k = k

    @property
    def cost(self) -> int:
        return self.k * self.model.cost

    @property
    def steps_per_action(self) -> int:
        return self.k * super().steps_per_action

    def expand(
        self, states: States, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]:
        total = _RepeatedStep(len(actions))
        for steps_left in reversed(range(self.k)):
            # an end may come at any of the steps, and its reward is its score
            now: Evaluate = "finished" if steps_left and evaluate != "none" else evaluate
            states, step = self.model.expand(states, actions, to_end=to_end, evaluate=now)
            total.add(step)
        return states, total.expansion()

    def constraint(self, states: States, actions: Tensor) -> Tensor:
        """g of the k steps side by side, [K, k C], 0 for steps after an end. Its model steps are not charged."""
        constrained = constraint_of(self.model)
        found: list[Tensor] = []
        alive: Tensor | None = None
        for steps_left in reversed(range(self.k)):
            g = torch.as_tensor(constrained.constraint(states, actions))
            g = g if g.ndim > 1 else g[:, None]
            found.append(g if alive is None else torch.where(alive[:, None], g, 0))
            if steps_left:
                states, step = self.model.expand(states, actions, evaluate="none")
                going = torch.as_tensor(step.discount) != 0
                alive = going if alive is None else alive & going
        return torch.cat(found, 1)


class _RepeatedStep:
    """The running sum of one repeated action in K states."""

    def __init__(self, rows: int) -> None:
        self.reward: Tensor | float = 0.0
        self.discount: Tensor | float = 1.0
        self.charged: Usage = no_usage(rows)
        self.spent: Usage = no_usage(rows)
        self.value: Float = np.zeros(0, np.float32)
        self.logits: Float | None = None
        self.dead_end: Tensor | None = None

    def add(self, step: Expansion) -> None:
        reward, discount = torch.as_tensor(step.reward), torch.as_tensor(step.discount)
        alive = torch.as_tensor(self.discount) > 0
        # where and not a product: a model's numbers after an end may be NaN
        self.reward = self.reward + torch.where(alive, self.discount * reward, 0.0)
        self.discount = torch.where(alive, self.discount * discount, 0.0)
        if step.dead_end is not None:
            here = alive & torch.as_tensor(step.dead_end)
            self.dead_end = here if self.dead_end is None else self.dead_end | here
        self.value, self.logits = step.value, step.logits
        charged = usage_or_one_step(step.usage, len(reward))
        self.charged = self.charged + charged
        self.spent = self.spent + (charged if step.spent is None else step.spent)

    def expansion(self) -> Expansion:
        reward, discount = torch.as_tensor(self.reward), torch.as_tensor(self.discount)
        value = torch.where(discount > 0, torch.as_tensor(self.value), 0.0)
        dead_end = None if self.dead_end is None else self.dead_end.numpy(force=True)
        return Expansion(reward, discount, value, self.logits, self.charged, self.spent, dead_end=dead_end)
