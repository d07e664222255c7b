"""Every planner works on every model: it closes at least half of the gap between chance and the best of its column.

Chance is a random policy in control and one sample of the language model in text; the gap is paired over the same 20
episodes or the same problems.
"""

import asyncio

import numpy as np
import pytest
import torch

from forethought.control.collect import collect
from forethought.control.episodes import random_episodes, run_episodes
from forethought.control.models.fit import Fit, config_for, fit_mlp
from forethought.control.tasks import task_named, view
from forethought.evals.episodes import planner_for
from forethought.evals.methods import METHODS
from forethought.evals.run import Job
from forethought.evals.solve import TextSolver
from forethought.evals.tasks import make_task
from forethought.llm.load import load_text_model
from forethought.planning import Budget

PLANNERS = ("cem", "mppi", "mcts", "bfs", "best_of_n")
SEEDS = range(100, 120)
NODES = {"pendulum": 512, "cartpole": 128}
PROBLEMS, TEXT_NODES = 80, 32


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def model_of(world, kind):
    if kind == "analytic":
        return world.analytic()
    data = collect(world.env_id, 1000, seed=1, hold=4)
    return fit_mlp(data, config_for(world.env_id), Fit(seed=1))[0]


@pytest.fixture(scope="module", params=["pendulum-analytic", "pendulum-mlp", "cartpole-analytic", "cartpole-mlp"])
def control_column(request):
    """Returns [20] of chance and of each planner on one model."""
    task, kind = request.param.split("-")
    world = task_named(task)
    model, budget = model_of(world, kind), Budget(nodes=NODES[task])
    column = {
        name: run_episodes(planner_for(world, name), view(world, model, name), world, SEEDS, budget=budget).returns
        for name in PLANNERS
    }
    return {"chance": random_episodes(world, SEEDS), **column}


@pytest.fixture(scope="module")
def text_column():
    """Correctness [problems] of one sample and of each planner on the built-in model, all walking one random tree."""

    async def solve():
        model, task = load_text_model("builtin", value="self", temperature=0.8, seed=3), make_task("stories")
        methods = {name: METHODS[name](4, model.max_steps) for name in PLANNERS}
        solver = TextSolver(model, task, methods, seed=3)
        problems = task.problems(PROBLEMS)

        async def scores(name, budget):
            jobs = [Job(name, budget, problem, i) for i, problem in enumerate(problems)]
            return np.array([s.fields["score"] for s in await asyncio.gather(*map(solver, jobs))])

        # a budget of one node leaves the rest of the first solution to closing: one sample, unselected
        column = {"chance": await scores("best_of_n", 1)}
        for name in PLANNERS:
            column[name] = await scores(name, TEXT_NODES)
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
    assert closes_half_the_gap(text_column, planner)
