"""Fused rollouts of a network agree with its steps one by one."""

import copy
import pickle

import numpy as np
import pytest
import torch

from forethought.control import MLPConfig, MLPModel
from forethought.control.world_models.mlp.net import MLPNet
from forethought.planning import CEM, Budget, SequenceQuery, plan
from forethought.planning.interface import Constrained, Vectorised, offered
from forethought.planning.rollout import rollout
from forethought.planning.usage import NODES
from forethought.planning.vectors.queries import Gradients

STEPS, ROWS = 6, 7


def pendulum(kind=MLPModel, gamma=0.9, **settings):
    torch.manual_seed(3)
    config = MLPConfig("Pendulum-v1", 3, None, (-2.0,), (2.0,), hidden=16, **settings)
    net = MLPNet(config)
    net.input_mean += torch.tensor([0.1, -0.2, 0.3, 0.4])
    net.input_std *= torch.tensor([0.7, 0.8, 2.0, 1.1])
    net.output_std *= torch.tensor([0.1, 0.1, 0.5, 2.0])
    return kind(config, net, lambda seen: seen.sum(1), gamma)


def drawn():
    torch.manual_seed(4)
    return torch.randn(ROWS, 3), 2.5 * torch.randn(STEPS, ROWS, 1)  # some torques are beyond the bounds


class Stepped(MLPModel):
    """The same network, one step after the other."""

    def offer(self, kind):
        return None if kind is Vectorised else super().offer(kind)


class Watched(MLPModel, Constrained):
    """A speed limit."""

    def constraint(self, states, actions):
        return states[:, 2] - 0.5


@pytest.mark.parametrize("reward", ["learned", "given"])
@torch.no_grad()
def test_returns_are_the_discounted_sum_of_the_steps(reward):
    model, (states, actions) = pendulum(reward=reward), drawn()
    returns = model.rollout_returns(states, actions)
    at, gained, weight = states, torch.zeros(ROWS), 1.0
    for action in actions:
        torch.set_grad_enabled(True)  # the layers one by one, nothing folded
        at, earned, discount = model.step(at, action)
        gained, weight = gained + weight * earned, weight * discount
    torch.testing.assert_close(returns, gained + weight * at.sum(1), atol=1e-4, rtol=1e-5)
    assert weight.tolist() == pytest.approx([0.9**STEPS] * ROWS)


@pytest.mark.parametrize("gamma", [1.0, 0.8])
@pytest.mark.parametrize("horizon", [1, 2, STEPS])
def test_returns_and_charges_are_the_same_without_it(gamma, horizon):
    states, actions = drawn()
    asked = SequenceQuery(np.arange(ROWS, dtype=np.int32), actions[:horizon].transpose(0, 1)[:, None])
    quick, slow = (rollout(pendulum(kind), states, asked, gamma) for kind in (MLPModel, Stepped))
    torch.testing.assert_close(quick.returns, slow.returns, atol=1e-4, rtol=1e-5)
    assert np.array_equal(quick.usage, slow.usage) and quick.usage[0, NODES] == horizon


def test_changed_weights_are_used():
    states, actions = drawn()
    model = pendulum()
    before = model.rollout_returns(states, actions)
    with torch.no_grad():
        model.net.body[0].weight += 0.3
    slow = Stepped(model.config, model.net, gamma=0.9)
    asked = SequenceQuery(np.arange(ROWS, dtype=np.int32), actions.transpose(0, 1)[:, None])
    fast = MLPModel(model.config, model.net, gamma=0.9)
    assert not torch.allclose(model.rollout_returns(states, actions), before)
    torch.testing.assert_close(rollout(fast, states, asked).returns, rollout(slow, states, asked).returns)


def test_gradients_are_of_all_actions():
    states, actions = drawn()
    asked = Gradients(np.arange(ROWS, dtype=np.int32), actions.transpose(0, 1)[:, None].clamp(-1.9, 1.9))
    quick, slow = (asked.answer(pendulum(kind), states) for kind in (MLPModel, Stepped))
    torch.testing.assert_close(quick.gradients, slow.gradients)
    assert bool((quick.gradients != 0).all())


def test_a_constraint_sees_every_step():
    states, actions = drawn()
    asked = SequenceQuery(np.arange(ROWS, dtype=np.int32), actions.transpose(0, 1)[:, None])
    model, truth, at = pendulum(Watched), torch.zeros(ROWS), states
    for action in actions:
        truth += (at[:, 2] - 0.5).clamp(min=0)
        at = model.step(at, action)[0]
    torch.testing.assert_close(rollout(model, states, asked).violation[:, 0, 0], truth, atol=1e-4, rtol=1e-4)
    assert truth.max() > 0


def test_it_is_not_offered_with_termination_or_discrete_actions():
    config = MLPConfig("CartPole-v1", 4, 2)
    assert offered(MLPModel(config, MLPNet(config)), Vectorised) is None
    config = MLPConfig("Unknown-v0", 3, None, (-1.0,), (1.0,), termination="learned")
    assert offered(MLPModel(config, MLPNet(config)), Vectorised) is None


def test_plans_are_those_without_it():
    seen = drawn()[0]
    found = [plan(CEM(horizon=5), pendulum(kind), seen, Budget(nodes=600), seed=1).plan for kind in (MLPModel, Stepped)]
    torch.testing.assert_close(found[0].actions, found[1].actions, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_network_that_was_used_can_be_copied_and_predicts_the_same(twin):
    model = pendulum()
    model.value = None
    seen, actions = drawn()
    wanted = model.rollout_returns(seen, actions)
    assert torch.equal(twin(model).rollout_returns(seen, actions), wanted)


@torch.no_grad()
def test_returns_are_not_overwritten_by_a_later_rollout():
    model, (states, actions) = pendulum(), drawn()
    first = model.rollout_returns(states, actions)
    kept = first.clone()
    model.rollout_returns(-states, -actions)
    assert torch.equal(first, kept)
