"""Turn a constraint of a model into a penalty, or into a mask on its actions.

A model is constrained where it offers `interface.Constrained`: g [K] or [K, C] of K states and the actions taken in
them, feasible where g <= 0.

| how | with | for |
|---|---|---|
| rejection (`scoring.py`) | the model itself | best-of-N, CEM, iCEM, MPPI over vectors |
| mask | `Masked(model)` | MCTS, beams, best-of-N, CEM and MPPI over `DiscreteActions(n)` |
| penalty | `Penalised(model, weight)` | every planner; those that use derivatives have no other way |
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ..interface import (
    Actions,
    BoxActions,
    DiscreteActions,
    Evaluate,
    Expansion,
    Model,
    Observed,
    Remembering,
    States,
    Stochastic,
)
from ..rollout import take, violation_of
from ..settings_checks import check_setting, is_number
from .base import ModelWrapper, constraint_of


class Penalised(ModelWrapper[States]):
    """A model whose steps cost `weight` x sum of max(0, g)^power, and that has no constraint any more.

    power: 1 is exact (feasible at the optimum from some finite weight on, with a kink there); 2 is smooth and violates
        a little at any weight (Nocedal and Wright 2006, "Numerical optimization", sections 17.1 and 17.2).
    """

    passed_on = (Stochastic, Remembering, Observed)

    def __init__(self, model: Model[States], weight: float, power: int = 1) -> None:
        super().__init__(model)
        check_setting(is_number(weight) and weight >= 0, "weight", "at least 0 and finite", weight)
        check_setting(power in (1, 2), "power", "1 or 2", power)
        self.constrained = constraint_of(model)
        self.weight, self.power = weight, power

    def expand(
        self, states: States, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]:
        given = actions if isinstance(self.actions, BoxActions) else torch.as_tensor(actions)
        g = self.constrained.constraint(states, torch.as_tensor(given))
        violation = violation_of(g, len(given), self.power)
        reached, said = self.model.expand(states, actions, to_end=to_end, evaluate=evaluate)
        reward = torch.as_tensor(said.reward)
        return reached, replace(said, reward=reward - self.weight * violation.to(reward))


class Masked(ModelWrapper[States]):
    """A model over `DiscreteActions(n)` without the actions that violate its constraint.

    Each state has the actions with g <= 0, or the least violating ones where there are none.
    """

    passed_on = (Stochastic, Remembering, Observed)

    def __init__(self, model: Model[States]) -> None:
        super().__init__(model)
        if not isinstance(model.actions, DiscreteActions):
            raise ValueError(f"Masked needs a model over DiscreteActions(n), got {model.actions}")
        self.constrained, self.count = constraint_of(model), model.actions.n

    def start(self, problems: object) -> tuple[States, Expansion]:
        return self._masked(*self.model.start(problems))

    def expand(
        self, states: States, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]:
        return self._masked(*self.model.expand(states, actions, to_end=to_end, evaluate=evaluate))

    def _masked(self, states: States, said: Expansion) -> tuple[States, Expansion]:
        """The same answer with logits -inf where another action of the state violates less."""
        rows, count = len(said.reward), self.count
        each = take(states, torch.arange(rows).repeat_interleave(count))
        g = self.constrained.constraint(each, torch.arange(count).repeat(rows))
        violation = violation_of(g, rows * count).view(rows, count)
        logits = torch.zeros(rows, count) if said.logits is None else torch.as_tensor(said.logits).float()
        violation = torch.where(torch.isfinite(logits), violation.to(logits), torch.inf)
        allowed = violation <= violation.amin(1, keepdim=True)
        return states, replace(said, logits=torch.where(allowed, logits, -torch.inf))
