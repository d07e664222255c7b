"""Random, given and planning policies: what they do with an environment."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from forethought.control import AnalyticModel, FunctionPolicy, MPCPolicy, Pendulum
from forethought.control.data.collector import collect
from forethought.control.policies import mpc
from forethought.control.policies.mpc import as_taken
from forethought.control.policies.random import RandomPolicy
from forethought.planning import CEM, MCTS, BestOfN, Budget, DiscretizedActions
from forethought.planning.interface import Remembering
from forethought.planning.usage import NODES
from forethought.planning.wrappers.action_repeat import ActionRepeat
from forethought.planning.wrappers.base import ModelWrapper

SEEN = np.array([[1.0, 0.0, 0.3], [0.0, 1.0, -0.5]], np.float32)


def test_a_function_of_the_observation_is_a_policy():
    data = collect("CartPole-v1", 30, policy=FunctionPolicy(lambda obs: int(obs[2] > 0)), seed=0)
    assert torch.equal(data.action, (data.obs[:, 2] > 0).long())


def test_random_actions_are_repeated():
    data = collect("Pendulum-v1", 150, seed=0, action_repeat=4)
    same = (data.action[1:] == data.action[:-1]).float().mean()
    assert 0.5 < same < 0.9


def test_repetitions_are_as_long_as_they_are_said_to_be():
    """Uniform on 1 .. 2 k - 1, whose mean is k; two repetitions of a continuous action are never the same."""
    policy = RandomPolicy(gymnasium.spaces.Box(-1, 1, (1,)), seed=0, action_repeat=3)
    taken = np.array([policy(SEEN[0])[0] for _ in range(6000)])
    begins = np.flatnonzero(np.r_[True, taken[1:] != taken[:-1]])
    lengths = np.diff(begins)
    assert set(lengths.tolist()) == {1, 2, 3, 4, 5}
    # the deviation of one length is sqrt(2), of the mean of about 2000 lengths 0.03
    assert lengths.mean() == pytest.approx(3, abs=0.16)
    policy.reset()
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        RandomPolicy(gymnasium.spaces.Discrete(2), action_repeat=0)


def test_a_planning_policy_decides_for_several_environments_as_for_each_alone():
    def policy(seeds):
        return MPCPolicy(CEM(horizon=4, iterations=2), AnalyticModel(Pendulum()), 96, seeds=seeds, seed=5)

    together = policy((7, 8))
    first, outcome = together.decide(SEEN)
    second, _ = together.decide(SEEN)
    assert (outcome.charged[:, NODES] <= 96).all() and [a.shape for a in first] == [(1,), (1,)]
    for row, seed in enumerate((7, 8)):
        alone = policy((seed,))
        for told in (first, second):
            np.testing.assert_allclose(alone.decide(SEEN[row : row + 1])[0][0], told[row], atol=1e-4)


@pytest.mark.parametrize("warm", [True, False])
def test_it_begins_with_its_plan_of_the_step_before_until_it_is_reset(warm, monkeypatch):
    begun_after, plan = [], mpc.plan

    def noted(*asked, after, **more):
        begun_after.append(after)
        return plan(*asked, after=after, **more)

    monkeypatch.setattr(mpc, "plan", noted)
    agent = MPCPolicy(CEM(horizon=4, iterations=1), AnalyticModel(Pendulum()), 48, warm=warm)
    _, first = agent.decide(SEEN[:1])
    agent.decide(SEEN[:1])
    agent.reset()
    agent.decide(SEEN[:1])
    assert begun_after == [None, first if warm else None, None]
    assert first.search.taken == (1 if warm else 0), "the action that the environment took is left out"


def test_a_model_that_remembers_plans_from_what_it_remembers():
    """The memory is the sum of what was seen; each environment's begins anew where the policy was reset."""

    class Summing(ModelWrapper, Remembering):
        def remember(self, memory, actions, observations, fresh):
            assert (memory is None) == bool(fresh.all()) == (actions is None)
            return observations if memory is None else memory + observations

        def start(self, problems):
            asked.append(np.asarray(problems).tolist())
            return super().start(SEEN[:1])

    asked = []
    agent = MPCPolicy(BestOfN(horizon=2), Summing(AnalyticModel(Pendulum())), 8)
    for _ in range(2):
        agent.decide(np.ones((1, 3), np.float32))
    agent.reset()
    agent.decide(np.ones((1, 3), np.float32))
    assert asked == [[[1.0] * 3], [[2.0] * 3], [[1.0] * 3]]


def test_repeated_actions_are_never_begun_with_and_indices_become_vectors():
    held = DiscretizedActions(ActionRepeat(AnalyticModel(Pendulum()), 2), 3)
    agent = MPCPolicy(MCTS(), held, Budget(nodes=24))
    assert not agent.warm
    (taken,), _ = agent.decide(SEEN[:1])
    assert taken.shape == (1,) and float(taken[0]) in (-2.0, 0.0, 2.0)
    assert as_taken(np.array([2, 0])) == [2, 0] and as_taken(torch.tensor([[0.5]]))[0].tolist() == [0.5]


def test_a_policy_collects():
    agent = MPCPolicy(BestOfN(horizon=3), AnalyticModel(Pendulum()), 12)
    data = collect("Pendulum-v1", 5, policy=agent, reset_after=3)
    assert len(data) == 5 and bool((data.action.abs() <= 2).all())
