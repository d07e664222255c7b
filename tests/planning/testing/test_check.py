"""The conformance kit accepts what keeps the contracts, and catches each way of breaking them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import (
    CEM,
    MCTS,
    MPPI,
    UNITS,
    BestOfN,
    DiscreteActions,
    Expansion,
    IndexedActions,
    ModelError,
    Size,
)
from forethought.planning.testing.check_model import SearchError, check_model, check_search
from forethought.planning.testing.problems import TargetProblem, bandit, chain
from forethought.planning.trees.beam import Beam
from forethought.planning.trees.mcts import MCTSSearch

PLANNERS = [MCTS(), MCTS(leaves=3), MCTS(selection="uct"), MCTS(selection="gumbel"), MCTS(backup="max"), Beam()]
PLANNERS += [BestOfN(horizon=4), CEM(horizon=4), MPPI(horizon=4)]


@pytest.mark.parametrize("planner", PLANNERS, ids=lambda p: type(p).__name__)
def test_every_planner_keeps_the_contract_of_a_search(planner: Any) -> None:
    check_search(planner)


@pytest.mark.parametrize("sampled", [False, True])
def test_the_known_models_keep_the_contract_of_a_model(sampled: bool, table: Callable[..., Any]) -> None:
    check_model(table(3, sampled=sampled), [0, 1, 2], steps=6)
    check_model(bandit([0.1, 0.2], sampled=sampled), [0, 0])
    check_model(chain(3, sampled=sampled), [0, 1])


def test_a_model_over_a_box_is_checked_with_its_gradients() -> None:
    check_model(TargetProblem(torch.tensor([0.3, -0.2])), [0.0, 1.0, 2.0], gradients=True)


def test_two_problems_are_the_least_to_check_a_model_on() -> None:
    with pytest.raises(ValueError, match="at least two problems"):
        check_model(bandit([0.1]), [0])


# models that break their contract


@dataclass
class Counter:
    """Counts down from the problem's number; `broken` says how it errs."""

    broken: str = ""
    calls: int = 0
    cost: int = 1

    @property
    def actions(self) -> IndexedActions:
        return DiscreteActions(2)

    def start(self, problems: Any) -> tuple[Any, Expansion]:
        states = torch.as_tensor(problems, dtype=torch.float32)
        zero = torch.zeros(len(states))
        reward = zero + (self.broken == "start pays")
        return states, Expansion(reward, zero + 1, states.clone(), torch.zeros(len(states), 2))

    def expand(
        self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all"
    ) -> tuple[Any, Expansion]:
        self.calls += 1
        k, how = len(actions), self.broken
        if how == "in place":
            states -= 1
            reached = states
        else:
            reached = states - 1
        going = (reached > 0).float()
        said = Expansion(torch.ones(k), going, reached.clamp(min=0), torch.zeros(k, 2), np.ones((k, len(UNITS))))
        if how == "scalar reward":
            said.reward = torch.ones(())
        elif how == "whole numbers":
            said.value = said.value.long()
        elif how == "nan":
            said.value = said.value / said.value.sum() * torch.nan
        elif how == "worth after the end":
            said.value = torch.ones(k)
        elif how == "three logits":
            said.logits = torch.zeros(k, 3)
        elif how == "no action":
            said.logits = torch.full((k, 2), -torch.inf)
        elif how == "nan logits":
            said.logits = torch.full((k, 2), torch.nan)
        elif how == "flat usage":
            said.usage = np.ones(k)
        elif how == "free lunch":
            said.usage = -np.ones((k, len(UNITS)))
        elif how == "dear":
            said.usage = 2 * np.ones((k, len(UNITS)))
        elif how == "living dead":
            said.dead_end = np.ones(k, bool)
        elif how == "twins":
            said.duplicate_of = np.zeros(k, np.int32)
        elif how == "random":
            said.reward = torch.full((k,), float(self.calls))
        elif how == "batch mean":
            said.reward = reached.mean().expand(k)
        elif how == "unvalued":
            said.reward = torch.full((k,), float(evaluate == "none"))
        elif how == "lost state":
            reached = reached[:-1]
        return reached, said


BROKEN = {
    "scalar reward": "reward has shape",
    "whole numbers": "value must be floating",
    "nan": "value is not finite",
    "worth after the end": "value must be 0 where discount is 0",
    "three logits": "logits has shape",
    "no action": "logits of row 0 leave no action",
    "nan logits": "logits hold NaN",
    "flat usage": "usage has shape",
    "free lunch": "usage holds a number that is negative",
    "dear": "usage charges 2 nodes",
    "living dead": "dead_end marks a state that goes on",
    "twins": "duplicate_of is set by the driver",
    "random": "reward: .*asked twice",
    "batch mean": "reward: row 0 alone",
    "unvalued": "reward is another with evaluate",
    "lost state": "states are 1, expected 2",
    "in place": "states: expand changed in place",
    "start pays": "reward of start must be 0",
}


def test_a_model_that_counts_down_is_in_order() -> None:
    check_model(Counter(), [3.0, 2.0])


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_model_is_caught_and_the_field_named(how: str) -> None:
    with pytest.raises(ModelError, match=BROKEN[how]):
        check_model(Counter(how), [3.0, 2.0])


class Bent(TargetProblem):
    def expand(self, states: Any, actions: Any, **wishes: Any) -> Any:
        reached, said = super().expand(states, actions, **wishes)
        said.reward = said.reward.detach() + 0.1 * (actions - actions.detach()).sum(-1)
        return reached, said


class Numb(TargetProblem):
    def expand(self, states: Any, actions: Any, **wishes: Any) -> Any:
        return super().expand(states, actions.detach(), **wishes)


@pytest.mark.parametrize(("model", "what"), [(Bent, "the gradient along"), (Numb, "carry no gradient")])
def test_wrong_and_missing_gradients_are_caught(model: Any, what: str) -> None:
    check_model(model(torch.tensor([0.9])), [0.0, 1.0])
    with pytest.raises(ModelError, match=what):
        check_model(model(torch.tensor([0.9])), [0.0, 1.0], gradients=True)


# searches that break theirs: MCTS with one method replaced


class Idle(MCTSSearch):
    def ask(self, remaining: Any) -> Any:
        return super().ask(remaining).take(slice(0, 0))


class Greedy(MCTSSearch):
    def __init__(self, planner: Any, root: Any, actions: Any, size: Any, keys: Any, after: Any) -> None:
        super().__init__(planner, root, actions, Size(2 * size.nodes), keys, after)

    def ask(self, remaining: Any) -> Any:
        return super().ask(remaining + 5)


class Lenient(MCTSSearch):
    def tell(self, query: Any, answer: Any) -> None:
        try:
            super().tell(query, answer)
        except ValueError:
            return


class Shrugging(MCTSSearch):
    def drop(self, query: Any) -> None:
        try:
            super().drop(query)
        except ValueError:
            return


class Forgetful(MCTSSearch):
    def drop(self, query: Any) -> None:
        super().drop(query)
        self.tree.headers["simulations"] += 12


class Entangled(MCTSSearch):
    def tell(self, query: Any, answer: Any) -> None:
        answer.value = answer.value * (1 + (self.rows - 1) * query.row).astype(np.float32)
        super().tell(query, answer)


class Ordered(MCTSSearch):
    seen = 0

    def tell(self, query: Any, answer: Any) -> None:
        self.seen += 1
        answer.value = answer.value + np.float32(self.seen)
        super().tell(query, answer)


class Fickle(MCTSSearch):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.tree.priors[:, 0] = (
            np.random.default_rng().dirichlet(np.ones(self.tree.n_actions)) if self.tree.n_actions else 0
        )


class Secretive(MCTSSearch):
    def plan(self) -> Any:
        found = super().plan()
        found.value = found.value * np.nan
        return found


class Misguided(MCTSSearch):
    def plan(self) -> Any:
        found = super().plan()
        found.path = [p[:1] for p in found.path]
        return found


class Backwards(MCTSSearch):
    def tell(self, query: Any, answer: Any) -> None:
        answer.reward, answer.value = -answer.reward, -answer.value
        super().tell(query, answer)


@dataclass(frozen=True)
class Using:
    """MCTS with another search."""

    search: Any
    leaves: int = 1

    def begin(self, root: Any, actions: Any, size: Any, *, keys: Any, after: Any = None) -> Any:
        if not isinstance(actions, IndexedActions):
            raise ValueError("IndexedActions only")
        return self.search(MCTS(), root, actions, size, keys, after)


FAULTS = {
    Idle: "is not done, awaits nothing, and asks nothing",
    Greedy: "more nodes than it has room for|under a cap of",
    Lenient: "telling an answer twice must be a ValueError",
    Shrugging: "must be a ValueError",
    Forgetful: "dropped calls changed the plan",
    Entangled: "row . alone has another plan",
    Ordered: "the order in which rows were told changed the plan",
    # unseeded on purpose, so whichever comparison sees it first names it
    Fickle: "the same keys gave another plan|changed the plan|alone has another plan",
    Secretive: "the plan's value is",
    Misguided: "does not lead to best",
    Backwards: "from a bandit whose best arm pays",
}


@pytest.mark.parametrize("search", FAULTS, ids=lambda s: s.__name__)
def test_a_broken_search_is_caught(search: Any) -> None:
    with pytest.raises(SearchError, match=FAULTS[search]):
        check_search(Using(search))


def test_a_planner_that_takes_no_space_is_a_value_error() -> None:
    class Nothing:
        def begin(self, *args: Any, **kwargs: Any) -> Any:
            raise ValueError("no")

    with pytest.raises(ValueError, match="takes none of"):
        check_search(Nothing())


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_wrong_gradient_is_found_in_any_unit_of_the_reward(unit: float) -> None:
    """The rewards pass through no derivative by half of the action, so that the gradient is half of the truth."""

    class Scaled(TargetProblem):
        halved = False

        def expand(self, states: Any, actions: Any, **how: Any) -> Any:
            if self.halved:
                actions = (actions + actions.detach()) / 2
            reached, said = super().expand(states, actions, **how)
            return reached, replace(said, reward=said.reward * unit, value=said.value * unit)

    model = Scaled(torch.tensor([0.9, -0.7]))
    check_model(model, [0.0, 1.0], gradients=True)
    model.halved = True
    with pytest.raises(ModelError, match="gradient along a direction"):
        check_model(model, [0.0, 1.0], gradients=True)
