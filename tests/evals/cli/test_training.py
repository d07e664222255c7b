"""`forethought train`: saved models can be loaded, and errors are one line."""

import sys

import pytest
import torch
from typer.testing import CliRunner

from forethought.control import Bouncer, EnsembleModel, load_model
from forethought.control.world_models.mlp import fit
from forethought.evals.cli.main import app
from forethought.planning import CEM, Budget, plan
from forethought.planning.usage import NODES


def call(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, done.output


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    class Quick(fit.Fit):
        def __init__(self, seed=0, **rest):
            super().__init__(**{"epochs": 2, **rest}, seed=seed)

    monkeypatch.setattr(fit, "Fit", Quick)


def test_an_ensemble_is_trained_and_saved(tmp_path):
    code, output = call("train", "ensemble", "--steps", "60", "--members", "3", "--out", tmp_path / "it")
    assert code == 0 and "60 steps of Pendulum-v1, 3 members" in output and "log-likelihood" in output
    model = load_model(tmp_path / "it")
    assert isinstance(model, EnsembleModel) and model.config.probabilistic and model.particles == 3
    code, output = call(
        "train", "ensemble", "--env", "CartPole-v1", "--steps", "40", "--no-probabilistic", "--out", tmp_path / "b"
    )
    assert code == 0 and "squared error" in output and not load_model(tmp_path / "b").config.probabilistic


def test_an_environment_without_known_equations_learns_its_termination_too(tmp_path):
    code, _ = call("train", "ensemble", "--env", "MountainCarContinuous-v0", "--steps", "40", "--out", tmp_path / "it")
    model = load_model(tmp_path / "it")
    assert code == 0 and model.config.reward == model.config.termination == "learned"
    assert model.start(torch.zeros(3, 2))[1].discount.shape == (3,)


@pytest.mark.parametrize(("env", "observed", "pushes"), [("InvertedPendulum-v5", 4, 1), ("HalfCheetah-v5", 17, 6)])
def test_mujocos_environments_are_trained_on_where_they_are_installed(tmp_path, monkeypatch, env, observed, pushes):
    pytest.importorskip("mujoco", reason="the extra mujoco is not installed")
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its log to the working directory
    code, output = call("train", "ensemble", "--env", env, "--steps", "40", "--members", "2", "--out", tmp_path / "it")
    model = load_model(tmp_path / "it")
    assert code == 0 and f"40 steps of {env}" in output and model.config.termination == "learned"
    outcome = plan(CEM(horizon=3), model, torch.zeros(2, observed), Budget(nodes=240))
    assert outcome.plan.actions.shape == (2, 3, pushes) and (outcome.charged[:, NODES] == 240).all()


def test_without_mujoco_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    for name in [name for name in sys.modules if name.startswith("gymnasium.envs.mujoco")]:
        monkeypatch.delitem(sys.modules, name)
    code, output = call("train", "ensemble", "--env", "InvertedPendulum-v5", "--out", tmp_path / "it")
    assert code == 2 and "gymnasium[mujoco]" in output and not (tmp_path / "it").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--env", "NoSuch-v0"], "NoSuch"),
        (["--steps", "3"], "--steps must be at least 20"),
        (["--steps", "40", "--members", "0"], "greater than or equal to 1, got '0'"),
        (["--env", "Blackjack-v1", "--steps", "40"], "wrap it in FlattenObservation"),
    ],
)
def test_what_cannot_be_trained_is_one_line(tmp_path, arguments, named):
    code, output = call("train", "ensemble", "--out", tmp_path / "it", *arguments)
    assert code == 2 and named in output and not (tmp_path / "it").exists()


def test_pets_continues_and_logs_every_round(tmp_path):
    short = ["--steps", "60", "--first", "40", "--nodes", "60", "--members", "2", "--out", tmp_path / "it"]
    code, output = call("train", "pets", *short)
    assert code == 0 and "round 1, 40 steps: return" in output and load_model(tmp_path / "it").config.members == 2
    assert (tmp_path / "it" / "progress.csv").read_text().startswith("round,steps,held_out,train,episode_return")
    again = call("train", "pets", *short)[1]
    assert "round 1" not in again and "60 steps of Pendulum-v1" in again
    code, output = call("train", "pets", *short[:-2], "--seed", "1", "--out", tmp_path / "it")
    assert code == 2 and "use those or another folder" in output


def test_a_residual_is_trained_on_assumed_physics(tmp_path):
    code, _ = call("train", "residual", "--steps", "40", "--out", tmp_path / "a")
    assert code == 0 and load_model(tmp_path / "a").physics == Bouncer().free()
    flags = ["--env", "Pendulum-v1", "--physics", "mass=1.4,length=0.9", "--steps", "40", "--out", tmp_path / "b"]
    assert call("train", "residual", *flags)[0] == 0 and load_model(tmp_path / "b").physics.mass == 1.4
    for wrong, told in ((["--physics", "colour=1"], "no constant 'colour'"), (["--env", "Acrobot-v1"], "not known")):
        code, output = call("train", "residual", *wrong, "--out", tmp_path / "c")
        assert code == 2 and told in " ".join(output.split())


def test_a_baseline_without_its_library_names_the_installation_command(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "stable_baselines3", None)
    code, output = call("train", "baseline", "sac", "--out", tmp_path)
    assert code == 2 and "pip install 'forethought[baselines]'" in " ".join(output.split())


def test_a_baseline_learns_and_logs(tmp_path):
    pytest.importorskip("stable_baselines3")
    code, output = call("train", "baseline", "ppo", "--env", "CartPole-v1", "--steps", "300", "--out", tmp_path)
    assert code == 0 and "episodes: mean return" in output
    assert (tmp_path / "progress.csv").read_text().startswith("round,steps,episode_return,episode_length")
    assert "there are sac, ppo, dqn" in call("train", "baseline", "abc", "--out", tmp_path)[1]
