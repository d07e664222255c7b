"""Every study runs in a small version and writes its table and figure; its measures agree with slow references."""

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
from forethought.evals.studies.study_table import StudyTable

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
    monkeypatch.setattr(module, "run", lambda full, seed, console: whole(full, seed, console=console, **small))
    done = CliRunner().invoke(app, ["study", name, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    page = (tmp_path / f"{name}.md").read_text()
    assert f"`forethought study {name} --seed 0`" in page and "| --- |" not in page and "|---|" in page
    with (tmp_path / f"{name}.csv").open() as file:
        assert all(math.isfinite(float(row["value"])) for row in csv.DictReader(file))
    assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_an_unknown_study_is_refused():
    done = CliRunner().invoke(app, ["study", "astrology"])
    assert done.exit_code == 2 and "there are compounding-error, horizon" in " ".join(done.output.split())
    assert set(SMALL) | {"sample-efficiency"} == set(studies.NAMES)


def test_the_error_after_k_steps_is_that_of_each_segment_rolled_out_alone():
    wrong, track = AnalyticModel(Observed(mass=1.1)), compounding_error.record_segments(5)
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


def test_jacobian_norms_agree_with_automatic_differentiation():
    model, track = AnalyticModel(Observed()), collect("Pendulum-v1", 30, seed=1)
    unit = torch.tensor([0.5, 0.7, 2.0])
    found = compounding_error.jacobian_norms(model, track, unit, by=1e-3)
    for i in range(0, 30, 7):
        action = track.action[i][None]
        whole = torch.autograd.functional.jacobian(lambda x, a=action: model.step(x[None], a)[0][0], track.obs[i])
        norm = torch.linalg.matrix_norm(whole * unit[None, :] / unit[:, None], 2)
        assert float(found[i]) == pytest.approx(float(norm), rel=0.02)


def test_a_plan_is_catastrophic_where_predicted_exceeds_idle_exceeds_realised():
    returns = np.array([[-5.0, -30.0, -20.0], [-5.0, -10.0, -20.0], [-25.0, -30.0, -20.0], [-19.0, -20.1, -20.0]])
    assert uncertainty_penalty.catastrophic(returns).tolist() == [1, 0, 0, 1]
    row = uncertainty_penalty.row_of(1.0, returns, returns)
    assert row["value"] == 0.5 and row["difference"] == 0 and row["gap"] == pytest.approx((25 + 5 + 5 + 1.1) / 4)
    low, high = stats.beta.ppf(0.025, 2, 3), stats.beta.ppf(0.975, 3, 2)
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_rollout_returns_are_those_of_the_real_environment():
    import gymnasium

    seen, pushes = uncertainty_penalty.random_states(0, 3), torch.linspace(-2, 2, 12).view(3, 4, 1)
    physics = Pendulum()
    found = uncertainty_penalty.rollout_returns(physics.step, physics.to_states(seen), pushes)
    for i in range(3):
        env = gymnasium.make("Pendulum-v1").unwrapped
        env.reset(seed=0)
        env.state = physics.to_states(seen[i : i + 1])[0].double().numpy()
        paid = sum(env.step(push.numpy())[1] for push in pushes[i])
        assert float(found[i]) == pytest.approx(float(paid), rel=1e-4)


def test_measures_of_the_residual_study_on_known_equations():
    """The true equations have no error, those of free flight only where the floor is touched."""
    other = collect(Bouncer.env_id, 1000, seed=1, action_repeat=4)
    true = residual.measure(AnalyticModel(Bouncer()), other, 0, 1)
    free = residual.measure(AnalyticModel(Bouncer().free()), other, 0, 1)
    assert true["one step"] < 1e-5 and true["ten steps"] < 1e-3 < 0.1 < free["contact"]
    untouched = other.take((other.obs[:, 1] > 0) & (other.next_obs[:, 1] > 0.3))
    alone = AnalyticModel(Bouncer().free()).step(untouched.obs, untouched.action)[0]
    torch.testing.assert_close(alone, untouched.next_obs, atol=1e-4, rtol=1e-4)
    assert true["return"] > free["return"]


def test_without_episodes_the_residual_study_has_no_returns():
    result = residual.run(sizes=(40,), seeds=2, episodes=0, epochs=2)
    assert {row["measure"] for row in result.rows} == {
        "one step",
        "contact",
        "ten steps",
    } and "Return" not in result.description
    assert {row["model"] for row in result.rows} == set(residual.MODELS) and len(result.findings) == 3


def test_planners_that_do_not_fit_have_no_figures_and_say_why():
    from forethought.control.tasks import CARTPOLE

    row = planners.play(CARTPOLE, "ilqr", 64, [0], 0)
    assert math.isnan(row["value"]) and "discrete actions" in row["text"]
    assert planners.play(PENDULUM, "bfs", 20, [0], 0)["ms"] > 0


def test_steps_to_a_target_are_the_first_that_reach_it():
    points = [(100, -500.0), (200, -150.0), (300, -170.0), (400, -120.0)]
    assert (
        sample_efficiency.steps_to_target(points, -160) == 200
        and sample_efficiency.steps_to_target(points, -100) == math.inf
    )
    rows = sample_efficiency.rows_of("Pendulum-v1", "sac", [points, [(s, v - 300) for s, v in points]])
    assert rows[0]["to target"] == "200, never" and rows[1]["value"] == -300


TINY = sample_efficiency.Sizes(
    seeds=1, episodes=1, step_counts=(30, 60), max_steps={"pets": 220, "sac": 50, "ppo": 50}, epochs=1, nodes=100
)


def test_a_stored_curve_is_not_computed_again(monkeypatch, tmp_path):
    curves_file, drawn = tmp_path / "folder" / "curves.jsonl", []
    monkeypatch.setattr(
        sample_efficiency, "learning_curve", lambda *asked: drawn.append(asked) or [(30, -1.0), (60, -2.0)]
    )
    for seeds in (1, 2, 2):
        few = replace(TINY, seeds=seeds, max_steps={})
        result = sample_efficiency.run(sizes=few, envs=("Pendulum-v1",), curves_file=curves_file)
    assert len(drawn) == 2 and result.rows[0]["seeds"] == 2 and result.rows[1]["value"] == -2.0
    sample_efficiency.run(sizes=replace(TINY, max_steps={}, epochs=2), envs=("Pendulum-v1",), curves_file=curves_file)
    assert len(drawn) == 3


def test_mpc_with_a_learned_network_returns_that_of_whole_episodes():
    assert 8 <= sample_efficiency.mpc_return("CartPole-v1", 0, 30, TINY) <= 500
    assert -2000 < sample_efficiency.mpc_return("Pendulum-v1", 0, 30, TINY) < 0


def test_sample_efficiency_leaves_out_what_is_not_installed(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "stable_baselines3", None)
    result = sample_efficiency.run(sizes=TINY, envs=("Pendulum-v1",))
    assert {row["method"] for row in result.rows} == {"mpc", "pets"}
    assert [row["steps"] for row in result.rows] == [30, 60, 200, 220]
    assert "pip install 'forethought[baselines]'" in " ".join(capsys.readouterr().err.split())


def test_a_constant_policy_is_evaluated_by_the_environment_s_rewards():
    assert sample_efficiency.evaluate_policy("CartPole-v1", lambda obs: 0, 3) == pytest.approx(9.3, abs=1.0)


def test_intervals_are_the_textbook_s():
    figures = [3.0, 5.0, 4.0, 8.0]
    mean = student(figures)
    low, high = stats.t.interval(0.95, 3, 5.0, stats.sem(figures))
    assert (mean.value, mean.low, mean.high) == pytest.approx((5.0, low, high))
    assert math.isnan(student([1.0]).low)
    none = clopper_pearson(0, 10)
    assert none.low == 0 and none.high == pytest.approx(1 - 0.025**0.1)


def test_a_study_table_is_a_markdown_table():
    result = StudyTable(
        "Q?", "About.", [{"value": 1.0}], [{"a": 1, "b": "x"}, {"a": 2}], ["found"], "q", "forethought study q"
    )
    page = result.markdown()
    assert "| a | b |\n|---|---|\n| 1 | x |\n| 2 | - |" in page and page.startswith("# Q?\n\nAbout.")
