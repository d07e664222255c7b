"""Offer the vectors of a box as a finite set of actions, for planners that search trees."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ..interface import Actions, BoxActions, Constrained, DiscreteActions, Evaluate, Expansion, Model, States
from ..settings_checks import check_integer
from ..spaces import action_indices
from .base import ModelWrapper, constraint_of


class DiscretizedActions(ModelWrapper[States], Constrained[States]):
    """A model over `BoxActions` as one over `DiscreteActions`: n evenly spaced values a component, bounds included.

    Action i is row i of `table` [n^D, D], the last component changing fastest. n is at least 2.
    """

    converted = (Constrained,)

    def __init__(self, model: Model[States], n: int) -> None:
        super().__init__(model)
        box = model.actions
        if not isinstance(box, BoxActions):
            raise ValueError(f"DiscretizedActions needs a model over BoxActions, this one has {box}")
        check_integer("n, the values per component,", n, 2)
        axes = [torch.linspace(low, high, n).tolist() for low, high in zip(box.low.tolist(), box.high.tolist())]
        self.table = torch.tensor(list(itertools.product(*axes)), dtype=box.low.dtype, device=box.low.device)

    @property
    def actions(self) -> DiscreteActions:
        return DiscreteActions(len(self.table))

    def expand(
        self, states: States, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]:
        return self.model.expand(states, self._vectors(actions), to_end=to_end, evaluate=evaluate)

    def constraint(self, states: States, actions: Tensor) -> Tensor:
        """The inner model's g of the vectors that the indices [K] stand for."""
        return constraint_of(self.model).constraint(states, self._vectors(actions))

    def to_environment(self, actions: Actions) -> Actions:
        return super().to_environment(self._vectors(actions))

    def _vectors(self, actions: Actions) -> Tensor:
        return self.table[action_indices(actions, len(self.table), self.table.device)]
