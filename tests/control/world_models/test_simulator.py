"""A simulator as a model: its plans are those of the equations, and planning leaves it where it was."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from forethought.control import AnalyticModel, MPCPolicy, MujocoSimulator, Pendulum, SimulatorModel
from forethought.planning import (
    CEM,
    ILQR,
    MCTS,
    MPPI,
    Beam,
    BoxActions,
    Budget,
    DiscreteActions,
    DiscretizedActions,
    GradientShooting,
    ModelError,
    plan,
)
from forethought.planning.testing.check_model import check_model


class Swing:
    """Gymnasium's pendulum in float64, with a state in a buffer of its own and a reward of shape [1]."""

    action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)

    def __init__(self) -> None:
        self.state, self.steps = np.array([3.0, 0.0]), 0

    def get_state(self) -> Any:
        return self.state  # the buffer itself, as many simulators do

    def set_state(self, state: Any) -> None:
        self.state = state  # kept, not copied

    def step(self, action: Any) -> Any:
        self.steps += 1
        theta, speed, torque = *self.state, float(action[0])
        cost = ((theta + np.pi) % (2 * np.pi) - np.pi) ** 2 + 0.1 * speed**2 + 0.001 * torque**2
        speed = np.clip(speed + 0.05 * (15 * np.sin(theta) + 3 * torque), -8, 8)
        self.state[:] = theta + 0.05 * speed, speed
        return None, np.array([-cost]), np.False_, False, {}


class Walk:
    """A walk on the line from 0 to 5; reaching 5 ends it with reward 1. Actions 1 and 2 step down and up."""

    action_space = gymnasium.spaces.Discrete(2, start=1)

    def __init__(self) -> None:
        self.at = {"place": 0, "visited": [0]}

    def get_state(self) -> Any:
        return self.at

    def set_state(self, state: Any) -> None:
        self.at = state

    def step(self, action: Any) -> Any:
        assert action in (1, 2) and self.at["place"] < 5, "an action of the space, and never after the end"
        self.at["place"] = max(0, self.at["place"] + 2 * action - 3)
        self.at["visited"].append(self.at["place"])
        over = self.at["place"] == 5
        return float(over), over


STATES = [np.array([3.0, 0.0]), np.array([0.4, -0.3]), np.array([-2.0, 1.0])]


@pytest.mark.parametrize("several", [False, True])
def test_plans_are_those_of_the_equations_and_the_simulator_is_not_moved(several: bool) -> None:
    simulators = [Swing() for _ in range(2 if several else 1)]
    model = SimulatorModel(simulators if several else simulators[0])
    equations = AnalyticModel(Pendulum(), dtype=torch.float64)
    for planner in (CEM(horizon=12), MPPI(horizon=12)):
        mine, theirs = (plan(planner, each, np.array(STATES), Budget(nodes=1500)).plan for each in (model, equations))
        torch.testing.assert_close(mine.vectors, theirs.vectors.float(), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(mine.value, theirs.value, rtol=1e-4)
    for planner in (MCTS(), Beam()):
        mine, theirs = (
            plan(planner, DiscretizedActions(each, 3), np.array(STATES), Budget(nodes=300)).plan
            for each in (model, equations)
        )
        assert [list(each)[:2] for each in mine.indices] == [list(each)[:2] for each in theirs.indices]
    for each in simulators:
        assert each.steps > 100
        np.testing.assert_array_equal(each.state, [3.0, 0.0])


def test_the_contract_holds() -> None:
    check_model(SimulatorModel(Swing(), gamma=0.9, value=lambda state: -float(state @ state)), STATES)
    check_model(SimulatorModel(Walk()), [{"place": 3, "visited": []}, {"place": 0, "visited": []}])


def test_whole_sequences_have_the_return_of_their_steps() -> None:
    model = SimulatorModel(Swing(), gamma=0.9, value=lambda state: -float(state @ state))
    states, _ = model.start(STATES)
    actions = 4 * torch.rand(6, 3, 1, generator=torch.Generator().manual_seed(0)) - 2
    total, weight = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    walked = states
    for action in actions:
        walked, said = model.expand(walked, action)
        total, weight = total + weight * said.reward, weight * said.discount
    torch.testing.assert_close(model.rollout_returns(states, actions), (total + weight * said.value).float())


def test_an_end_is_absorbing_and_actions_begin_at_the_start_of_the_space() -> None:
    simulator = Walk()
    model = SimulatorModel(simulator)
    assert model.actions == DiscreteActions(2)
    states, _ = model.start([{"place": 4, "visited": []}])
    reached, said = model.expand(states, [1])
    assert (float(said.reward[0]), float(said.discount[0])) == (1.0, 0.0)
    again, after = model.expand(reached, [1])
    assert (float(after.reward[0]), float(after.discount[0])) == (0.0, 0.0) and again[0].over
    for planner in (MCTS(choose="value"), Beam(horizon=6), CEM(horizon=6)):
        found = plan(planner, model, [{"place": 2, "visited": []}], Budget(nodes=600)).plan
        assert list(found.indices[0])[:3] == [1, 1, 1], planner
    assert simulator.at == {"place": 0, "visited": [0]} and states[0].state == {"place": 4, "visited": []}


def test_a_simulator_that_fails_is_put_back_too() -> None:
    class Failing(Swing):
        def step(self, action: Any) -> Any:
            super().step(action)
            raise RuntimeError("the solver failed")

    simulator = Failing()
    model = SimulatorModel(simulator)
    with pytest.raises(RuntimeError, match="the solver failed"):
        model.expand(model.start(STATES)[0], torch.zeros(3, 1))
    np.testing.assert_array_equal(simulator.state, [3.0, 0.0])


@pytest.mark.parametrize("planner", [ILQR(horizon=3), GradientShooting(horizon=3)])
def test_planners_through_derivatives_refuse_it(planner: Any) -> None:
    with pytest.raises(ModelError, match=r"derivatives.*CEM"):
        plan(planner, SimulatorModel(Swing()), STATES, Budget(nodes=200))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (1.0, "step must return .*got float"),
        ((None, [1.0, 2.0], False, False, {}), r"one number as reward, got shape \[2\]"),
    ],
)
def test_what_step_returns_is_checked(answer: Any, message: str) -> None:
    class Odd(Swing):
        def step(self, action: Any) -> Any:
            return answer

    model = SimulatorModel(Odd())
    with pytest.raises(ModelError, match=message):
        model.expand(model.start(STATES)[0], torch.zeros(3, 1))


def test_what_is_no_simulator_and_what_is_no_space_are_refused() -> None:
    with pytest.raises(TypeError, match=r"lacks get_state, set_state.*MujocoSimulator"):
        SimulatorModel(gymnasium.make("CartPole-v1"))  # type: ignore[arg-type]
    for space in (gymnasium.spaces.MultiDiscrete([2, 3]), gymnasium.spaces.Box(-2, 2, (1,), np.int32)):
        with pytest.raises(ValueError, match="Discrete or a bounded Box"):
            SimulatorModel(Swing(), space)
    with pytest.raises(ValueError, match="finite bounds"):
        SimulatorModel(Swing(), gymnasium.spaces.Box(-np.inf, np.inf, (1,)))
    assert isinstance(SimulatorModel(Swing(), gymnasium.spaces.Box(-1, 1, (2, 2))).actions, BoxActions)


def test_mujoco_is_planned_with_as_it_steps_and_is_not_moved() -> None:
    pytest.importorskip("mujoco")
    env = gymnasium.make("InvertedPendulum-v5")
    env.reset(seed=0)
    simulator = MujocoSimulator(env)
    model, before = SimulatorModel(simulator), simulator.get_state()
    states, _ = model.start([before, before])
    rewards = []
    for t in range(5):
        states, said = model.expand(states, torch.tensor([[0.5 * t], [0.5 * t]]))
        rewards.append(float(said.reward[0]))
    check_model(model, [before, states[0].state], steps=2)
    np.testing.assert_array_equal(simulator.get_state(), before)
    taken = [env.step(np.array([0.5 * t], np.float32))[1] for t in range(5)]
    np.testing.assert_array_equal(simulator.get_state(), states[0].state)
    assert rewards == taken


def test_a_policy_that_plans_with_mujoco_balances_it() -> None:
    pytest.importorskip("mujoco")
    env = gymnasium.make("InvertedPendulum-v5")
    env.reset(seed=1)
    simulator = MujocoSimulator(env)
    model = SimulatorModel(simulator, value=lambda state: -10 * float(np.square(state[1:5]).sum()))
    policy = MPCPolicy(CEM(horizon=8), model, 500)
    for _ in range(30):
        action = policy.decide([simulator.get_state()])[0][0]
        assert not env.step(action)[2]
