"""Learning from a real environment and saving what was learned."""

import gymnasium
import numpy as np
import pytest
import torch

from forethought.control import Fit, MLPModel, config_for, fit_mlp
from forethought.control.data.collector import collect
from forethought.control.world_models.mlp.normalization import training_targets

QUICK = Fit(epochs=60, patience=30)


@pytest.fixture(scope="module")
def pendulum():
    data = collect("Pendulum-v1", 800, seed=0)
    return (*fit_mlp(data, config_for("Pendulum-v1", hidden=32), QUICK), data)


def test_it_learns_pendulum_from_800_steps_and_predicts_others(pendulum):
    model, report, _ = pendulum
    assert report.held_out < 0.05 and report.epochs <= 60
    other = collect("Pendulum-v1", 500, seed=100)
    reached, said = model.expand(other.obs, other.action)
    truth = training_targets(other)
    error = torch.cat((reached - other.next_obs, (said.reward - other.reward)[:, None]), 1)
    share = error.square().mean(0) / truth.var(0)
    assert (share < 0.05).all(), share
    assert (said.discount == 1).all()


def test_saved_and_loaded_it_predicts_the_same(pendulum, tmp_path):
    model, _, data = pendulum
    model.save(tmp_path / "model")
    loaded = MLPModel.load(tmp_path / "model")
    assert loaded.config == model.config
    before, after = model.expand(data.obs, data.action), loaded.expand(data.obs, data.action)
    assert torch.equal(before[0], after[0]) and torch.equal(before[1].reward, after[1].reward)


def test_training_again_gives_the_same_weights_and_leaves_the_global_generator_alone(pendulum):
    _, _, data = pendulum
    few, config = data.take(torch.arange(100)), config_for("Pendulum-v1", hidden=8)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, two = (fit_mlp(few, config, Fit(epochs=3))[0].net.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), state)


def test_cartpole_is_learned_with_its_termination():
    data = collect("CartPole-v1", 600, seed=0)
    model, report = fit_mlp(data, config_for("CartPole-v1", hidden=32, termination="learned"), Fit(epochs=30))
    assert report.held_out < 0.2
    other = collect("CartPole-v1", 300, seed=50)
    _, said = model.expand(other.obs, other.action)
    assert ((said.discount == 0) == other.terminated).float().mean() > 0.95
    assert (said.reward[~model.terminated(other.obs)] - 1).abs().max() < 0.05


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no trained model"):
        MLPModel.load(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 1, "kind": "mlp"}')
    with pytest.raises(ValueError, match=r"older format 1, .*train it again"):
        MLPModel.load(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 99, "kind": "mlp"}')
    with pytest.raises(ValueError, match="expected"):
        MLPModel.load(tmp_path)


def test_spaces_it_cannot_learn_are_named():
    class Odd:
        observation_space = gymnasium.spaces.Box(-1, 1, (2, 2))
        action_space = gymnasium.spaces.Discrete(2)
        spec = type("spec", (), {"id": "Odd-v0"})

    with pytest.raises(ValueError, match="FlattenObservation"):
        config_for(Odd())
    Odd.observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    Odd.action_space = gymnasium.spaces.MultiBinary(3)
    with pytest.raises(ValueError, match="Odd-v0 has MultiBinary"):
        config_for(Odd())


def test_unbounded_actions_are_refused_with_the_remedy():
    class Free:
        observation_space = gymnasium.spaces.Box(-1, 1, (2,))
        action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
        spec = type("spec", (), {"id": "Free-v0"})

    with pytest.raises(ValueError, match="TransformAction"):
        config_for(Free(), reward="learned", termination="learned")
