"""Training and evaluation by the command line of environments of one's own, under wrappers."""

import json
from pathlib import Path

import made_environments
import pytest
from typer.testing import CliRunner

from forethought.evals.cli.main import app
from forethought.evals.plugins import load_object

SHARED = Path(__file__).parents[2] / "shared" / "made_environments.py"
SCALED = f"{SHARED}:Scaled"
SHORT = ["--planner", "best_of_n", "--budgets", "8", "--limit", "1", "--quiet"]


def recorded(env):
    """The record of the module that the command imported: of a file it is another than that of the test."""
    return made_environments.RECORD if env.startswith("made_") else load_object(f"{SHARED}:RECORD")


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "scaled"
    done = call("train", "mlp", "--env", "CartPole-v1", "--wrapper", SCALED, "--steps", "60", "--out", out)
    assert done.exit_code == 0, done.output
    return out


def test_a_model_of_a_wrapped_environment_is_evaluated_in_it(folder, tmp_path):
    done = call("eval", "cartpole", "--wrapper", SCALED, "--model", folder, "--out", tmp_path / "run", *SHORT)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "run" / "results.jsonl").read_text().count("\n") == 2


@pytest.mark.parametrize("wrappers", [(), ("FlattenObservation",), (SCALED, "FlattenObservation")])
def test_a_model_of_other_wrappers_is_refused_naming_both(folder, tmp_path, wrappers):
    flags = [word for name in wrappers for word in ("--wrapper", name)]
    done = call("eval", "CartPole-v1", *flags, "--model", folder, "--out", tmp_path / "run", *SHORT)
    told = " ".join(done.output.split())
    other = ".".join(["CartPole-v1", *(name.replace(SCALED, "made_environments-Scaled") for name in wrappers)])
    assert done.exit_code != 0 and "CartPole-v1.made_environments-Scaled" in told and f"is {other}" in told


def test_the_equations_of_a_wrapped_environment_are_not_known(tmp_path):
    done = call("eval", "cartpole", "--wrapper", SCALED, "--out", tmp_path / "run", *SHORT)
    assert done.exit_code != 0 and "equations" in done.output and "not known" in " ".join(done.output.split())
    done = call("train", "residual", "--env", "Pendulum-v1", "--wrapper", "FlattenObservation", "--out", tmp_path / "m")
    assert done.exit_code != 0 and "not known" in " ".join(done.output.split())


def test_a_dict_is_trained_on_and_evaluated_under_the_wrapper_that_the_refusal_names(tmp_path):
    env = f"{SHARED}:Named"
    refused = call("train", "mlp", "--env", env, "--steps", "30", "--out", tmp_path / "m")
    assert refused.exit_code != 0 and "FlattenObservation" in refused.output
    wrapped = ("--wrapper", "FlattenObservation")
    trained = call("train", "mlp", "--env", env, *wrapped, "--steps", "30", "--out", tmp_path / "m")
    assert trained.exit_code == 0, trained.output
    done = call("eval", env, *wrapped, "--model", tmp_path / "m", "--out", tmp_path / "run", *SHORT)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("kind", ["mlp", "ensemble"])
@pytest.mark.parametrize("env", ["made_environments:made/StartsAtOne-v0", f"{SHARED}:Whole"], ids=["module", "file"])
def test_an_environment_of_a_module_or_file_is_trained_on_and_evaluated(env, kind, tmp_path):
    trained = call("train", kind, "--env", env, "--steps", "30", "--out", tmp_path / "m")
    assert trained.exit_code == 0, trained.output
    recorded(env).clear()
    flags = ("--limit", "2", "--out", tmp_path / "run", "--quiet", "--planner", "best_of_n", "--budgets", "8")
    done = call("eval", env, "--model", tmp_path / "m", *flags)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()[1:]]
    lengths, scores = [row["decisions"] for row in rows], [row["score"] for row in rows]
    record = recorded(env)
    assert len(record) == sum(lengths)
    assert sum(scores) == pytest.approx(-sum(abs(after[0]) for _, _, after in record), abs=1e-3)


@pytest.mark.parametrize("name", ["NoSuchWrapper", "json:dumps", "ClipReward"])
def test_a_wrapper_that_is_none_is_refused(name, tmp_path):
    done = call("train", "mlp", "--env", "Pendulum-v1", "--wrapper", name, "--steps", "30", "--out", tmp_path / "m")
    assert done.exit_code != 0 and name in done.output and "Traceback" not in done.output


def test_wrappers_are_refused_for_text():
    done = call("eval", "stories", "--wrapper", "FlattenObservation")
    assert done.exit_code != 0 and "--wrapper" in done.output
