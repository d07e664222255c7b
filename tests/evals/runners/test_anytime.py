"""A row read from a larger run equals the row of a run at the smaller budget."""

import asyncio

import pytest

from forethought.evals.planners import TextSettings, planner_named
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
def test_a_row_at_a_smaller_budget_equals_that_of_its_own_run(name, model):
    solver = TextSolver(model(), Gsm8k(), {name: planner_named(name).for_text(TextSettings(3, 6))})
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
def test_planners_that_depend_on_the_budget_are_not_anytime(name, model):
    assert not TextSolver(model(), Gsm8k(), {name: planner_named(name).for_text(TextSettings(3, 6))}).is_anytime(name)


def test_no_planner_is_anytime_in_other_units(model):
    assert not TextSolver(
        model(), Gsm8k(), {"mcts": planner_named("mcts").for_text(TextSettings(3, 6))}, unit="tokens"
    ).is_anytime("mcts")
