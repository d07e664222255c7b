"""A row read off a larger run is the row of a run that was stopped there."""

import asyncio

import pytest

from forethought.evals.planners import TEXT_PLANNERS
from forethought.evals.runners.grid import Job
from forethought.evals.runners.text_solver import TextSolver
from forethought.evals.tasks.base import Problem
from forethought.evals.tasks.gsm8k import Gsm8k

STEADY = ["greedy", "self_consistency", "best_of_n", "mcts", "uct", "puct"]
BUDGETS = tuple(range(1, 24))


def comparable(fields):
    ledger = {
        name: {unit: round(x, 3) for unit, x in amounts.items() if unit != "seconds"}
        for name, amounts in fields["ledger"].items()
        if name != "spent"
    }
    return fields["answer"], fields["correct"], fields["format_ok"], fields["finished"], ledger


@pytest.mark.parametrize("name", STEADY)
def test_a_row_read_off_is_the_row_of_a_run_stopped_there(name, model):
    solver = TextSolver(model(), Gsm8k(), {name: TEXT_PLANNERS[name](3, 6)})
    assert solver.is_anytime(name)
    read = 0
    for number in range(8):
        problem = Problem(str(number), f"What is {number} and 5?", str(number + 5))
        large = asyncio.run(solver(Job(name, 24, problem, number, smaller_budgets=BUDGETS)))
        for budget, fields in large.smaller.items():
            alone = asyncio.run(solver(Job(name, budget, problem, number)))
            assert comparable(fields) == comparable(alone.fields), (number, budget)
            assert fields["truncated_from"] == 24
            read += 1
    assert read >= 40


@pytest.mark.parametrize("name", ["bfs", "beam", "gumbel", "cem", "mppi"])
def test_planners_whose_course_depends_on_the_budget_are_run_for_each(name, model):
    assert not TextSolver(model(), Gsm8k(), {name: TEXT_PLANNERS[name](3, 6)}).is_anytime(name)


def test_nothing_is_read_off_in_other_units(model):
    assert not TextSolver(model(), Gsm8k(), {"mcts": TEXT_PLANNERS["mcts"](3, 6)}, unit="tokens").is_anytime("mcts")
