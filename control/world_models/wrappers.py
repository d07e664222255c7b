"""Models made of models: a grid of torques, an action held for several steps, a value at the leaves.

Each is a `Model` over one `Model`, so they stack: `DiscretizedActions(ActionRepeat(AnalyticModel(Pendulum()), 4), 5)`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...planning.interface import UNITS, BoxActions, DiscreteActions, Evaluate, Expansion, Model, Usage
from ...planning.wrappers.base import ModelWrapper
from .analytic import ValueFn, slots_tensor, value_of
from .ensemble.model import seen_of

NODES, CALLS = UNITS.index("nodes"), UNITS.index("model_calls")
Measure = Callable[[Any, Any], Any]
"""A constraint: (states, actions) to g [K] or [K, C], kept where g <= 0 (`planning/constraints.py`)."""


class DiscretizedActions(ModelWrapper):
    """A BoxActions offered as slots: n evenly spaced values of each component, bounds included.

    Slot i is row i of `table` [n^D, D], the last component turning fastest. n at least 2.
    """

    def __init__(self, model: Model[Tensor], n: int) -> None:
        super().__init__(model)
        space = model.actions
        if not isinstance(space, BoxActions):
            raise ValueError(f"DiscretizedActions wants a model with a Box of actions, this one has {space}")
        if n < 2:
            raise ValueError(f"DiscretizedActions wants at least 2 values a component, got {n}")
        axes = [torch.linspace(low, high, n).tolist() for low, high in zip(space.low.tolist(), space.high.tolist())]
        self.table = torch.tensor(list(itertools.product(*axes)), dtype=space.low.dtype, device=space.low.device)

    @property
    def actions(self) -> DiscreteActions:
        return DiscreteActions(len(self.table))

    def expand(
        self, states: Tensor, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        reached: tuple[Tensor, Expansion] = self.model.expand(
            states, self._vectors(actions), to_end=to_end, evaluate=evaluate
        )
        return reached

    @property
    def constraint(self) -> Measure:
        """The model's, of slots."""
        measure = super().constraint
        return lambda states, slots: measure(states, self._vectors(slots))

    def _vectors(self, slots: Any) -> Tensor:
        return self.table[slots_tensor(slots, len(self.table), self.table.device)]


class ActionRepeat(ModelWrapper):
    """An action repeated k steps is one edge: discounted rewards summed, discounts multiplied.

    Rewards after an end do not count. Every edge is charged all k steps, whether or not the episode ended among them.
    """

    def __init__(self, model: Model[Tensor], k: int) -> None:
        super().__init__(model)
        if k < 1:
            raise ValueError(f"an action is held for at least 1 step, got {k}")
        self.k = k

    @property
    def cost(self) -> int:
        return self.k * self.model.cost

    def expand(
        self, states: Tensor, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        held = Held(len(states))
        for left in reversed(range(self.k)):
            asked: Evaluate = "none" if left else evaluate
            states, step = self.model.expand(states, actions, to_end=to_end, evaluate=asked)
            held.add(step)
        return states, held.expansion()

    @property
    def constraint(self) -> Measure:
        """The model's at all k steps, side by side: [K, k C]. They are walked once more for it, uncharged."""
        measure = super().constraint
        return lambda states, actions: self._along(measure, states, actions)

    def _along(self, measure: Measure, states: Any, actions: Any) -> Tensor:
        """g of the k steps [K, k C], 0 for those after an end."""
        found: list[Tensor] = []
        alive: Any = True
        for left in reversed(range(self.k)):
            g = torch.as_tensor(measure(states, actions))
            g = g if g.ndim > 1 else g[:, None]
            found.append(g if alive is True else torch.where(alive[:, None], g, 0))
            if left:
                states, step = self.model.expand(states, actions, evaluate="none")
                alive = alive & (torch.as_tensor(step.discount) != 0)
        return torch.cat(found, 1)


class Held:
    """The running sum of a held action."""

    def __init__(self, rows: int) -> None:
        self.reward: Any = 0.0
        self.factor: Any = 1.0
        self.charged: Usage = np.zeros((rows, len(UNITS)))
        self.spent: Usage = np.zeros((rows, len(UNITS)))

    def add(self, step: Expansion) -> None:
        gain, discount = torch.as_tensor(step.reward), torch.as_tensor(step.discount)
        alive = torch.as_tensor(self.factor) > 0
        # where and not a product: what a model says of states beyond an end may be NaN
        self.reward = self.reward + torch.where(alive, self.factor * gain, 0.0)
        self.factor = torch.where(alive, self.factor * discount, 0.0)
        self.last = step
        charged = usage_of(step, len(gain))
        self.charged = self.charged + charged
        self.spent = self.spent + (charged if step.spent is None else step.spent)

    def expansion(self) -> Expansion:
        value = torch.where(self.factor > 0, torch.as_tensor(self.last.value), 0.0)
        return Expansion(self.reward, self.factor, value, self.last.logits, self.charged, self.spent)


def usage_of(expansion: Expansion, rows: int) -> Usage:
    """[rows, units], one node and one call each where the model gave none."""
    if expansion.usage is not None:
        return expansion.usage
    usage = np.zeros((rows, len(UNITS)))
    usage[:, [NODES, CALLS]] = 1.0
    return usage


class TerminalValue(ModelWrapper):
    """The same model with another value of reached states.

    value: maps the model's states (of particles: their observations) to [K]. gamma: the factor on everything after a
    step that `value` was made for; the model's discounts are multiplied by it, so that rewards on the way and the value
    at the leaf speak of one return.
    """

    def __init__(self, model: Model[Tensor], value: ValueFn, gamma: float = 1.0) -> None:
        super().__init__(model)
        if not 0.0 < gamma <= 1.0:
            raise ValueError(f"gamma is in (0, 1], got {gamma}")
        self.value, self.gamma = value, gamma

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        states, root = self.model.start(problems)
        root.value = value_of(self.value, seen_of(states), torch.as_tensor(root.discount), "all")
        return states, root

    def expand(
        self, states: Tensor, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        asked: Evaluate = "none" if evaluate == "all" else evaluate
        reached, step = self.model.expand(states, actions, to_end=to_end, evaluate=asked)
        step.discount = torch.as_tensor(step.discount) * self.gamma
        step.value = value_of(self.value, seen_of(reached), step.discount, evaluate)
        return reached, step
