"""Every planner runs on every model and closes half of the column's gap.

The gap is that between chance and the best cell of the column, paired over the same episodes or problems. Chance is a
random policy in control and one sampled solution of the language model.
"""

import asyncio

import numpy as np
import pytest

from forethought.control.data.collector import collect
from forethought.control.episodes import random_episodes, run_episodes
from forethought.control.tasks import task_named, view
from forethought.control.world_models.mlp.fit import Fit, fit_mlp
from forethought.control.world_models.spaces import config_for
from forethought.evals.planners import PLANNERS as ROWS
from forethought.evals.planners import TextPlanner, TextSettings, planner_for, sees
from forethought.evals.runners.grid import Job
from forethought.evals.runners.text_solver import TextSolver
from forethought.evals.tasks import make_task
from forethought.llm.load import load_text_model
from forethought.planning import BestOfN, Budget, PathSettings

PLANNERS = ("cem", "mppi", "mcts", "bfs", "best_of_n")
SEEDS = range(100, 120)
NODES = {"pendulum": 512, "cartpole": 128}
PROBLEMS, TEXT_NODES = 80, 64


def model_of(world, kind):
    if kind == "analytic":
        return world.analytic()
    data = collect(world.env_id, 1000, seed=1, action_repeat=4)
    return fit_mlp(data, config_for(world.env_id), Fit(seed=1))[0]


@pytest.fixture(scope="module", params=["pendulum-analytic", "pendulum-mlp", "cartpole-analytic", "cartpole-mlp"])
def control_column(request):
    """Returns [20] of chance and of each planner on one model."""
    task, kind = request.param.split("-")
    world = task_named(task)
    model, budget = model_of(world, kind), Budget(nodes=NODES[task])
    column = {
        name: run_episodes(
            planner_for(world, name), view(world, model, sees(name)), world, SEEDS, budget=budget
        ).returns
        for name in PLANNERS
    }
    return {"chance": random_episodes(world, SEEDS), **column}


@pytest.fixture(scope="module")
def text_column():
    """The rows of each planner on the built-in model, all searching the same random tree of each problem."""

    async def solve():
        model, task = load_text_model("builtin", value="self", temperature=0.8, seed=3), make_task("stories")
        methods = {name: ROWS[name].for_text(TextSettings(4, model.max_steps)) for name in PLANNERS}
        methods["chance"] = TextPlanner("chance", BestOfN(population=1, paths=PathSettings(evaluate="none")))
        solver = TextSolver(model, task, methods, seed=3)
        problems = task.problems(PROBLEMS)
        column = {}
        for name in methods:
            jobs = [Job(name, TEXT_NODES, problem, i) for i, problem in enumerate(problems)]
            column[name] = [solved.fields for solved in await asyncio.gather(*map(solver, jobs))]
        await model.engine.close()
        return column

    return asyncio.run(solve())


def closes_half_the_gap(column, planner):
    chance = column["chance"].mean()
    best = max(column[name].mean() for name in PLANNERS)
    print({name: round(float(scores.mean()), 3) for name, scores in column.items()})
    assert best > chance
    return (column[planner] - column["chance"]).mean() >= 0.5 * (best - chance)


@pytest.mark.parametrize("planner", PLANNERS)
def test_a_planner_controls(control_column, planner):
    assert closes_half_the_gap(control_column, planner)


@pytest.mark.parametrize("planner", PLANNERS)
def test_a_planner_reasons(text_column, planner):
    right = {name: np.array([row["score"] for row in rows]) for name, rows in text_column.items()}
    assert closes_half_the_gap(right, planner)


@pytest.mark.parametrize("planner", PLANNERS)
def test_a_planner_reasons_within_its_budget_and_answers(text_column, planner):
    rows = text_column[planner]
    assert all(row["ledger"]["charged"]["nodes"] <= TEXT_NODES for row in rows)
    answered = [row["answer"] is not None for row in rows]
    assert np.mean(answered) >= 0.9
    assert all(row["answer"] is not None for row in rows if row["finished"])
    # where the search found a solution, the answer is that of the best one
    for row in rows:
        if row["finished"]:
            best = max(row["finished"], key=lambda leaf: leaf["score"])
            assert row["answer"] == best["answer"]
