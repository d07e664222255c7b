"""How searches rank candidates under a constraint, and which models with a constraint they refuse.

A plan's violation is the sum of max(0, g) over its steps up to an end. Each particle has a violation of its own, and
they are reduced as returns are. Feasible candidates rank before all others, and these by how little they violate (Deb
2000, "An efficient constraint handling method for genetic algorithms", section 3; for CEM: Wen and Topcu 2018,
algorithm 1). So no candidate that violates is an elite or the plan while a feasible one is known; where none is, the
least violating one is the plan, and `Plan.violation` says by how much. An average of feasible sequences need not be
feasible, so under a constraint the plan is the best sequence seen, whatever the planner's `answer`.

`wrappers/constraints.py` holds the other ways of keeping to a constraint: a penalty, and a mask on actions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .interface import Constrained, IndexedActions, Model, ModelError, States, offered

PENALISE = "wrap it in Penalised(model, weight)"


def scores_of(returns: Tensor, violation: Tensor | None) -> Tensor:
    """The numbers [M, K] that weights are computed from, given returns [M, K] and violations [M, K] of candidates.

    They are the returns, with minus infinity for infeasible candidates; or minus the violations where none is feasible.
    """
    if violation is None:
        return returns
    finite = torch.where(torch.isfinite(returns), violation, torch.inf)
    feasible = torch.where(finite == 0, returns, -torch.inf)
    least = torch.where(torch.isfinite(finite), -finite, -torch.inf)
    return torch.where((finite == 0).any(-1, keepdim=True), feasible, least)


def order_of(returns: Tensor, violation: Tensor | None) -> Tensor:
    """[M, K] indices of the candidates from best to worst, ties to the lower index."""
    order = returns.argsort(dim=-1, descending=True, stable=True)
    if violation is None:
        return order
    finite = torch.where(torch.isfinite(returns), violation, torch.inf)
    return order.gather(-1, finite.gather(-1, order).argsort(dim=-1, stable=True))


def negative_discount(who: str) -> str:
    """The message for a discount below 0, by which a model says that the next move is an opponent's."""
    return f"{who} has no opponent, and the model gave a negative discount; plan games of two players with MCTS"


def refuse_constrained(model: object, query: str) -> None:
    """Errors: ModelError where a model has a constraint and the kind of query cannot reject candidates by it."""
    if offered(model, Constrained) is not None:
        raise ModelError(f"the model has a constraint and {query} cannot reject; {PENALISE}")


def refuse_constrained_indices(model: Model[States]) -> None:
    """Errors: ValueError where a model over indexed actions has a constraint, which no tree search looks at."""
    if isinstance(model.actions, IndexedActions) and offered(model, Constrained) is not None:
        raise ValueError(f"the model has a constraint, which trees do not see: Masked(model), or {PENALISE}")
