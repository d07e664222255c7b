"""Constraints beyond boxes: what a plan must not do, as a rejection or as a penalty.

A model offers them as `constraint(states, actions) -> g`, [K] or [K, C] for K states and what is done in them
(vectors or slots), feasible where g <= 0. A plan's violation is the sum of max(0, g) over its steps up to an end; with
several particles each has one, and they are reduced as returns are, so that a plan is feasible if it is in every world.

| how | with | for |
|---|---|---|
| rejection | the model itself | best-of-N, CEM, iCEM, MPPI over vectors |
| rejection of slots | `Masked(model)` | MCTS, beams, best-of-N, CEM and MPPI over `DiscreteActions(n)` |
| penalty | `Penalised(model, weight)` | every planner; those that use derivatives have no other way |

Rejection: feasible candidates rank before all others, and these by how little they violate (Deb 2000, "An efficient
constraint handling method for genetic algorithms", section 3; for CEM: Wen and Topcu 2018, algorithm 1). So no
candidate that violates is an elite, is kept, or is the plan, while one that does not exists; where none exists the
least violating is the plan, and `Plan.violation` says by how much. An average of feasible sequences need not be
feasible, so under a constraint the plan is the best sequence seen, whatever the planner's `answer`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .interface import BoxActions, DiscreteActions, Evaluate, Expansion, IndexedActions, ModelError
from .rollout import excess, take
from .wrappers.base import ModelWrapper

PENALISE = "wrap it in Penalised(model, weight)"


def scores_of(returns: Tensor, violation: Tensor | None) -> Tensor:
    """What weights are made of, [M, K]: returns of feasible candidates alone, or minus violations where none is."""
    if violation is None:
        return returns
    told = torch.where(torch.isfinite(returns), violation, torch.inf)
    feasible = torch.where(told == 0, returns, -torch.inf)
    least = torch.where(torch.isfinite(told), -told, -torch.inf)
    return torch.where((told == 0).any(-1, keepdim=True), feasible, least)


def order_of(returns: Tensor, violation: Tensor | None) -> Tensor:
    """[M, K] places of the candidates from best to worst, ties to the lower index."""
    order = returns.argsort(dim=-1, descending=True, stable=True)
    if violation is None:
        return order
    told = torch.where(torch.isfinite(returns), violation, torch.inf)
    return order.gather(-1, told.gather(-1, order).argsort(dim=-1, stable=True))


def refuse(model: Any, who: str) -> None:
    """Errors: ModelError where a model offers a constraint to a question that cannot reject."""
    if getattr(model, "constraint", None) is not None:
        raise ModelError(f"the model has a constraint and {who} cannot reject; {PENALISE}")


def refuse_slots(model: Any) -> None:
    """Errors: ValueError where a model over slots offers a constraint that no tree would look at."""
    if isinstance(model.actions, IndexedActions) and getattr(model, "constraint", None) is not None:
        raise ValueError(f"the model has a constraint, which trees do not see: Masked(model), or {PENALISE}")


class Penalised(ModelWrapper):
    """A model whose steps cost `weight` x sum of max(0, g)^power, and that has no constraint any more.

    power: 1 is exact (feasible at the optimum from some finite weight on, with a kink there); 2 is smooth and violates
        a little at any weight (Nocedal and Wright 2006, "Numerical optimization", sections 17.1 and 17.2).
    """

    constraint = None  # type: ignore[assignment]

    def __init__(self, model: Any, weight: float, power: int = 1) -> None:
        super().__init__(model)
        if not weight >= 0 or power not in (1, 2):
            raise ValueError(f"weight is at least 0 and power 1 or 2, got {weight} and {power}")
        if getattr(model, "constraint", None) is None:
            raise ValueError(f"{type(model).__name__} offers no constraint(states, actions) to penalise")
        self.weight, self.power = weight, power

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Any, Expansion]:
        given = actions if isinstance(self.actions, BoxActions) else torch.as_tensor(actions)
        over = excess(self.model.constraint(states, given), len(given), self.power)
        reached, said = self.model.expand(states, actions, to_end=to_end, evaluate=evaluate)
        reward = torch.as_tensor(said.reward)
        return reached, replace(said, reward=reward - self.weight * over.to(reward))


class Masked(ModelWrapper):
    """A model over `DiscreteActions(n)` that offers in each state the slots with g <= 0 alone, or the least violating ones."""

    constraint = None  # type: ignore[assignment]

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        if not isinstance(model.actions, DiscreteActions):
            raise ValueError(f"Masked wants a model over DiscreteActions(n), got {model.actions}")
        if getattr(model, "constraint", None) is None:
            raise ValueError(f"{type(model).__name__} offers no constraint(states, actions) to mask by")

    def start(self, problems: Any) -> tuple[Any, Expansion]:
        return self._masked(*self.model.start(problems))

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Any, Expansion]:
        return self._masked(*self.model.expand(states, actions, to_end=to_end, evaluate=evaluate))

    def _masked(self, states: Any, said: Expansion) -> tuple[Any, Expansion]:
        count, slots = len(torch.as_tensor(said.reward)), int(self.model.actions.n)
        each = take(states, torch.arange(count).repeat_interleave(slots))
        over = excess(self.model.constraint(each, torch.arange(slots).repeat(count)), count * slots).view(count, slots)
        logits = torch.zeros(count, slots) if said.logits is None else torch.as_tensor(said.logits).float()
        over = torch.where(torch.isfinite(logits), over.to(logits), torch.inf)
        allowed = over <= over.amin(1, keepdim=True)
        return states, replace(said, logits=torch.where(allowed, logits, -torch.inf))
