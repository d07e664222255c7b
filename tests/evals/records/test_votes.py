"""Majority voting counts draws: a solution that was sampled several times votes as often."""

import json
from collections import Counter

import numpy as np
from rich.console import Console

from forethought.evals.records.answer_selection import select_answers
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings
from forethought.planning.trees.nodes import NODE


class Star:
    """A root whose children 1, 2, ... are all of its tree; nothing is merged."""

    def __init__(self, children):
        self.root, self.nodes = [0], np.zeros((1, children + 1), NODE)

    def path(self, row, node):
        return [0, node] if node else [0]

    def children(self, row, node):
        return [] if node else [n for n in range(1, self.nodes.shape[1])]


def solution(node, answer, score, visits):
    return {"node": node, "answer": answer, "correct": False, "score": score, "visits": visits}


def test_three_draws_of_one_solution_outvote_two_different_solutions():
    found = [solution(1, "8", 0.5, 1), solution(2, "8", 0.5, 1), solution(3, "7", 0.5, 3)]
    picks = select_answers(found, Star(3), [1, 2, 3])
    assert picks["majority"]["answer"] == "7", "three draws against two"
    assert picks["weighted"]["answer"] == "7", "1.5 against 1.0"


def test_draws_also_count_where_no_solution_was_scored():
    found = [solution(1, "8", 0.0, 1), solution(2, "8", 0.0, 1), solution(3, "7", 0.0, 3)]
    assert select_answers(found, Star(3), [1, 2, 3])["weighted"]["answer"] == "7"


def test_the_majority_of_a_run_is_the_answer_drawn_most_often(questions, tmp_path, faked):
    """CEM draws good solutions again, so that counting draws and counting solutions disagree on some problems."""
    request = EvalSettings(
        task="gsm8k",
        planners="cem",
        budgets="60",
        data=questions,
        out=tmp_path / "out",
        limit=24,
        quiet=True,
        answer_by="majority",
    )
    with (tmp_path / "log").open("w") as log:
        run_evaluation(request, Console(file=log, width=160))
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()][1:]
    differ = 0
    for row in rows:
        draws, solutions = Counter(), Counter()
        for leaf in row["finished"]:
            draws[leaf["answer"]] += leaf["visits"]
            solutions[leaf["answer"]] += 1
        assert draws[row["answer"]] == max(draws.values())
        differ += solutions[row["answer"]] < max(solutions.values())
    assert len(rows) == 24 and differ
