"""Episodes of control tasks: their rows, budgets, failures, and that batches and stops change nothing."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from rich.console import Console

from forethought.control import MLPConfig, MLPModel, config_for
from forethought.control.episodes import run_episodes
from forethought.control.world_models.mlp.net import MLPNet
from forethought.evals.errors import BadInput
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings

STEPS, WORST = 6, -3255.0
EPISODES = "forethought.evals.runners.control_runner.run_episodes"


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(EPISODES, partial(run_episodes, max_episode_steps=STEPS))


def run(out, planners="best_of_n,mcts", budgets="8,24", **flags):
    flags = {"task": "pendulum", "limit": 3, "quiet": True} | flags
    settings = EvalSettings(planners=planners, budgets=budgets, out=out, **flags)
    with (out.parent / "log").open("w") as log:
        return run_evaluation(settings, Console(file=log))


def rows_of(out):
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()][1:]
    return {(row["planner"], row["budget"], row["problem"]): row for row in rows}


def scores(out):
    return {key: row["score"] for key, row in rows_of(out).items()}


def test_every_episode_is_a_row_whose_decisions_keep_to_the_budget(tmp_path, short):
    summary = run(tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 2 * 2 * 3 and {key[2] for key in rows} == {"0", "1", "2"}
    for (_, budget, _), row in rows.items():
        assert row["failed"] is None and 0 > row["score"] > WORST
        nodes = row["ledger"]["charged"]["nodes"]
        assert STEPS * budget / 2 < nodes <= STEPS * budget
    for row in summary["rows"]:
        own = [r["score"] for key, r in rows.items() if key[:2] == (row["planner"], row["budget"])]
        assert row["score"] == pytest.approx(np.mean(own)) and row["n"] == 3
    assert set(summary["views"]) == {"best_of_n", "mcts"}


def test_batches_and_stops_change_no_return(tmp_path, short):
    run(tmp_path / "whole")
    run(tmp_path / "single", in_flight=1)
    wanted = scores(tmp_path / "whole")
    assert scores(tmp_path / "single") == pytest.approx(wanted, abs=1e-3)
    lines = (tmp_path / "whole" / "results.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "results.jsonl").write_bytes(b"".join(lines[:6]))
    run(tmp_path / "cut")
    assert scores(tmp_path / "cut") == pytest.approx(wanted, abs=1e-3)


def test_an_error_counts_as_the_worst_return_of_its_episodes(tmp_path, monkeypatch):
    def broken(planner, *asked, **more):
        if type(planner).__name__ == "MCTS":
            raise ValueError("no luck")
        return run_episodes(planner, *asked, max_episode_steps=STEPS, **more)

    monkeypatch.setattr(EPISODES, broken)
    (good, bad) = run(tmp_path / "out", budgets="8")["rows"]
    assert (good["failed"], bad["failed"], bad["score"]) == (0, 3, WORST)
    assert {row["failed"] for key, row in rows_of(tmp_path / "out").items() if key[0] == "mcts"} == {
        "ValueError: no luck"
    }


def test_a_return_that_is_no_number_fails_its_own_episode_alone(tmp_path, monkeypatch):
    def endless(*asked, **more):
        done = run_episodes(*asked, max_episode_steps=STEPS, **more)
        return replace(done, returns=np.where(np.arange(3) == 1, np.nan, done.returns))

    monkeypatch.setattr(EPISODES, endless)
    run(tmp_path / "out", planners="best_of_n", budgets="8")
    failed = {key[2]: row["failed"] for key, row in rows_of(tmp_path / "out").items()}
    assert failed["0"] is failed["2"] is None and "no finite sum" in failed["1"]


def test_a_model_that_is_none_or_of_another_environment_is_named(tmp_path):
    with pytest.raises(BadInput, match="a model for pendulum is analytic or a folder written by train"):
        run(tmp_path / "out", model=str(tmp_path))
    config = config_for("CartPole-v1", hidden=4)
    MLPModel(config, MLPNet(config)).save(tmp_path / "cartpole")
    with pytest.raises(BadInput, match="was trained on CartPole-v1, pendulum is Pendulum-v1"):
        run(tmp_path / "out", model=str(tmp_path / "cartpole"))


def test_a_trained_model_is_planned_with_and_another_one_is_another_run(tmp_path, short):
    for name in ("one", "two"):
        config = MLPConfig("Pendulum-v1", 3, None, (-2.0,), (2.0,), hidden=4)
        MLPModel(config, MLPNet(config)).save(tmp_path / name)
    run(tmp_path / "out", budgets="8", planners="best_of_n", model=str(tmp_path / "one"))
    for file in (tmp_path / "one").iterdir():
        file.write_bytes((tmp_path / "two" / file.name).read_bytes())
    with pytest.raises(BadInput, match="settings"):
        run(tmp_path / "out", budgets="8", planners="best_of_n", model=str(tmp_path / "one"))
