"""Fused rollouts of an ensemble's particles agree with their steps one by one, noise included."""

import numpy as np
import pytest
import torch

from forethought.control import EnsembleConfig, EnsembleModel
from forethought.control.world_models.ensemble.net import StackedNet
from forethought.planning import CEM, Budget, SequenceQuery, plan
from forethought.planning.interface import Vectorised, offered
from forethought.planning.rollout import rollout
from forethought.planning.usage import NODES

STEPS, ROWS = 6, 7


class Stepped(EnsembleModel):
    """The same networks, one step after the other."""

    def offer(self, kind):
        return None if kind is Vectorised else super().offer(kind)


def ensemble(kind=EnsembleModel, probabilistic=True, gamma=0.9, members=3, particles=None, **settings):
    config = EnsembleConfig("Pendulum-v1", 3, None, (-2.0,), (2.0,), hidden=16, members=members,
                            probabilistic=probabilistic, **settings)  # fmt: skip
    net = StackedNet(config, seed=3)
    net.input_mean += torch.tensor([0.1, -0.2, 0.3, 0.4])
    net.input_std *= torch.tensor([0.7, 0.8, 2.0, 1.1])
    net.output_std *= torch.tensor([0.1, 0.1, 0.5, 2.0])
    with torch.no_grad():
        net.biases[-1] += torch.linspace(-1.5, 1.5, members)[:, None, None]  # members that differ much
    return kind(config, net, lambda seen: seen.sum(1), gamma, particles=particles)


def drawn():
    torch.manual_seed(4)
    return torch.randn(ROWS, 3), 2.5 * torch.randn(STEPS, ROWS, 1)  # some torques are beyond the bounds


def asked(actions):
    return SequenceQuery(
        np.arange(ROWS, dtype=np.int32), actions.transpose(0, 1)[:, None], np.arange(ROWS, dtype=np.uint64)
    )


@pytest.mark.parametrize("reward", ["learned", "given"])
@pytest.mark.parametrize("probabilistic", [False, True])
@pytest.mark.parametrize("layers", [0, 1, 2])
@torch.no_grad()
def test_returns_are_the_discounted_sum_of_the_steps(probabilistic, reward, layers):
    model, (seen, actions) = ensemble(probabilistic=probabilistic, reward=reward, layers=layers), drawn()
    start = at = model.repeat(seen, np.arange(ROWS, dtype=np.uint64))
    actions = actions.repeat_interleave(3, 1)
    gained, weight = torch.zeros(3 * ROWS), 1.0
    for action in actions:
        torch.set_grad_enabled(True)  # the layers of all members at once, nothing folded
        at, earned, discount = model.step(at, action)
        gained, weight = gained + weight * earned, weight * discount
    wanted = gained + weight * at.obs.sum(1)
    torch.testing.assert_close(model.rollout_returns(start, actions), wanted, atol=2e-4, rtol=1e-5)
    assert wanted.view(ROWS, 3).std(1).min() > 0.1, "particles that differ"


@pytest.mark.parametrize("probabilistic", [False, True])
@pytest.mark.parametrize("particles", [2, 3, 8])
def test_returns_and_charges_are_the_same_without_it(probabilistic, particles):
    """Of 8 particles some members get one more than others; 2 are fewer than the cost, so `step` is not used."""
    seen, actions = drawn()
    settings = {"probabilistic": probabilistic, "particles": particles}
    quick, slow = (rollout(ensemble(kind, **settings), seen, asked(actions), 0.9) for kind in (EnsembleModel, Stepped))
    torch.testing.assert_close(quick.returns, slow.returns, atol=2e-4, rtol=1e-5)
    assert np.array_equal(quick.usage, slow.usage) and quick.usage[0, NODES] == STEPS * particles


def test_a_row_has_the_same_return_alone_and_among_others():
    seen, actions = drawn()
    model = ensemble(gamma=1.0)
    whole = rollout(model, seen, asked(actions)).returns
    for row in range(ROWS):
        alone = SequenceQuery(np.zeros(1, np.int32), actions[:, row][None, None], np.array([row], np.uint64))
        torch.testing.assert_close(
            rollout(model, seen[row : row + 1], alone).returns[0], whole[row], atol=1e-4, rtol=1e-4
        )


def test_changed_weights_are_used():
    seen, actions = drawn()
    model = ensemble(gamma=1.0)
    before = rollout(model, seen, asked(actions)).returns
    with torch.no_grad():
        model.net.weights[1][2] += 0.3
    after = rollout(model, seen, asked(actions)).returns
    slow = Stepped(model.config, model.net, model.value)
    torch.testing.assert_close(after, rollout(slow, seen, asked(actions)).returns, atol=2e-4, rtol=1e-5)
    assert not torch.allclose(after, before)


def test_plans_are_those_without_it():
    seen = drawn()[0]
    found = [
        plan(CEM(horizon=5), ensemble(kind), seen, Budget(nodes=1800), seed=1).plan for kind in (EnsembleModel, Stepped)
    ]
    torch.testing.assert_close(found[0].actions, found[1].actions, atol=1e-3, rtol=1e-3)


def test_it_is_not_offered_where_members_change_or_are_averaged():
    model = ensemble()
    assert offered(model, Vectorised) is model
    assert offered(model.propagated("ts1"), Vectorised) is None
    assert offered(model.propagated("mean"), Vectorised) is None
    assert offered(model.propagated("tsinf", 1), Vectorised) is None, "a single particle is the mean of all members"
