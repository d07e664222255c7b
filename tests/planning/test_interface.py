"""Optional interfaces are inherited: attributes of the same name on a model that inherits none are never used."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from forethought.control import AnalyticModel, DynamicsEnv, MPCPolicy, Pendulum, SwingUp
from forethought.planning import (
    CEM,
    ILQR,
    MCTS,
    MPPI,
    Beam,
    BoxActions,
    Budget,
    EliteActions,
    Expansion,
    GaussianSettings,
    aplan,
    elites,
    plan,
    receding_horizon,
)
from forethought.planning.interface import (
    Constrained,
    Observed,
    Remembering,
    Steppable,
    Stochastic,
    Valued,
    Vectorised,
    offered,
)
from forethought.planning.testing.linear_quadratic import LinearQuadratic
from forethought.planning.testing.problems import Table, TargetProblem, chain
from forethought.planning.usage import NODES
from forethought.planning.wrappers.action_repeat import ActionRepeat
from forethought.planning.wrappers.base import ModelWrapper, steps_per_action, to_environment
from forethought.planning.wrappers.discretized_actions import DiscretizedActions
from forethought.planning.wrappers.lambda_return import LambdaReturn
from forethought.planning.wrappers.rollout_value import RolloutValue
from forethought.planning.wrappers.terminal_value import TerminalValue

STARTS = torch.tensor([[1.0, 0.0], [0.6, -0.1]], dtype=torch.float64)


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("an attribute that only looks like an optional interface was used")


def with_unrelated_attributes(model: Any) -> Any:
    """The same model, beside whose contract stand attributes that mean something else to its author."""
    kind = type("WithUnrelatedAttributes", (type(model),), {})
    other = kind.__new__(kind)
    other.__dict__.update(vars(model))
    unrelated = {"k": 7, "step": 3, "walk": never, "table": torch.zeros(2, 9), "particles": 5, "constraint": never}
    unrelated |= {"model": "a name", "repeat": never, "tree": never, "most_tokens": "many", "propagated": never}
    other.__dict__.update(unrelated)
    return other


class Integrator:
    """A double integrator that inherits from nothing."""

    cost = 1
    actions = BoxActions(torch.tensor([-3.0]), torch.tensor([3.0]))

    def start(self, problems: Any) -> Any:
        states = torch.as_tensor(problems).float()
        zero = torch.zeros(len(states))
        return states, Expansion(zero, zero + 1, zero)

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        position, speed = states[:, 0] + 0.2 * states[:, 1], states[:, 1] + 0.2 * actions[:, 0]
        reward = -position.square() - 0.1 * speed.square() - 0.01 * actions[:, 0].square()
        return torch.stack([position, speed], 1), Expansion(reward, torch.ones_like(reward), torch.zeros_like(reward))


def random_table() -> Table:
    draw = np.random.default_rng(4)
    return Table(draw.integers(0, 6, (6, 3)), draw.normal(size=(6, 3)), np.full((6, 3), 0.9), draw.normal(size=6))


@pytest.mark.parametrize("planner", [MCTS(), Beam(horizon=4), CEM(horizon=4)])
def test_trees_plan_the_same_over_a_model_with_unrelated_attributes(planner: Any) -> None:
    found = [plan(planner, m, [0, 3], 60) for m in (random_table(), with_unrelated_attributes(random_table()))]
    assert [a.tolist() for a in found[0].plan.indices] == [a.tolist() for a in found[1].plan.indices]
    np.testing.assert_array_equal(found[0].plan.value, found[1].plan.value)
    np.testing.assert_array_equal(found[0].charged, found[1].charged)


@pytest.mark.parametrize("planner", [CEM(horizon=5), MPPI(horizon=5), ILQR(horizon=5)])
def test_vectors_are_planned_the_same_over_a_model_with_unrelated_attributes(planner: Any) -> None:
    found = [plan(planner, m, STARTS, 400) for m in (Integrator(), with_unrelated_attributes(Integrator()))]
    assert torch.equal(found[0].plan.vectors, found[1].plan.vectors)
    np.testing.assert_array_equal(found[0].charged, found[1].charged)
    assert found[1].plan.violation is None


def test_a_policy_warm_starts_the_same_over_a_model_with_unrelated_attributes() -> None:
    plain, other = (
        MPCPolicy(CEM(horizon=5, keep=3, vectors=GaussianSettings(reuse_elites=3)), m, 200, seeds=[0, 1])
        for m in (Integrator(), with_unrelated_attributes(Integrator()))
    )
    assert plain.warm and other.warm
    for _ in range(3):
        (expected, _), (found, _) = plain.decide(STARTS), other.decide(STARTS)
        np.testing.assert_array_equal(expected, found)


def test_a_policy_hands_the_environment_the_vector_that_an_elite_action_stands_for() -> None:
    model = AnalyticModel(Pendulum())
    obs = np.array([[-1.0, 0.0, 0.5], [0.0, 1.0, -1.0]], np.float32)
    search = plan(CEM(horizon=6, keep=4), model, obs, 600).search
    policy = MPCPolicy(MCTS(), EliteActions(model, elites(search, 4)), 40, seeds=[0, 1])
    actions, outcome = policy.decide(obs)
    for row, action in enumerate(actions):
        assert isinstance(action, np.ndarray) and action.shape == (1,)
        first = int(outcome.plan.indices[row][0])
        np.testing.assert_array_equal(action, elites(search, 4)[row, first, 0].numpy())


def test_wrappers_convert_actions_and_count_steps_through_each_other() -> None:
    model = LambdaReturn(DiscretizedActions(ActionRepeat(AnalyticModel(Pendulum()), 4), 3), 0.9)
    assert steps_per_action(RolloutValue(model, 2)) == 4
    assert to_environment(RolloutValue(model, 2), np.array([2, 0], np.int32)).tolist() == [[2.0], [-2.0]]
    assert steps_per_action(AnalyticModel(Pendulum())) == 1
    assert to_environment(AnalyticModel(Pendulum()), torch.ones(2, 1)).tolist() == [[1.0], [1.0]]


class Everything(Steppable, Vectorised, Stochastic, Constrained, Remembering, Valued, Observed, TargetProblem):
    """A model that inherits from every optional interface."""

    particles = 1

    def step(self, states: Any, actions: Any) -> Any:
        return never()

    def rollout_returns(self, states: Any, actions: Any) -> Any:
        return never()

    def repeat(self, states: Any, keys: Any) -> Any:
        return states

    def constraint(self, states: Any, actions: Any) -> Tensor:
        return -torch.ones(len(actions))

    def remember(self, memory: Any, actions: Any, obs: Any, fresh: Any) -> Any:
        return obs

    def state_value(self, states: Any) -> Any:
        return never()

    def observation(self, states: Any) -> Any:
        return states[:, None]


WRAPPERS = [
    lambda m: ModelWrapper(m),
    lambda m: ActionRepeat(m, 2),
    lambda m: DiscretizedActions(m, 3),
    lambda m: LambdaReturn(m, 0.5),
    lambda m: RolloutValue(m, 2),
]


@pytest.mark.parametrize("wrap", WRAPPERS, ids=["bare", "repeat", "discretized", "lambda", "rollout"])
def test_a_wrapper_offers_nothing_that_would_bypass_its_expand(wrap: Any) -> None:
    model = wrap(Everything(torch.zeros(1)))
    for kind in (Steppable, Vectorised, Valued):
        assert offered(model, kind) is None
    assert offered(model, Remembering) is not None


def test_a_terminal_value_is_valued_itself_and_given_observations() -> None:
    model = TerminalValue(Everything(torch.zeros(1)), lambda obs: 10 + obs[:, 0])
    assert offered(model, Valued) is model
    assert model.state_value(torch.tensor([1.0, 2.0])).tolist() == [11.0, 12.0]
    assert model.start([1.0, 2.0])[1].value.tolist() == [11.0, 12.0]


def test_a_model_offers_a_value_only_where_it_has_one() -> None:
    assert offered(AnalyticModel(Pendulum()), Valued) is None
    model = AnalyticModel(Pendulum(), lambda states: states[:, 0])
    assert offered(model, Valued) is model and offered(model, Steppable) is model


class Counting(Remembering, TargetProblem):
    """A model whose memory is what it has observed so far; problems are the last observations."""

    def __init__(self, goal: Tensor) -> None:
        super().__init__(goal)
        self.calls: list[Any] = []

    def start(self, problems: Any) -> Any:
        return super().start(problems["obs"][-1])

    def remember(self, memory: Any, actions: Any, obs: Any, fresh: Any) -> Any:
        self.calls.append((memory, actions, fresh.tolist()))
        return {"obs": [*(memory["obs"] if memory else []), obs]}


def test_a_policy_keeps_the_memory_of_a_model_that_remembers() -> None:
    model = Counting(torch.tensor([0.5]))
    policy = MPCPolicy(CEM(horizon=2), model, 64, seeds=[0, 1])
    first, _ = policy.decide(np.array([0.0, 1.0]))
    policy.decide(np.array([2.0, 3.0]))
    assert model.calls[0] == (None, None, [True, True])
    memory, actions, fresh = model.calls[1]
    assert len(memory["obs"]) == 1 and fresh == [False, False]
    np.testing.assert_array_equal(actions, first)
    policy.reset()
    policy.decide(np.array([4.0, 5.0]))
    assert model.calls[2] == (None, None, [True, True])


# plain numbers as budgets, and environments that are no models


def test_a_number_is_a_budget_in_nodes() -> None:
    with_number, with_budget = (plan(MCTS(), random_table(), [0, 1], b) for b in (50, Budget(nodes=50)))
    np.testing.assert_array_equal(with_number.charged, with_budget.charged)
    assert with_number.plan.path == with_budget.plan.path and with_number.charged[0, NODES] == 50
    steps = receding_horizon(MCTS(), random_table(), [0, 1], lambda a: ([1, 2], np.ones(2, bool)), 20, 2)
    assert [o.charged[0, NODES] for o in steps] == [20, 20]


async def test_a_number_is_a_budget_in_nodes_when_awaited() -> None:
    class Awaited:
        actions, cost, most_tokens, table = chain(3, sampled=True).actions, 1, 0, chain(3, sampled=True)

        async def start(self, problems: Any) -> Any:
            return self.table.start(problems)

        async def expand(self, states: Any, actions: Any, **how: Any) -> Any:
            return self.table.expand(states, actions, **how)

    outcome = await aplan(MCTS(), Awaited(), 0, 7, close=False)
    assert outcome.charged[0, NODES] <= 7
    assert outcome.plan.path == (await aplan(MCTS(), Awaited(), 0, Budget(nodes=7), close=False)).plan.path


ENVIRONMENTS = [lambda: gymnasium.make("CartPole-v1"), lambda: DynamicsEnv(SwingUp())]


@pytest.mark.parametrize("make", ENVIRONMENTS, ids=["gymnasium", "dynamics"])
async def test_an_environment_given_as_a_model_is_refused_with_the_remedy(make: Any) -> None:
    env = make()
    with pytest.raises(TypeError, match=r"gymnasium environment.*AnalyticModel\(dynamics\)"):
        plan(MCTS(), env, [0], 50)
    with pytest.raises(TypeError, match="gymnasium environment"):
        await aplan(MCTS(), env, 0, 50)
    with pytest.raises(TypeError, match="gymnasium environment"):
        next(receding_horizon(MCTS(), env, [0], lambda a: ([0], np.ones(1, bool)), 50, 1))
    with pytest.raises(TypeError, match="gymnasium environment"):
        MPCPolicy(MCTS(), env, 50)


def test_a_plan_names_the_kind_of_its_actions() -> None:
    indices = plan(MCTS(), random_table(), [0], 9).plan
    vectors = plan(CEM(horizon=2), TargetProblem(torch.zeros(1)), [0.0], 64).plan
    assert vectors.vectors.shape == (1, 2, 1) and indices.indices[0].dtype == np.int32
    with pytest.raises(ValueError, match=r"plan\.indices"):
        _ = indices.vectors
    with pytest.raises(ValueError, match=r"plan\.vectors"):
        _ = vectors.indices


def test_a_linear_quadratic_model_is_stepped() -> None:
    assert issubclass(LinearQuadratic, Steppable)
