"""Model predictive control: plan, take the first action, look again, plan anew (Garcia, Prett and Morari 1989).

The agent decides for a batch of environments in step with each other; it never touches one. `episodes.py` steps them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...planning.budget import Budget
from ...planning.driver import Outcome, first_actions, plan
from ...planning.interface import (
    Keys,
)
from ...planning.keys import keys_of


class MPCPolicy:
    """A planner with a model, acting on observations.

    model: plans from observations, as `AnalyticModel`, `MLPModel` and their wrappers do.
    budget: of each decision; a plain number means nodes.
    seeds: one number per environment, whose random choices come from it, from `seed` and from the step, so that an
        episode is the same alone and among others.
    warm: go on from the plan before, where the search can. Never for a model whose actions are held: the world takes
        one step where the plan's first action takes several.
    """

    def __init__(
        self,
        planner: Any,
        model: Any,
        budget: Budget | int,
        *,
        seeds: Sequence[int] = (0,),
        seed: int = 0,
        warm: bool = True,
    ) -> None:
        self.planner, self.model = planner, model
        self.budget = Budget(nodes=budget) if isinstance(budget, int) else budget
        self.seeds, self.seed = tuple(seeds), seed
        self.warm = warm and steps_per_action(model) == 1
        self._translate = action_of(model)
        self._after: Outcome | None = None
        self._step = 0

    def reset(self) -> None:
        """Forget the plan before: a new episode begins."""
        self._after = None

    def decide(self, seen: Any) -> tuple[list[Any], Outcome]:
        """Observations [B, O] to actions as the environments take them, and all that planning said."""
        outcome = plan(
            self.planner, self.model, seen, self.budget, keys=self._keys(), after=self._after if self.warm else None
        )
        taken = first_actions(outcome.plan)
        self._after = outcome if self.warm and advanced(outcome, taken) else None
        self._step += 1
        return [self._translate(action) for action in taken], outcome

    def _keys(self) -> Keys:
        """uint64 [B]: of this decision, one per environment."""
        return keys_of(int(keys_of(self.seed, [self._step])[0]), self.seeds)

    def __call__(self, observation: np.ndarray) -> Any:
        """The action in one environment [O]; makes the agent a policy for `collect`."""
        return self.decide(np.asarray(observation)[None])[0][0]


def advanced(outcome: Outcome, taken: Any) -> bool:
    """Moves the search on past the actions taken; False where it cannot be (a tree without reuse)."""
    search = outcome.search
    reusable = not hasattr(search, "tree") or bool(getattr(search.planner, "reuse", False))
    if hasattr(search, "advance") and reusable:
        search.advance(taken)
        return True
    return False


def steps_per_action(model: Any) -> int:
    """Real steps that one action of the model stands for: the product of its `ActionRepeat`s."""
    steps = 1
    while model is not None:
        steps *= getattr(model, "k", 1)
        model = getattr(model, "model", None)
    return steps


def action_of(model: Any) -> Callable[[Any], Any]:
    """From an action of the model to one of its environment: slots of a `DiscretizedActions` to vectors, tensors to numpy."""
    table = None
    while model is not None and table is None:
        table, model = getattr(model, "table", None), getattr(model, "model", None)

    def act(action: Any) -> Any:
        if table is not None:
            return table[int(action)].cpu().numpy()
        return action.cpu().numpy() if hasattr(action, "cpu") else int(action)

    return act
