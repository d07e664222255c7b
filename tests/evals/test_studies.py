"""Every study runs small and writes its table and figure; what it measures is checked against slow truth."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from forethought.control import AnalyticModel, Bouncer, Pendulum
from forethought.control.data.collector import collect
from forethought.control.tasks import PENDULUM
from forethought.evals import studies
from forethought.evals.cli.main import app
from forethought.evals.records.statistics import clopper_pearson, student
from forethought.evals.studies import (
    compounding_error,
    horizon,
    planners,
    residual,
    sample_efficiency,
    uncertainty_penalty,
)
from forethought.evals.studies.sheet import Sheet


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


SMALL = {
    "compounding-error": (compounding_error, {"sizes": (40,), "epochs": 2}),
    "horizon": (horizon, {"horizons": (1, 2), "nodes": 16, "episodes": 1, "epochs": 2}),
    "uncertainty-penalty": (uncertainty_penalty, {"size": 40, "starts": 3, "epochs": 2, "nodes": 400}),
    "planners": (
        planners,
        {"tasks": (PENDULUM,), "budgets": (64,), "episodes": 1, "names": ("best_of_n", "bfs", "ilqr")},
    ),
    "residual": (residual, {"sizes": (40,), "seeds": 2, "episodes": 1, "epochs": 2}),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_study_writes_one_table_and_one_figure(name, tmp_path, monkeypatch):
    module, small = SMALL[name]
    whole = module.run
    monkeypatch.setattr(module, "run", lambda full, seed: whole(full, seed, **small))
    done = CliRunner().invoke(app, ["study", name, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    page = (tmp_path / f"{name}.md").read_text()
    assert f"`forethought study {name} --seed 0`" in page and "| --- |" not in page and "|---|" in page
    with (tmp_path / f"{name}.csv").open() as file:
        assert all(math.isfinite(float(row["value"])) for row in csv.DictReader(file))
    assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_a_study_that_is_none_is_named():
    done = CliRunner().invoke(app, ["study", "astrology"])
    assert done.exit_code == 2 and "there are compounding-error, horizon" in " ".join(done.output.split())
    assert set(SMALL) | {"sample-efficiency"} == set(studies.NAMES)


def test_the_error_of_k_steps_is_that_of_walking_each_segment_alone():
    wrong, track = AnalyticModel(Observed(mass=1.1)), compounding_error.run_of(5)
    unit = track.obs.std(0)
    found, bound = compounding_error.errors(wrong, track, unit)
    off = []
    for start in range(0, 1000, 40):
        at = track.obs[start : start + 1]
        for k in range(7):
            at = wrong.step(at, track.action[start + k][None])[0]
        off.append(((at[0] - track.next_obs[start + 6]) / unit).square())
    assert float(found[6]) == pytest.approx(float(torch.stack(off).mean().sqrt()), rel=1e-4)
    assert (bound >= found).all()


class Observed(Pendulum):
    """The pendulum with observations as its states, as learned models have them."""

    size = 3

    def step(self, states, actions):
        reached, reward, alive = super().step(self.to_states(states), actions)
        return self.observe(reached), reward, alive


def test_slopes_are_the_norms_of_the_jacobian():
    model, track = AnalyticModel(Observed()), collect("Pendulum-v1", 30, seed=1)
    unit = torch.tensor([0.5, 0.7, 2.0])
    found = compounding_error.slopes(model, track, unit, by=1e-3)
    for i in range(0, 30, 7):
        action = track.action[i][None]
        whole = torch.autograd.functional.jacobian(lambda x, a=action: model.step(x[None], a)[0][0], track.obs[i])
        norm = torch.linalg.matrix_norm(whole * unit[None, :] / unit[:, None], 2)
        assert float(found[i]) == pytest.approx(float(norm), rel=0.02)


def test_a_plan_is_catastrophic_where_it_promises_more_than_idling_and_brings_less():
    returns = np.array([[-5.0, -30.0, -20.0], [-5.0, -10.0, -20.0], [-25.0, -30.0, -20.0], [-19.0, -20.1, -20.0]])
    assert uncertainty_penalty.catastrophic(returns).tolist() == [1, 0, 0, 1]
    row = uncertainty_penalty.row_of(1.0, returns, returns)
    assert row["value"] == 0.5 and row["difference"] == 0 and row["gap"] == pytest.approx((25 + 5 + 5 + 1.1) / 4)
    low, high = stats.beta.ppf(0.025, 2, 3), stats.beta.ppf(0.975, 3, 2)
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_promised_and_realised_returns_are_those_of_the_real_environment():
    import gymnasium

    seen, pushes = uncertainty_penalty.spread(0, 3), torch.linspace(-2, 2, 12).view(3, 4, 1)
    physics = Pendulum()
    found = uncertainty_penalty.walked(physics.step, physics.to_states(seen), pushes)
    for i in range(3):
        env = gymnasium.make("Pendulum-v1").unwrapped
        env.reset(seed=0)
        env.state = physics.to_states(seen[i : i + 1])[0].double().numpy()
        paid = sum(env.step(push.numpy())[1] for push in pushes[i])
        assert float(found[i]) == pytest.approx(float(paid), rel=1e-4)


def test_the_three_models_of_the_residual_study_are_judged_alike():
    """The true equations have no error, those of free flight have it only where the floor was touched."""
    other = collect(Bouncer.env_id, 1000, seed=1, action_repeat=4)
    true = residual.measured(AnalyticModel(Bouncer()), other, 0, 1)
    free = residual.measured(AnalyticModel(Bouncer().free()), other, 0, 1)
    assert true["one step"] < 1e-5 and true["ten steps"] < 1e-3 < 0.1 < free["contact"]
    untouched = other.take((other.obs[:, 1] > 0) & (other.next_obs[:, 1] > 0.3))
    alone = AnalyticModel(Bouncer().free()).step(untouched.obs, untouched.action)[0]
    torch.testing.assert_close(alone, untouched.next_obs, atol=1e-4, rtol=1e-4)
    assert true["return"] > free["return"]


def test_without_episodes_the_residual_study_plays_none():
    sheet = residual.run(sizes=(40,), seeds=2, episodes=0, epochs=2)
    assert {row["measure"] for row in sheet.rows} == {
        "one step",
        "contact",
        "ten steps",
    } and "Return" not in sheet.about
    assert {row["model"] for row in sheet.rows} == set(residual.MODELS) and len(sheet.found) == 3


def test_planners_that_do_not_fit_have_no_figures_and_say_why():
    from forethought.control.tasks import CARTPOLE

    row = planners.played(CARTPOLE, "ilqr", 64, [0], 0)
    assert math.isnan(row["value"]) and "discrete actions" in row["said"]
    assert planners.played(PENDULUM, "bfs", 20, [0], 0)["ms"] > 0


def test_steps_to_a_target_are_the_first_that_reach_it():
    points = [(100, -500.0), (200, -150.0), (300, -170.0), (400, -120.0)]
    assert sample_efficiency.reached(points, -160) == 200 and sample_efficiency.reached(points, -100) == math.inf
    rows = sample_efficiency.rows_of("Pendulum-v1", "sac", [points, [(s, v - 300) for s, v in points]])
    assert rows[0]["to target"] == "200, never" and rows[1]["value"] == -300


TINY = sample_efficiency.Sizes(
    seeds=1, probes=1, counts=(30, 60), steps={"pets": 220, "sac": 50, "ppo": 50}, epochs=1, nodes=100
)


def test_a_curve_that_was_kept_is_not_drawn_again(monkeypatch, tmp_path):
    keep, drawn = tmp_path / "folder" / "curves.jsonl", []
    monkeypatch.setattr(sample_efficiency, "curve", lambda *asked: drawn.append(asked) or [(30, -1.0), (60, -2.0)])
    for seeds in (1, 2, 2):
        few = replace(TINY, seeds=seeds, steps={})
        sheet = sample_efficiency.run(sizes=few, envs=("Pendulum-v1",), keep=keep)
    assert len(drawn) == 2 and sheet.rows[0]["seeds"] == 2 and sheet.rows[1]["value"] == -2.0
    sample_efficiency.run(sizes=replace(TINY, steps={}, epochs=2), envs=("Pendulum-v1",), keep=keep)
    assert len(drawn) == 3


def test_mpc_with_a_network_of_random_steps_is_judged_by_whole_episodes():
    assert 8 <= sample_efficiency.modelled("CartPole-v1", 0, 30, TINY) <= 500
    assert -2000 < sample_efficiency.modelled("Pendulum-v1", 0, 30, TINY) < 0


def test_sample_efficiency_leaves_out_what_is_not_installed(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "stable_baselines3", None)
    sheet = sample_efficiency.run(sizes=TINY, envs=("Pendulum-v1",))
    assert {row["method"] for row in sheet.rows} == {"mpc", "pets"}
    assert [row["steps"] for row in sheet.rows] == [30, 60, 200, 220]
    assert "pip install 'forethought[baselines]'" in " ".join(capsys.readouterr().err.split())


def test_a_constant_policy_is_judged_as_the_environment_pays_it():
    assert sample_efficiency.judged("CartPole-v1", lambda seen: 0, 3) == pytest.approx(9.3, abs=1.0)


def test_intervals_are_the_textbook_s():
    figures = [3.0, 5.0, 4.0, 8.0]
    mean = student(figures)
    low, high = stats.t.interval(0.95, 3, 5.0, stats.sem(figures))
    assert (mean.value, mean.low, mean.high) == pytest.approx((5.0, low, high))
    assert math.isnan(student([1.0]).low)
    none = clopper_pearson(0, 10)
    assert none.low == 0 and none.high == pytest.approx(1 - 0.025**0.1)


def test_a_sheet_is_markdown_that_lines_up():
    sheet = Sheet(
        "Q?", "About.", [{"value": 1.0}], [{"a": 1, "b": "x"}, {"a": 2}], ["found"], "q", "forethought study q"
    )
    page = sheet.markdown()
    assert "| a | b |\n|---|---|\n| 1 | x |\n| 2 | - |" in page and page.startswith("# Q?\n\nAbout.")
