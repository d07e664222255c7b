"""Physics with a wrong parameter, corrected where there is data and left alone where there is none."""

import json
from dataclasses import replace

import pytest
import torch

from forethought.control import (
    Bouncer,
    EnsembleConfig,
    Fit,
    Pendulum,
    ResidualModel,
    Transitions,
    collect,
    config_for,
    fit_ensemble,
    fit_residual,
    load_model,
)
from forethought.control.world_models.ensemble.fit import Bootstraps
from forethought.control.world_models.ensemble.net import StackedNet
from forethought.control.world_models.residual.fit import out_of_bag, residual_strata, select_shrinkage
from forethought.control.world_models.residual.model import physics_prediction
from forethought.control.world_models.residual.net import HurdleNet
from forethought.planning import CEM, ILQR, MCTS, Budget, DiscretizedActions, plan
from forethought.planning.testing.check_model import check_model
from forethought.planning.usage import NODES

WRONG = Pendulum(mass=1.4, length=0.9, gravity=9.0)
CONFIG = config_for("Pendulum-v1", EnsembleConfig, hidden=32, probabilistic=False)


def slow_steps(seed: int, rows: int = 150) -> Transitions:
    """Steps below 1.5 rad/s, of the real environment."""
    data = collect("Pendulum-v1", 600, seed=seed, action_repeat=4)
    data = data.take(data.obs[:, 2].abs() < 1.5)
    return data.take(torch.arange(min(rows, len(data))))


def error(reached: torch.Tensor, data: Transitions) -> float:
    return float((reached - data.next_obs).square().mean().sqrt())


def physics_error(physics: Pendulum, data: Transitions) -> float:
    return error(data.obs + physics_prediction(physics, data.obs, data.action)[:, :-1], data)


@pytest.fixture(scope="module", params=range(3))
def fitted(request):
    """The hybrid, the pure learned model of the same data, and steps of the same speeds and of high ones."""
    seed = request.param
    data, other = slow_steps(seed), collect("Pendulum-v1", 800, seed=100 + seed, action_repeat=4)
    speed = other.obs[:, 2].abs()
    fit = Fit(epochs=60, seed=seed)
    hybrid, pure = fit_residual(data, WRONG, CONFIG, fit)[0], fit_ensemble(data, CONFIG, fit)[0]
    return hybrid, pure, other.take(speed < 1.5), other.take(speed > 6)


def test_it_beats_wrong_physics_and_pure_learning_on_held_out_steps(fitted):
    hybrid, pure, on, _ = fitted
    mine = error(hybrid.expand(on.obs, on.action)[0], on)
    assert mine < 0.5 * physics_error(WRONG, on)
    assert mine < 0.5 * error(pure.expand(on.obs, on.action)[0], on)


def test_far_from_the_data_it_is_no_worse_than_physics_while_pure_learning_fails(fitted):
    hybrid, pure, _, off = fitted
    mine = error(hybrid.expand(off.obs, off.action)[0], off)
    assert mine < 1.1 * physics_error(WRONG, off) and mine < 0.2 * error(pure.expand(off.obs, off.action)[0], off)


def test_the_gate_is_open_on_the_data_and_closes_away_from_it(fitted):
    hybrid, _, on, off = fitted
    near, far = hybrid.trust(on.obs, on.action), hybrid.trust(off.obs, off.action)
    assert near.mean() > 0.9 and far.mean() < near.mean() - 0.2
    nowhere = torch.tensor([[0.0, 1.0, 200.0]]).expand(5, 3)
    assert (hybrid.trust(nowhere, torch.linspace(-2, 2, 5)[:, None]) == 0).all()


def test_with_the_gate_shut_it_is_the_physics_to_rounding(fitted):
    hybrid = ResidualModel(CONFIG, fitted[0].net, WRONG, (0.0, 1e-9))
    off = fitted[3]
    reached, said = hybrid.expand(off.obs, off.action)
    truth, reward, _ = WRONG.step(WRONG.to_states(off.obs), off.action)
    torch.testing.assert_close(reached, WRONG.observe(truth), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(said.reward, reward, atol=1e-4, rtol=1e-5)


def test_right_physics_stays_right():
    data, other = slow_steps(0), slow_steps(9)
    hybrid, _ = fit_residual(data, Pendulum(), CONFIG, Fit(epochs=20))
    assert error(hybrid.expand(other.obs, other.action)[0], other) < 1e-5


def test_it_passes_check_model_and_charges_members_and_physics(fitted):
    model, _, on, _ = fitted
    check_model(model, on.obs[:4], gradients=True)
    check_model(DiscretizedActions(model, 3), on.obs[:4])
    assert (model.expand(on.obs, on.action)[1].usage[:, NODES] == model.cost).all() and model.cost == 6


@pytest.mark.parametrize("planner", [CEM(horizon=8), ILQR(horizon=8), MCTS()])
def test_planners_plan_with_it(fitted, planner):
    model = fitted[0] if not isinstance(planner, MCTS) else DiscretizedActions(fitted[0], 3)
    outcome = plan(planner, model, fitted[2].obs[:2], Budget(nodes=4000))
    assert (outcome.charged[:, NODES] <= 4000).all() and (outcome.charged[:, NODES] > 500).all()


def test_saved_and_loaded_it_is_the_same_with_its_wrong_physics(fitted, tmp_path):
    model, _, on, _ = fitted
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    assert isinstance(loaded, ResidualModel) and loaded.physics == WRONG
    assert (loaded.gate, loaded.shrinkage) == (model.gate, model.shrinkage)
    assert torch.equal(loaded.expand(on.obs, on.action)[0], model.expand(on.obs, on.action)[0])
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings["physics"]["mass"] == 1.4


def test_wrong_settings_are_named(tmp_path):
    one = replace(CONFIG, members=1)
    with pytest.raises(ValueError, match="at least 2 members"):
        ResidualModel(one, StackedNet(one), WRONG, (0.1, 0.2))
    with pytest.raises(ValueError, match="open < shut"):
        ResidualModel(CONFIG, StackedNet(CONFIG), WRONG, (0.3, 0.2))

    class Odd(Pendulum):
        pass

    with pytest.raises(ValueError, match="this is Odd"):
        ResidualModel(CONFIG, StackedNet(CONFIG), Odd(), (0.1, 0.2)).save(tmp_path)


def test_shrinkage_is_chosen_out_of_bag_large_for_noise_and_zero_for_signal(fitted):
    assert fitted[0].shrinkage == 0
    net, inputs = StackedNet(CONFIG), torch.randn(60, 4)
    net.output_std.fill_(1.0)
    own = torch.randint(60, (5, 60), generator=torch.Generator().manual_seed(0))
    noise = net.all_members(inputs)[0].detach().mean(0)
    assert select_shrinkage(net, (inputs, torch.zeros_like(noise)), own) == 1.0
    assert select_shrinkage(net, (inputs, 3 * noise), own) == 0.0


def test_shrinkage_subtracts_a_multiple_of_the_disagreement_from_the_magnitude(fitted):
    model, _, on, _ = fitted
    plain = ResidualModel(CONFIG, model.net, WRONG, (1e3, 1e4))
    doubted = ResidualModel(CONFIG, model.net, WRONG, (1e3, 1e4), shrinkage=0.5)
    means = model.net.all_members(torch.cat((on.obs, on.action), 1))[0]
    ratio = model.net.disagreement(means) / model.net.magnitude(means.mean(0))
    assert (plain.trust(on.obs, on.action) == 1).all()
    torch.testing.assert_close(doubted.trust(on.obs, on.action), (1 - 0.5 * ratio).clamp(min=0), atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def bouncing():
    """The hybrid of free flight and 150 steps with contacts, and other steps: those in flight, those in contact."""
    data, other = (
        collect(Bouncer.env_id, rows, seed=seed, action_repeat=4) for rows, seed in ((150, 100), (600, 5100))
    )
    config = config_for(Bouncer.env_id, EnsembleConfig, hidden=32, probabilistic=False, reward="given")
    touched = (other.obs[:, 1] < 0) | (other.next_obs[:, 1] < 0)
    high = (other.obs[:, 1] > 0.5) & (other.next_obs[:, 1] > 0.5)
    return fit_residual(data, Bouncer().free(), config, Fit(epochs=100))[0], other.take(high), other.take(touched)


def test_where_physics_is_right_it_is_not_corrected_and_contact_is_learned(bouncing):
    hybrid, flight, contact = bouncing
    assert isinstance(hybrid.net, HurdleNet) and hybrid.cost == 11
    assert error(hybrid.expand(flight.obs, flight.action)[0], flight) < 0.05
    free = error(contact.obs + physics_prediction(hybrid.physics, contact.obs, contact.action)[:, :-1], contact)
    assert error(hybrid.expand(contact.obs, contact.action)[0], contact) < 0.6 * free


def test_members_of_two_parts_pass_check_model_and_are_saved_and_loaded(bouncing, tmp_path):
    hybrid, _, contact = bouncing
    check_model(hybrid, contact.obs[:4], gradients=True)
    hybrid.save(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.cost == 11
    assert torch.equal(loaded.step(contact.obs, contact.action)[0], hybrid.step(contact.obs, contact.action)[0])
    with torch.no_grad():
        quick = hybrid.step(contact.obs, contact.action)[0]
    torch.testing.assert_close(quick, hybrid.step(contact.obs, contact.action)[0], atol=1e-4, rtol=1e-4)


def test_steps_are_stratified_by_whether_physics_is_exact_where_there_are_enough_of_both():
    changed, missed = torch.randn(6, 3), torch.zeros(6, 3)
    changed[:, 2] = 1.0
    missed[[1, 4], 0] = 0.1
    missed[2, 0], missed[3, 2] = 1e-5, 5.0  # rounding, and a component that never changes
    assert [rows.tolist() for rows in residual_strata(missed, changed, 1e-6 * torch.ones(3))] == [[1, 4], [0, 2, 3, 5]]
    missed[1] = 0
    for few in (missed, torch.randn(6, 3)):
        assert [rows.tolist() for rows in residual_strata(few, changed, 1e-6 * torch.ones(3))] == [[0, 1, 2, 3, 4, 5]]


def test_strata_are_resampled_separately_and_the_first_as_if_alone():
    wrong, right = torch.tensor([3, 7, 8]), torch.tensor([0, 1, 2, 4, 5, 6])
    own = Bootstraps(9, 4, 1, [wrong, right]).samples
    assert own.shape == (4, 9) and torch.equal(own[:, :3], wrong[Bootstraps(3, 4, 1).samples])
    assert torch.isin(own[:, 3:], right).all()


def test_out_of_bag_disagreement_has_the_scale_of_all_members():
    """For members that are independent random numbers."""

    class Draws(StackedNet):
        def all_members(self, inputs):
            noise = torch.randn(self.members, len(inputs), self.n_outputs, generator=torch.Generator().manual_seed(0))
            return noise, torch.zeros_like(noise)

    net, inputs = Draws(CONFIG), torch.zeros(4000, 4)
    judged, _, apart = out_of_bag(net, inputs, Bootstraps(4000, 5, 0).samples)
    whole = net.disagreement(net.all_members(inputs)[0])
    assert 2000 < len(judged) < 2900
    assert float(apart.square().mean() / whole.square().mean()) == pytest.approx(1.0, abs=0.05)
