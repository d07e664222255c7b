"""Ensembles: the likelihood, the stacked members, training, saving, and planning with them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from forethought.control import (
    EnsembleConfig,
    EnsembleModel,
    Fit,
    Transitions,
    collect,
    config_for,
    fit_ensemble,
    load_model,
)
from forethought.control.world_models.ensemble.fit import train_members
from forethought.control.world_models.ensemble.net import StackedNet, gaussian_nll, group_by_member, soft_clamp
from forethought.planning import (
    CEM,
    DDP,
    ICEM,
    ILQR,
    MCTS,
    MPPI,
    ActionRepeat,
    BestOfN,
    Budget,
    DiscretizedActions,
    GradientShooting,
    ModelError,
    TerminalValue,
    WarmStarted,
    plan,
)
from forethought.planning.testing.check_model import check_model
from forethought.planning.trees.beam import Beam
from forethought.planning.usage import NODES

SEEN = torch.tensor([[-0.9, 0.43589, 0.5], [0.8, -0.6, -1.0], [1.0, 0.0, 3.0]])
QUICK = Fit(epochs=25, patience=25)


def pendulum_config(**settings) -> EnsembleConfig:
    usual = {"obs_dim": 3, "n_actions": None, "low": (-2.0,), "high": (2.0,), "hidden": 16, "members": 4}
    return EnsembleConfig("Pendulum-v1", **(usual | settings))


def untrained(config: EnsembleConfig, **settings) -> EnsembleModel:
    """Random members that differ, with scales that are not 0 and 1."""
    net = StackedNet(config, seed=1)
    net.input_mean.fill_(0.1), net.input_std.fill_(1.5), net.output_mean.fill_(-0.05), net.output_std.fill_(0.3)
    return EnsembleModel(config, net, **settings)


def member_alone(net: StackedNet, member: int, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One member by the layers of torch, and the bounds as Chua et al. write them."""
    x = (inputs - net.input_mean) / net.input_std
    for weight, bias in zip(net.weights[:-1], net.biases[:-1]):
        x = nn.functional.silu(nn.functional.linear(x, weight[member].T, bias[member, 0]))
    x = nn.functional.linear(x, net.weights[-1][member].T, net.biases[-1][member, 0])
    mean, free = x[:, : net.n_outputs], x[:, net.n_outputs :]
    high, low = net.max_log_variance[member, 0], net.min_log_variance[member, 0]
    free = high - torch.log1p(torch.exp(high - free))
    free = low + torch.log1p(torch.exp(free - low))
    return mean * net.output_std + net.output_mean, free.exp().sqrt() * net.output_std


def linear_data(rows: int, seed: int, noise=(0.05, 0.2)) -> Transitions:
    """s' = A s + B a + noise of two known deviations, reward s . (1, -2)."""
    draw = torch.Generator().manual_seed(seed)
    obs = torch.rand(rows, 2, generator=draw) * 4 - 2
    action = torch.rand(rows, 1, generator=draw) * 2 - 1
    next_obs = linear_mean(obs, action) + torch.randn(rows, 2, generator=draw) * torch.tensor(noise)
    never = torch.zeros(rows, dtype=torch.bool)
    return Transitions(obs, action, obs @ torch.tensor([1.0, -2.0]), next_obs, never, never)


def linear_mean(obs, action):
    return obs @ torch.tensor([[0.9, -0.2], [0.3, 0.8]]) + action @ torch.tensor([[0.5, 1.0]])


LINEAR = EnsembleConfig("Pendulum-v1", 2, None, (-1.0,), (1.0,), hidden=32, members=3)
"""Only the termination is the pendulum's: no state is terminal."""


@pytest.fixture(scope="module")
def linear():
    return fit_ensemble(linear_data(2000, 0), LINEAR, Fit(epochs=40, patience=15))


def test_the_likelihood_is_that_of_torchs_normal():
    torch.manual_seed(0)
    mean, log_variance, target = torch.randn(3, 50, 4, dtype=torch.float64).unbind(0)
    truth = -torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(target)
    torch.testing.assert_close(gaussian_nll(mean, log_variance, target), truth)


def test_a_loss_is_the_mean_likelihood_of_the_components_that_vary():
    net = StackedNet(pendulum_config(), seed=3)
    net.output_std[1] = 0.0
    x, y = torch.randn(4, 30, 4), torch.randn(4, 30, 4)
    mean, log_variance = net(x)
    each = -torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(y)
    torch.testing.assert_close(net.losses(x, y), each[..., [0, 2, 3]].mean((1, 2)))


def test_log_variances_stay_within_their_limits_and_are_unchanged_between():
    free = torch.tensor([-1e4, -50.0, -4.0, 0.0, 50.0, 1e4])
    held = soft_clamp(free, torch.tensor(-10.0), torch.tensor(3.0))
    assert (held >= -10).all() and (held <= 3 + 1e-4).all()
    assert held[0] == pytest.approx(-10, abs=1e-3) and held[-1] == pytest.approx(3, abs=1e-3)
    assert held[2] == pytest.approx(-4, abs=0.01) and (held.diff() >= 0).all()


def test_stacked_members_equal_the_members_one_by_one():
    net = untrained(pendulum_config()).net
    inputs = torch.randn(11, 4)
    means, deviations = net.all_members(inputs)
    for member in range(4):
        mean, deviation = member_alone(net, member, inputs)
        torch.testing.assert_close(means[member], mean)
        torch.testing.assert_close(deviations[member], deviation)
    chosen = torch.tensor([3, 0, 0, 2, 3, 3, 3, 0, 2, 3, 3])  # member 1 has nobody
    mean, deviation = net.by_member(inputs, chosen)
    torch.testing.assert_close(mean, means[chosen, torch.arange(11)])
    torch.testing.assert_close(deviation, deviations[chosen, torch.arange(11)])


def test_groups_hold_every_row_once_in_its_members_part():
    member = torch.tensor([2, 0, 2, 2, 1])
    place, room = group_by_member(member, 4)
    assert room == 3 and len(place.unique()) == 5 and torch.equal(place // room, member)


def test_a_member_does_not_depend_on_how_many_others_there_are():
    data = linear_data(120, 5)
    x, y = torch.cat((data.obs, data.action), 1), torch.cat((data.next_obs, data.reward[:, None]), 1)
    nets = [StackedNet(pendulum_config(obs_dim=2, members=n, hidden=8)) for n in (2, 4)]
    for net in nets:
        train_members(
            net, (x[:100], y[:100]), (x[100:], y[100:]), Fit(epochs=30, patience=3, batch_size=20, learning_rate=0.02)
        )
    for few, many in zip(*(net.state_dict().values() for net in nets)):
        torch.testing.assert_close(few, many[:2] if len(many) == 4 and many.dim() == 3 else many, atol=1e-4, rtol=1e-3)


def test_it_recovers_the_mean_and_the_noise_of_a_linear_system(linear):
    model, report = linear
    other = linear_data(1000, 9)
    means, deviations = model.net.all_members(torch.cat((other.obs, other.action), 1))
    truth = linear_mean(other.obs, other.action)
    error = (means.mean(0)[:, :2] + other.obs - truth).square().mean(0).sqrt()
    assert (error < torch.tensor([0.025, 0.06])).all(), error
    noise = deviations[..., :2].mean((0, 1))
    torch.testing.assert_close(noise, torch.tensor([0.05, 0.2]), rtol=0.2, atol=0)
    assert (means[..., 2].mean(0) - other.reward).square().mean().sqrt() < 0.1
    assert report.held_out < 0.1 and max(report.epochs) <= 40


def test_its_held_out_likelihood_is_near_the_entropy_of_the_noise(linear):
    """The entropy of the true noise; of two noisy components, since the reward has none."""
    model, _ = linear
    other = linear_data(2000, 9)
    means, deviations = model.net.all_members(torch.cat((other.obs, other.action), 1))
    off = (other.next_obs - other.obs - means[..., :2]) / deviations[..., :2]
    nll = (off.square() / 2 + deviations[..., :2].log() + 0.5 * np.log(2 * np.pi)).mean()
    best = np.mean([0.5 * np.log(2 * np.pi * np.e * s**2) for s in (0.05, 0.2)])
    assert best - 0.05 < nll < best + 0.15


@pytest.mark.parametrize("probabilistic", [True, False])
def test_members_disagree_more_off_the_data_than_on_it(probabilistic):
    """Seeds of training and of data; off: a ring around the square that was seen."""
    for seed in range(3):
        config = pendulum_config(obs_dim=2, members=5, low=(-1.0,), high=(1.0,), probabilistic=probabilistic)
        model, _ = fit_ensemble(linear_data(300, seed), config, Fit(epochs=30, patience=30, seed=seed))
        on, off = linear_data(300, 100 + seed), linear_data(300, 200 + seed)
        far = off.obs.sign() * (off.obs.abs() + 3)
        near, apart = model.disagreement(on.obs, on.action), model.disagreement(far, off.action)
        assert apart.median() > 3 * near.median() and apart.mean() > near.quantile(0.95)


def test_training_again_gives_the_same_weights_and_leaves_the_global_noise_alone():
    data, config = linear_data(60, 0), replace(LINEAR, termination="learned")
    data = replace(data, terminated=data.obs[:, 0] > 1.5)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, two = (fit_ensemble(data, config, Fit(epochs=2))[0].net.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), state)


def test_termination_is_learned_and_without_terminal_states_never_predicted():
    data, config = linear_data(400, 0), replace(LINEAR, members=2, termination="learned")
    never, _ = fit_ensemble(data, config, Fit(epochs=1))
    assert not never.terminated(10 * data.obs).any()
    data = replace(data, terminated=data.next_obs[:, 0] > 1)
    model, _ = fit_ensemble(data, config, Fit(epochs=10))
    assert (model.terminated(data.next_obs) == data.terminated).float().mean() > 0.97
    of = model.propagated("tsinf", 3).repeat(torch.tensor([[2.0, 0.0], [-1.0, 0.0]]), np.zeros(2, np.uint64))
    stays, reward, discount = model.step(of, torch.zeros(6, 1))
    assert torch.equal(stays.obs[:3], of.obs[:3]) and (reward[:3] == 0).all() and (discount[:3] == 0).all()
    assert (discount[3:] == 1).all()


def test_a_reward_that_never_varies_is_that_number():
    data = collect("CartPole-v1", 150, seed=0)
    model, report = fit_ensemble(data, config_for("CartPole-v1", EnsembleConfig, hidden=8, members=2), QUICK)
    assert np.isfinite(report.loss)
    _, said = model.expand(data.obs[:20], data.action[:20])
    torch.testing.assert_close(said.reward, torch.ones(20))


def test_saved_and_loaded_it_predicts_the_same(linear, tmp_path):
    model = linear[0].propagated("ts1", 7)
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    assert isinstance(loaded, EnsembleModel) and loaded.config == model.config
    assert (loaded.propagate, loaded.particles) == ("ts1", 7)
    data = linear_data(20, 1)
    before, after = model.expand(data.obs, data.action), loaded.expand(data.obs, data.action)
    assert torch.equal(before[0], after[0]) and torch.equal(before[1].reward, after[1].reward)
    linear[0].propagated("mean").save(tmp_path)
    assert load_model(tmp_path).particles == 1


def test_a_folder_of_another_kind_or_architecture_is_refused(tmp_path):
    untrained(pendulum_config()).save(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["config"]["hidden"] = 99
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="does not fit"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(settings | {"kind": "rssm"}))
    with pytest.raises(ValueError, match="expected 3 and mlp or ensemble or residual"):
        load_model(tmp_path)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="members is an integer, at least 1"):
        pendulum_config(members=0)
    with pytest.raises(ValueError, match="'ts1', 'tsinf' or 'mean'"):
        untrained(pendulum_config(), propagate="ts2")
    with pytest.raises(ValueError, match="particles are at least 1"):
        untrained(pendulum_config(), propagate="mean", particles=3)


@pytest.mark.parametrize("probabilistic", [True, False])
def test_it_passes_check_model(probabilistic):
    model = untrained(pendulum_config(probabilistic=probabilistic), value=lambda s: -s.square().sum(1))
    check_model(model, SEEN, gradients=True)
    check_model(DiscretizedActions(ActionRepeat(TerminalValue(model, lambda s: s[:, 2], 0.9), 2), 3), SEEN)
    cart = untrained(EnsembleConfig("CartPole-v1", 4, 2, hidden=8, members=2, probabilistic=probabilistic))
    check_model(cart, torch.randn(4, 4) * 0.1)


@pytest.mark.parametrize("planner", [BestOfN(), CEM(), ICEM(), MPPI(), CEM(risk="worst"), CEM(risk=("cvar", 0.5))])
@pytest.mark.parametrize("propagate", ["ts1", "tsinf", "mean"])
def test_shooting_planners_plan_with_it_within_their_budget(planner, propagate):
    model = untrained(pendulum_config()).propagated(propagate)
    outcome = plan(planner, model, SEEN, Budget(nodes=1600))
    assert (outcome.charged[:, NODES] <= 1600).all() and (outcome.charged[:, NODES] > 1200).all()
    assert (outcome.plan.actions.abs() <= 2).all()


@pytest.mark.parametrize("planner", [MCTS(), MCTS(selection="gumbel"), Beam(), CEM(horizon=3), MPPI(horizon=3)])
def test_planners_over_discrete_actions_plan_with_its_mean_within_their_budget(planner):
    model = DiscretizedActions(TerminalValue(untrained(pendulum_config()), lambda s: -s[:, 2].square(), 0.9), 3)
    outcome = plan(planner, model, SEEN, Budget(nodes=200))
    assert (outcome.charged[:, NODES] <= 200).all() and (outcome.charged[:, NODES] >= 100).all()


@pytest.mark.parametrize("planner", [ILQR(), DDP(), WarmStarted(CEM(), ILQR()), GradientShooting()])
def test_planners_through_derivatives_plan_with_its_mean(planner):
    model = untrained(pendulum_config(hidden=8, members=2))
    outcome = plan(planner, model.propagated("mean"), SEEN, Budget(nodes=6000))
    idle = plan(CEM(population=1, iterations=1), model.propagated("mean"), SEEN, Budget(nodes=6000))
    assert (outcome.charged[:, NODES] <= 6000).all() and (outcome.plan.value > idle.plan.value).all()
    if not isinstance(planner, GradientShooting):
        with pytest.raises(ModelError, match="particles"):
            plan(planner, model, SEEN, Budget(nodes=6000))
