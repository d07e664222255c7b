"""Rows and trees of a made-up run, for tests of everything that comes after a run."""

import random

import pytest

from forethought.evals.summary import summarize
from forethought.evals.tasks.base import Problem
from forethought.planning.interface import UNITS

COLUMNS = ["node", "parent", "slot", "visits", "value", "reward", "discount", "order", "text", "tokens"]


def make_row(planner, budget, problem, right, *, tokens_per_node=20.0, failed=None):
    charged = dict.fromkeys(UNITS, 0.0) | {"nodes": budget, "generated_tokens": budget * tokens_per_node}
    return {
        "problem": problem, "group": str(int(problem[1:]) % 2), "planner": planner, "budget": budget,
        "answer": None if failed else "4", "correct": bool(right), "format_ok": not failed, "score": float(right),
        "ledger": {"charged": charged, "spent": charged, "closing": dict.fromkeys(UNITS, 0.0)},
        "seconds": 0.1, "finished": [], "failed": failed,
    }  # fmt: skip


@pytest.fixture
def made_up():
    """(rows, cells, problems, trees): search helps, greedy does not."""
    rng = random.Random(0)
    problems = [Problem(f"p{i}", f"What is {i} and {i}?</script>", str(2 * i), str(i % 2)) for i in range(40)]
    chance = {"greedy": (0.2, 0.2), "bfs": (0.4, 0.75), "mcts": (0.4, 0.8)}
    cells = [(planner, budget) for planner in chance for budget in (8, 64)]
    rows, trees = {}, {}
    for planner, budget in cells:
        for problem in problems:
            cell = (planner, budget, problem.id)
            right = rng.random() < chance[planner][budget == 64]
            cost = 2.0 if planner == "greedy" else 20.0
            rows[cell] = make_row(planner, budget, problem.id, right, tokens_per_node=cost)
            nodes = [[0, -1, 0, 3, 0.5, 0, 1, 0, "", 0], [1, 0, 0, 2, 0.7, 0, 1, 1, "one step", 3]]
            nodes.append([2, 1, 0, 1, 0, 0.9, 0, 2, "#### 4", 2])
            trees[cell] = {
                "problem": problem.id, "planner": planner, "budget": budget, "path": [0, 1, 2],
                "columns": COLUMNS, "nodes": nodes,
            }  # fmt: skip
    return rows, cells, problems, trees


@pytest.fixture
def summary_of(made_up):
    rows, cells, problems, _ = made_up

    def build(**changes):
        head = {"task": "stories", "kind": "text", "model": "fake", "engine": "none", "seed": 0, "unit": "nodes"}
        head |= {"group_name": "steps", "notes": []} | changes
        return summarize(rows, cells, [p.id for p in problems], "greedy", head)

    return build
