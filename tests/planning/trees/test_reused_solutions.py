"""Solutions that a later decision finds in a reused tree have returns from its own root, not from the first one's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from forethought.planning import MCTS, Budget, DiscreteActions, Expansion, SampledActions, plan, receding_horizon

STATES, ACTIONS = 12, 3
Log = tuple[tuple[float, float], ...]
State = tuple[int, Log]
"""A state's number, and the reward and discount of every step taken since the first decision."""


@dataclass
class Logged:
    """Random rewards, discounts and ends. A problem is a state, which remembers the steps that led to it."""

    seed: int
    sampled: bool = False
    cost: int = 1

    def __post_init__(self) -> None:
        draw = np.random.default_rng(self.seed)
        shape = (STATES, ACTIONS)
        self.next, self.reward = draw.integers(0, STATES, shape), draw.normal(size=shape).astype(np.float32)
        over = draw.random(shape) < 0.3
        over[:4] = False
        self.discount = np.where(over, 0, draw.uniform(0.5, 1, shape)).astype(np.float32)
        self.values = draw.normal(size=STATES).astype(np.float32)

    @property
    def actions(self) -> Any:
        return SampledActions() if self.sampled else DiscreteActions(ACTIONS)

    def start(self, problems: Any) -> Any:
        one = np.ones(len(problems), np.float32)
        return list(problems), Expansion(0 * one, one, self.values[[number for number, _ in problems]])

    def move(self, state: State, action: int) -> State:
        number, action = state[0], action % ACTIONS
        step = float(self.reward[number, action]), float(self.discount[number, action])
        return int(self.next[number, action]), (*state[1], step)

    def expand(self, states: Any, actions: Any, **wishes: Any) -> Any:
        reached = [self.move(state, int(action)) for state, action in zip(states, actions)]
        reward, discount = np.array([state[1][-1] for state in reached], np.float32).T.copy()
        value = np.where(discount == 0, 0, self.values[[number for number, _ in reached]])
        return reached, Expansion(reward, discount, value.astype(np.float32))


def discounted(steps: Log) -> float:
    total, weight = 0.0, 1.0
    for reward, discount in steps:
        total, weight = total + weight * reward, weight * discount
    return total


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("selection", ["puct", "uct"])
def test_returns_of_solutions_count_from_the_root_of_each_decision(selection: Any, sampled: bool) -> None:
    model = Logged(2, sampled)
    roots: list[State] = [(0, ()), (1, ()), (2, ())]
    reached = [roots]

    def act(taken: Any) -> Any:
        reached.append([model.move(state, int(action)) for state, action in zip(reached[-1], taken)])
        return reached[-1], np.ones(3, bool)

    planner = MCTS(reuse=True, selection=selection, choose="finished")
    earlier: list[set[int]] = [set(), set(), set()]
    reused = 0
    for decision, outcome in enumerate(receding_horizon(planner, model, roots, act, Budget(nodes=80), 2)):
        found = outcome.plan
        for row in range(3):
            before = len(reached[decision][row][1])
            assert before == decision, "no row has ended"
            for leaf in found.finished[row]:
                (state,) = outcome.states.get(np.array([row]), np.array([leaf.node]))
                assert state[1][-1][1] == 0, "a solution is an end"
                assert leaf.value == pytest.approx(discounted(state[1][before:]), abs=1e-5)
                reused += decision == 1 and leaf.node in earlier[row]
            earlier[row] = {leaf.node for leaf in found.finished[row]}
            assert found.value[row] == max(np.float32(leaf.value) for leaf in found.finished[row])
            state = reached[decision][row]
            for action in found.actions[row]:
                state = model.move(state, int(action))
            assert found.value[row] == pytest.approx(discounted(state[1][before:]), abs=1e-5)
    assert reused > 5


class Lasting(Logged):
    """Action 0 ends every episode, no other does, and every step halves what comes after it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.discount[:] = 0.5
        self.discount[:, 0] = 0


def test_returns_of_solutions_are_exact_after_many_decisions_on_one_tree() -> None:
    model, planner, state, after = Lasting(2), MCTS(reuse=True), (0, ()), None
    for decision in range(200):
        outcome = plan(planner, model, [state], Budget(nodes=30), seed=decision, after=after)
        for leaf in outcome.plan.finished[0]:
            (end,) = outcome.states.get(np.zeros(1, np.int32), np.array([leaf.node]))
            assert leaf.value == pytest.approx(discounted(end[1][decision:]), abs=1e-4)
        action = max(1, int(outcome.plan.actions[0][0]))
        outcome.search.advance(np.array([action], np.int32))
        state, after = model.move(state, action), outcome
