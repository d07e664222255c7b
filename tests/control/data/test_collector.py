"""Steps collected from real environments, and how they are kept, split and joined."""

from dataclasses import replace

import gymnasium
import pytest
import torch

from forethought.control import join
from forethought.control.data.collector import collect


def test_collected_steps_are_the_environments_own():
    env = gymnasium.make("Pendulum-v1")
    data = collect(env, 250, seed=7)
    assert len(data) == 250 and data.obs.shape == (250, 3) and data.action.shape == (250, 1)
    assert torch.equal(data.obs[1:200], data.next_obs[:199])
    assert not torch.equal(data.obs[200], data.next_obs[199])  # the time limit began a new episode
    assert not data.terminated.any()
    again = collect("Pendulum-v1", 250, seed=7)
    assert torch.equal(data.next_obs, again.next_obs)


def test_terminations_and_discrete_actions_are_collected():
    data = collect("CartPole-v1", 200, seed=0)
    assert data.action.dtype == torch.int64 and 4 < int(data.terminated.sum()) < 30
    assert (data.reward == 1).all()


def test_a_policy_acts_and_is_reset_after_every_episode():
    class Left:
        resets = 0

        def reset(self):
            self.resets += 1

        def __call__(self, observation):
            return 0

    policy = Left()
    data = collect("CartPole-v1", 50, policy=policy, seed=0)
    assert (data.action == 0).all() and policy.resets == int(data.terminated.sum()) > 0


def test_transitions_with_nan_or_unequal_lengths_are_refused():
    step = collect("CartPole-v1", 5, seed=0)
    with pytest.raises(ValueError, match="NaN or infinity in reward"):
        replace(step, reward=torch.full((5,), float("nan")))
    with pytest.raises(ValueError, match="one length"):
        replace(step, obs=step.obs[:2])
    with pytest.raises(ValueError, match="nothing to join"):
        join([])
    rest, out = join([step, step]).split(0.2)
    assert (len(rest), len(out)) == (8, 2)


def test_truncations_are_recorded_and_kept_apart_from_terminations():
    data = collect("Pendulum-v1", 401, seed=0, reset_after=150)
    assert not data.truncated.any()  # a reset by the collector is not the environment's
    data = collect("Pendulum-v1", 401, seed=0)
    assert data.truncated.nonzero()[:, 0].tolist() == [199, 399] and not data.terminated.any()
    assert join([data, data]).truncated.sum() == 4
    assert data.take(torch.tensor([199, 5])).truncated.tolist() == [True, False]
    assert sum(int(part.truncated.sum()) for part in data.split(0.3)) == 2


def test_no_steps_and_splits_without_a_part_are_refused():
    with pytest.raises(ValueError, match="steps is an integer, at least 1, got 0"):
        collect("CartPole-v1", 0)
    steps = collect("CartPole-v1", 3, seed=0)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"a share in \(0, 1\)"):
            steps.split(share)
    with pytest.raises(ValueError, match="at least 2 steps"):
        steps.take(torch.tensor([0])).split(0.5)


def test_a_split_keeps_every_step_once():
    steps = collect("Pendulum-v1", 20, seed=1)
    for share, held in ((0.01, 1), (0.3, 6), (0.99, 19)):
        rest, out = steps.split(share, seed=5)
        assert len(out) == held
        both = torch.cat([rest.reward, out.reward]).sort().values
        assert torch.equal(both, steps.reward.sort().values)
        assert torch.equal(steps.split(share, seed=5)[1].obs, out.obs)
