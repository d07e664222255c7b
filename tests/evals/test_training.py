"""`forethought train ensemble`: what is written can be loaded, and what cannot be trained is one line."""

import pytest
import torch
from typer.testing import CliRunner

from forethought.control import EnsembleModel, load_model
from forethought.control.models import fit
from forethought.evals.cli import app


def call(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, done.output


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    class Quick(fit.Fit):
        def __init__(self, seed=0):
            super().__init__(epochs=2, seed=seed)

    torch.set_num_threads(1)
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


def test_an_environment_without_known_equations_learns_its_ends_too(tmp_path):
    code, _ = call("train", "ensemble", "--env", "MountainCarContinuous-v0", "--steps", "40", "--out", tmp_path / "it")
    model = load_model(tmp_path / "it")
    assert code == 0 and model.config.reward == model.config.ended == "learned"
    assert model.start(torch.zeros(3, 2))[1].discount.shape == (3,)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--env", "NoSuch-v0"], "NoSuch"),
        (["--steps", "3"], "--steps must be at least 20"),
        (["--steps", "40", "--members", "0"], "at least 1 member, got 0"),
        (["--env", "Blackjack-v1", "--steps", "40"], "wrap it in FlattenObservation"),
    ],
)
def test_what_cannot_be_trained_is_one_line(tmp_path, arguments, named):
    code, output = call("train", "ensemble", "--out", tmp_path / "it", *arguments)
    assert code == 2 and named in output and not (tmp_path / "it").exists()
