"""Offer the elite sequences of one search as the discrete actions of a tree search.

found = plan(CEM(keep=8), model, problems, 512)
tree = EliteActions(model, elites(found.search, 8))
chosen = plan(MCTS(), tree, problems, 512)
tree.vectors(chosen.plan)                               # the action vectors of the plan

A tree over evenly spaced torques spends most of its nodes on torques that are never good; here its actions are those
that sampling found, and at every step it may switch from one elite to another.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..interface import (
    Actions,
    BoxActions,
    Constrained,
    DiscreteActions,
    Evaluate,
    Expansion,
    Int,
    Model,
    Observed,
    Plan,
    Remembering,
    States,
    WarmStartable,
    offered,
)
from ..states import fields_of, like
from .base import ModelWrapper, constraint_of


def elites(search: object, number: int) -> Tensor:
    """The best `number` sequences [B, number, H, D] that a search over vectors has kept, the best first.

    Missing elites, those without a finite return, are filled with the search's plan.

    Errors: ValueError for a search that keeps fewer (`keep` of CEM, iCEM and MPPI, `samples` of a policy).
    """
    found = search.elites() if isinstance(search, WarmStartable) else None
    have = 0 if found is None else found[0].shape[1]
    if not isinstance(search, WarmStartable) or found is None or have < number or number < 1:
        raise ValueError(f"{number} elites were asked of a search that keeps {have}; plan with CEM(keep={number})")
    sequences, returns = found
    finite = torch.isfinite(returns[:, :number])[..., None, None]
    return torch.where(finite, sequences[:, :number], search.plan().vectors[:, None])


class EliteActions(ModelWrapper[object], Constrained[object], Observed[object]):
    """A model over vectors with discrete actions: action k is step t of sequence k at time t, its last step after that.

    sequences: [B, n, H, D], those of the B problems that `start` is given. States are tuples of the model's tensors,
    the problem's row and the step.
    """

    passed_on = (Remembering,)
    converted = (Constrained, Observed)

    def __init__(self, model: Model[States], sequences: Tensor) -> None:
        super().__init__(cast("Model[object]", model))
        if not isinstance(model.actions, BoxActions) or sequences.ndim != 4 or not sequences.shape[2]:
            shape = list(sequences.shape)
            raise ValueError(
                f"EliteActions needs BoxActions and sequences [B, n, H, D], got {model.actions} and {shape}"
            )
        self.sequences = sequences
        self.like: object = None

    @property
    def actions(self) -> DiscreteActions:
        return DiscreteActions(self.sequences.shape[1])

    def start(self, problems: object) -> tuple[tuple[Tensor, ...], Expansion]:
        states, root = self.model.start(problems)
        self.like, fields = states, fields_of(states)
        if len(fields[0]) != len(self.sequences):
            raise ValueError(f"the sequences are of {len(self.sequences)} problems, these are {len(fields[0])}")
        row = torch.arange(len(self.sequences), device=self.sequences.device)
        return (*fields, row, torch.zeros_like(row)), root

    def expand(
        self, states: object, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[tuple[Tensor, ...], Expansion]:
        inner, row, step = self._parts(states)
        vectors = self._vectors(row, step, actions)
        reached, said = self.model.expand(inner, vectors, to_end=to_end, evaluate=evaluate)
        return (*fields_of(reached), row, step + 1), said

    def constraint(self, states: object, actions: Tensor) -> Tensor:
        """The inner model's g of the vectors that the indices [K] stand for."""
        inner, row, step = self._parts(states)
        return constraint_of(self.model).constraint(inner, self._vectors(row, step, actions))

    def observation(self, states: object) -> Tensor:
        inner = self._parts(states)[0]
        observed = offered(self.model, Observed)
        return cast(Tensor, inner) if observed is None else observed.observation(inner)

    def to_environment(self, actions: Actions) -> Actions:
        """The first vectors [B, D] of the sequences that the indices [B] name."""
        row = torch.arange(len(self.sequences), device=self.sequences.device)
        return super().to_environment(self._vectors(row, torch.zeros_like(row), actions))

    def vectors(self, plan: Plan) -> list[Tensor]:
        """Per problem the action vectors [length, D] of a plan over these actions."""
        last = self.sequences.shape[2] - 1
        steps = [np.minimum(np.arange(len(indices)), last) for indices in plan.indices]
        return [self.sequences[b, np.asarray(index), t] for b, (index, t) in enumerate(zip(plan.indices, steps))]

    def _parts(self, states: object) -> tuple[object, Tensor, Tensor]:
        """The inner model's states, the row of each [K], and the step of each [K]."""
        *fields, row, step = cast("tuple[Tensor, ...]", states)
        return like(self.like, fields), row, step

    def _vectors(self, row: Tensor, step: Tensor, actions: Actions | Int) -> Tensor:
        index = torch.as_tensor(np.asarray(actions)).to(row)
        return self.sequences[row, index, step.clamp(max=self.sequences.shape[2] - 1)]
