"""Model predictive control: plan, take the first action, observe, plan anew (Garcia, Prett and Morari 1989).

The policy decides for a batch of environments in lock step; it never steps one. `episodes.py` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...planning.budget import Budget, budget_of
from ...planning.driver import Outcome, advance_search, first_actions, plan
from ...planning.interface import Actions, Keys, Model, Planner, Remembering, offered, refuse_environment
from ...planning.noise import keys_of
from ...planning.wrappers.base import steps_per_action, to_environment


class MPCPolicy:
    """A planner with a model, acting on observations.

    model: plans from observations, as `AnalyticModel`, `MLPModel` and wrappers around them do. Where it offers
        `Remembering`, the policy keeps the model's memory between decisions and plans from that.
    budget: of each decision; a number means nodes.
    seeds: one number per environment. Its random choices come from it, from `seed` and from the step, so that an
        episode is the same alone and among others.
    warm: begin from the plan before, where the search can. Not for a model whose actions are repeated: the
        environment takes one step where the plan's first action takes several.
    """

    def __init__(
        self,
        planner: Planner,
        model: Model[Any],
        budget: Budget | int,
        *,
        seeds: Sequence[int] = (0,),
        seed: int = 0,
        warm: bool = True,
    ) -> None:
        refuse_environment(model)
        self.planner, self.model, self.budget = planner, model, budget_of(budget)
        self.seeds, self.seed = tuple(seeds), seed
        self.warm = warm and steps_per_action(model) == 1
        self._after: Outcome[Any] | None = None
        self._memory: object | None = None
        self._actions: list[Any] | None = None
        self._step = 0

    def reset(self) -> None:
        """Forget the plan and the memory before: a new episode begins."""
        self._after = self._memory = self._actions = None

    def decide(self, obs: Any) -> tuple[list[Any], Outcome[Any]]:
        """Observations [B, O] to actions as the environments take them, and the outcome of planning."""
        after = self._after if self.warm else None
        outcome = plan(self.planner, self.model, self._problems(obs), self.budget, keys=self._keys(), after=after)
        actions = first_actions(outcome.plan)
        self._after = outcome if self.warm and advance_search(outcome, actions) else None
        self._actions = as_taken(to_environment(self.model, actions))
        self._step += 1
        return self._actions, outcome

    def _problems(self, obs: Any) -> Any:
        """What the model plans from: the observations, or its memory of them."""
        remembering = offered(self.model, Remembering)
        if remembering is None:
            return obs
        fresh = np.full(len(obs), self._memory is None)
        self._memory = remembering.remember(self._memory, self._actions, obs, fresh)
        return self._memory

    def _keys(self) -> Keys:
        """uint64 [B]: of this decision, one per environment."""
        return keys_of(int(keys_of(self.seed, [self._step])[0]), self.seeds)

    def __call__(self, obs: NDArray[Any]) -> Any:
        """The action in one environment [O]; with it this object is a policy for `collect`."""
        return self.decide(np.asarray(obs)[None])[0][0]


def as_taken(actions: Actions) -> list[Any]:
    """B actions as environments take them: an integer each, or a numpy vector [D]."""
    return [action.cpu().numpy() if isinstance(action, Tensor) else int(action) for action in actions]
