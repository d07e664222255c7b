"""Particles of an ensemble: their members, their noise, and their distribution against a simple loop."""

import math

import numpy as np
import pytest
import torch

from forethought.control import EnsembleConfig, EnsembleModel
from forethought.control.world_models.ensemble.model import Particles
from forethought.control.world_models.ensemble.net import StackedNet
from forethought.planning import TerminalValue
from forethought.planning.interface import SequenceQuery, Stochastic, offered
from forethought.planning.rollout import rollout, take
from forethought.planning.shooting import CEM
from forethought.planning.usage import NODES

STEPS, PARTICLES = 4, 6000
START = torch.tensor([[0.3, -0.2]])
ACTIONS = torch.tensor([0.5, -1.0, 0.2, 0.9])


def model(propagate, particles=PARTICLES, members=3, probabilistic=True) -> EnsembleModel:
    """Random members that differ much, of noise 0.3 exp(0.5 x about -0.5)."""
    config = EnsembleConfig("Pendulum-v1", 2, None, (-1.0,), (1.0,), hidden=8, members=members,
                            probabilistic=probabilistic)  # fmt: skip
    net = StackedNet(config, seed=4)
    net.output_std.fill_(0.3)
    with torch.no_grad():
        net.biases[-1] += torch.linspace(-1.5, 1.5, members)[:, None, None]
    return EnsembleModel(config, net, propagate=propagate, particles=particles)


def simple_loop(propagate: str, trials: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Last states [trials, 2] and returns [trials] by numpy's noise and one member for one state at a time, in the
    order of the definition: TS1 draws a member at every step, TS-infinity one for the whole rollout."""
    net, draw = model(propagate).net, np.random.default_rng(0)
    ends, returns = np.zeros((trials, 2)), np.zeros(trials)
    for trial in range(trials):
        seen, member = START.clone(), int(draw.integers(3))
        for action in ACTIONS:
            if propagate == "ts1":
                member = int(draw.integers(3))
            means, deviations = (x[member, 0].numpy() for x in net.all_members(torch.cat((seen, action.view(1, 1)), 1)))
            returns[trial] += means[2]
            seen = seen + torch.from_numpy(draw.normal(means[:2], deviations[:2])).float()
        ends[trial] = seen[0].numpy()
    return ends, returns


def particle_rollout(of: EnsembleModel, key: int) -> tuple[np.ndarray, np.ndarray]:
    states = of.repeat(START, np.array([key], np.uint64))
    total = torch.zeros(of.particles)
    for action in ACTIONS:
        states, reward, _ = of.step(states, action.expand(of.particles, 1))
        total += reward
    return states.obs.numpy(), total.numpy()


@pytest.mark.parametrize("propagate", ["ts1", "tsinf"])
def test_many_particles_have_the_distribution_of_the_simple_loop(propagate):
    """Means within 4 standard errors, standard deviations within 8 per cent (their error is 1.8), of states and
    returns; and the same distribution by the test of Kolmogorov and Smirnov.
    """
    slow, fast = simple_loop(propagate), particle_rollout(model(propagate), 7)
    for a, b in zip([*slow[0].T, slow[1]], [*fast[0].T, fast[1]]):
        error = math.sqrt(a.var() / len(a) + b.var() / len(b))
        assert abs(a.mean() - b.mean()) < 4 * error
        assert b.std() == pytest.approx(a.std(), rel=0.08)
        both = np.sort(np.concatenate([a, b]))
        gap = np.abs(
            np.searchsorted(np.sort(a), both, "right") / len(a) - np.searchsorted(np.sort(b), both, "right") / len(b)
        )
        assert gap.max() < 1.95 * math.sqrt((len(a) + len(b)) / len(a) / len(b))  # the one in a thousand


def test_a_member_kept_to_the_horizon_spreads_returns_more_than_one_drawn_anew():
    once, anew = particle_rollout(model("tsinf"), 1)[1].std(), particle_rollout(model("ts1"), 1)[1].std()
    assert once > 1.4 * anew


def test_ts1_draws_members_evenly_and_each_step_for_itself():
    of = model("ts1")
    states = of.repeat(START, np.array([3], np.uint64))
    pairs = np.zeros((3, 3))
    for _ in range(3):
        before = states.member
        states, _, _ = of.step(states, torch.zeros(PARTICLES, 1))
        np.add.at(pairs, (before.numpy(), states.member.numpy()), 1)
    expected = pairs.sum() / 9
    assert ((pairs - expected) ** 2 / expected).sum() < 26.1  # chi-square with 8 degrees of freedom, one in a thousand


def test_ts_infinity_keeps_members_and_spreads_particles_evenly_over_them():
    of = model("tsinf", particles=9)
    states = of.repeat(START.expand(4, 2), np.arange(4, dtype=np.uint64))
    counts = torch.nn.functional.one_hot(states.member.view(4, 9), 3).sum(1)
    assert (counts == 3).all()
    after, _, _ = of.step(states, torch.zeros(36, 1))
    assert torch.equal(after.member, states.member)
    few = model("tsinf", particles=2).repeat(START.expand(300, 2), np.arange(300, dtype=np.uint64))
    assert (torch.bincount(few.member, minlength=3) > 160).all()  # of 600, whichever two each row has


@pytest.mark.parametrize("propagate", ["ts1", "tsinf"])
def test_a_particle_alone_is_the_same_among_many_and_its_noise_repeats(propagate):
    of = model(propagate, particles=5)
    states = of.repeat(START.expand(6, 2), np.arange(6, dtype=np.uint64))
    actions = torch.linspace(-1, 1, 30)[:, None]
    reached, reward, _ = of.step(states, actions)
    assert torch.equal(of.step(states, actions)[0].obs, reached.obs)
    for i in (0, 13, 29):
        index = torch.tensor([i])
        alone, one, _ = of.step(take(states, index), actions[index])
        assert isinstance(alone, Particles) and torch.equal(alone.key, reached.key[index])
        torch.testing.assert_close(alone.obs, reached.obs[index])
        torch.testing.assert_close(one, reward[index])
    assert len(reached.obs.unique(dim=0)) == 30


@pytest.mark.parametrize("propagate", ["ts1", "tsinf"])
def test_candidates_of_a_row_are_compared_under_the_same_noise(propagate):
    of = model(propagate, particles=4)
    same = ACTIONS.view(1, 1, 4, 1).expand(2, 3, 4, 1)
    told = rollout(
        of, START.expand(2, 2), SequenceQuery(np.arange(2, dtype=np.int32), same, np.array([5, 6], np.uint64))
    )
    assert told.returns.shape == (2, 3, 4) and (told.usage[:, NODES] == 3 * 4 * 4).all()
    torch.testing.assert_close(told.returns, told.returns[:, :1].expand(2, 3, 4))
    assert (told.returns[0, 0] != told.returns[1, 0]).all()
    spread = CEM(risk="mean").reduce(told.returns) - CEM(risk="worst").reduce(told.returns)
    assert (spread > 0).all()


def test_without_noise_and_with_one_member_particles_are_the_mean():
    of = model("ts1", particles=3, members=1, probabilistic=False)
    mean, _, _ = of.step(START, ACTIONS[:1, None])
    states, _, _ = of.step(of.repeat(START, np.zeros(1, np.uint64)), ACTIONS[:1, None].expand(3, 1))
    torch.testing.assert_close(states.obs, mean.expand(3, 2))


def test_one_probabilistic_member_has_particles_by_its_noise_alone():
    ends, _ = particle_rollout(model("tsinf", particles=50, members=1), 0)
    assert (ends.std(0) > 0.1).all()


def test_a_terminal_value_is_computed_for_every_particle():
    of = TerminalValue(model("tsinf", particles=4), lambda obs: 100 + obs[:, 0], 0.5)
    assert offered(of, Stochastic).particles == 4
    told = rollout(of, START, SequenceQuery(np.zeros(1, np.int32), ACTIONS.view(1, 1, 4, 1), np.zeros(1, np.uint64)))
    assert told.returns.shape == (1, 1, 4) and (told.returns > 100 * 0.5**4 - 3).all()
    assert len(told.returns.unique()) == 4
