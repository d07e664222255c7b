"""The elites of one search as the actions that another, over slots, chooses from.

found = plan(CEM(keep=8), model, problems, Budget(nodes=512))
tree = EliteActions(model, elites(found.search, 8))
chosen = plan(MCTS(), tree, problems, Budget(nodes=512))
tree.vectors(chosen.plan)                               # what the slots stand for

A tree over a grid of torques wastes its slots on those that nobody would take; here it is offered what sampling found
to be good, and may go from one elite to another at every step. As a plan it can be handed on: `polish.Given`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..interface import BoxActions, DiscreteActions, Evaluate, Expansion, IndexedActions, Plan
from ..states import fields_of, like
from .base import ModelWrapper


def elites(search: Any, number: int) -> Tensor:
    """The best `number` sequences [B, number, H, D] that a search over vectors has kept, the best first; its plan in
    place of those it has not.

    Errors: ValueError for a search that keeps fewer (`keep` of CEM, iCEM and MPPI, `samples` of a policy).
    """
    kept = getattr(search, "kept", None)
    if not isinstance(kept, Tensor) or kept.shape[1] < number or number < 1:
        have = kept.shape[1] if isinstance(kept, Tensor) else 0
        raise ValueError(f"{number} elites are wanted of a search that keeps {have}; plan with CEM(keep={number})")
    told = torch.isfinite(search.kept_returns[:, :number])[..., None, None]
    return torch.where(told, kept[:, :number], search.plan().actions[:, None])


class EliteActions(ModelWrapper):
    """A model over vectors offered as slots: slot k is what sequence k does at this step, behind its end its last.

    sequences: [B, n, H, D], those of the B problems that `start` is given. States are tuples of the model's tensors,
    the problem's row and the step.
    """

    def __init__(self, model: Any, sequences: Tensor) -> None:
        super().__init__(model)
        if not isinstance(model.actions, BoxActions) or sequences.ndim != 4 or not sequences.shape[2]:
            raise ValueError(
                f"EliteActions wants a BoxActions and sequences [B, n, H, D], got {model.actions} and {list(sequences.shape)}"
            )
        self.sequences = sequences
        self.like: Any = None

    @property
    def actions(self) -> IndexedActions:
        return DiscreteActions(self.sequences.shape[1])

    def start(self, problems: Any) -> tuple[Any, Expansion]:
        states, root = self.model.start(problems)
        self.like, fields = states, fields_of(states)
        if len(fields[0]) != len(self.sequences):
            raise ValueError(f"the sequences are of {len(self.sequences)} problems, these are {len(fields[0])}")
        row = torch.arange(len(self.sequences), device=self.sequences.device)
        return (*fields, row, torch.zeros_like(row)), root

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Any, Expansion]:
        *fields, row, step = states
        slot = torch.as_tensor(np.asarray(actions)).to(row)
        vectors = self.sequences[row, slot, step.clamp(max=self.sequences.shape[2] - 1)]
        reached, said = self.model.expand(like(self.like, fields), vectors, to_end=to_end, evaluate=evaluate)
        return (*fields_of(reached), row, step + 1), said

    def vectors(self, plan: Plan) -> list[Tensor]:
        """Per problem the action vectors [length, D] of a plan over these slots."""
        steps = [np.minimum(np.arange(len(line)), self.sequences.shape[2] - 1) for line in plan.actions]
        return [self.sequences[b, np.asarray(line), t] for b, (line, t) in enumerate(zip(plan.actions, steps))]
