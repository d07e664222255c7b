"""Answer-selection rules on examples by hand, on real trees, and in the rows of one run."""

import json

import numpy as np
import pytest
from rich.console import Console

from forethought.evals.errors import BadInput
from forethought.evals.planners import ANSWER_RULES
from forethought.evals.records.answer_selection import (
    most_visited,
    select_answers,
    visit_counts,
    weighted_majority,
)
from forethought.evals.report.terminal import rule_lines
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings
from forethought.planning import MCTS, Budget, aplan
from forethought.planning.trees.nodes import DUPLICATE, EVALUATED, NODE


class Tree:
    """A tree given by parents, with node 0 as root; `same` maps a duplicate to the node that it duplicates."""

    def __init__(self, parents, same=None):
        self.parents, self.root = parents, np.zeros(1, np.int32)
        self.nodes = np.zeros((1, len(parents)), NODE)
        for node, twin in (same or {}).items():
            self.nodes["status"][0, node], self.nodes["duplicate_of"][0, node] = DUPLICATE, twin
        self.merged = set(same or {})

    def path(self, row, node):
        return [0] if node == 0 else [*self.path(row, self.parents[node]), node]

    def children(self, row, node):
        return [n for n, p in enumerate(self.parents) if p == node and n and n not in self.merged]


def leaf(node, answer, score, visits=1):
    return {"node": node, "answer": answer, "correct": answer == "7", "score": score, "visits": visits}


#      0 - 1 - 3 (9, .9)          6 repeats 5
#      |   ` - 4
#      ` 2 - 5 (7, .5), 6, 7 (7, .6), 8 (8, .3)
BUSHY = Tree([-1, 0, 0, 1, 1, 2, 2, 2, 2], {6: 5})
FOUND = [leaf(3, "9", 0.9), leaf(5, "7", 0.5, 2), leaf(7, "7", 0.6), leaf(8, "8", 0.3)]
ORDER = list(range(1, 9))


def test_each_rule_by_hand():
    picks = {rule: one["node"] for rule, one in select_answers(FOUND, BUSHY, ORDER).items()}
    assert picks == {"best": 3, "majority": 5, "weighted": 5, "visits": 5} and tuple(picks) == ANSWER_RULES
    assert visit_counts(BUSHY, ORDER) == {0: 7, 1: 3, 2: 4, 3: 1, 4: 1, 5: 1, 7: 1, 8: 1}
    assert most_visited(BUSHY, [1, 2, 3, 4], {3: 0, 8: 0}) == 3, "by the visits of that time"
    assert most_visited(BUSHY, ORDER, {3: 0}) == 3, "only ways that lead to a solution"


def test_weighted_and_unweighted_majority_can_differ():
    found = [leaf(1, "9", 0.9), leaf(2, "7", 0.4), leaf(3, "7", 0.4)]
    assert weighted_majority(found, lambda one: 1.0)["answer"] == "7"
    assert weighted_majority(found, lambda one: one["score"])["answer"] == "9"
    assert weighted_majority([leaf(1, None, 0.9), leaf(2, "7", 0.1)], lambda one: 1.0)["node"] == 2, (
        "no number, no vote"
    )
    assert weighted_majority([leaf(1, None, 0.9), leaf(2, None, 0.1)], lambda one: 1.0)["node"] == 1
    unjudged = [leaf(1, "9", 0.0), leaf(2, "7", 0.0), leaf(3, "7", 0.0)]
    assert weighted_majority(unjudged, lambda one: one["score"])["answer"] == "7", "nothing judged: the majority"
    assert (
        select_answers([leaf(1, "9", float("nan")), leaf(2, "7", 0.1)], Tree([-1, 0, 0]), [1, 2])["best"]["node"] == 2
    )


@pytest.mark.parametrize("selection", ["uct", "puct"])
@pytest.mark.parametrize("seed", range(4))
async def test_visits_are_those_that_monte_carlo_tree_search_counts(model, selection, seed):
    outcome = await aplan(MCTS(selection=selection), model(seed=seed), "What is 5 and 16?", Budget(nodes=40))
    tree = outcome.search.tree
    counts = visit_counts(tree, tree.evaluated(0))
    for node in [n for n in tree.evaluated(0) if tree.nodes["status"][0, n] == EVALUATED]:
        assert counts[node] == tree.nodes["visits"][0, node]


def run(questions, out, answer_by=None, **flags):
    request = EvalSettings(
        task="gsm8k",
        planners="self_consistency,mcts",
        budgets="4,16",
        data=questions,
        out=out,
        limit=12,
        quiet=True,
        answer_by=answer_by,
        **flags,
    )
    with (out.parent / "log").open("w") as log:
        result = run_evaluation(request, Console(file=log, width=160))
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()][1:]
    return {(r["planner"], r["budget"], r["problem"]): r for r in rows}, result


def test_one_run_reports_what_runs_by_each_rule_answer(questions, tmp_path, faked):
    own, result = run(questions, tmp_path / "own")
    for rule in ANSWER_RULES:
        rows, by = run(questions, tmp_path / rule, rule)
        for cell, row in rows.items():
            assert own[cell]["by_rule"] == row["by_rule"] and row["answer"] == row["by_rule"][rule]["answer"]
            assert own[cell]["by_rule"][rule] == {"answer": row["answer"], "correct": row["correct"]}
        told = {(r["planner"], r["budget"]): r["by_rule"][rule] for r in result["rows"]}
        for row in by["rows"]:
            same = {name: row[name] for name in ("score", "low", "high")}
            if row["n"] == 12 and (row["planner"], row["budget"]) in told:
                assert told[row["planner"], row["budget"]] == pytest.approx(same)
    assert all(row["answer"] == row["by_rule"]["majority"]["answer"] for (p, *_), row in own.items() if p != "mcts")
    assert any(len({told["answer"] for told in row["by_rule"].values()}) > 1 for row in own.values())


def test_the_report_and_the_terminal_show_all_rules(questions, tmp_path, faked):
    _, result = run(questions, tmp_path / "own")
    page = result.report.read_text()
    assert "Accuracy by answer-selection rule" in page and all(f"<th>{rule}</th>" in page for rule in ANSWER_RULES)
    scores = [{one["score"] for one in row["by_rule"].values()} for row in result["rows"]]
    unlike = [row for row, found in zip(result["rows"], scores) if len(found) > 1]
    largest = {row["planner"]: row["budget"] for row in result["rows"]}
    told = [row for row in unlike if row["budget"] == largest[row["planner"]]]
    assert len(rule_lines(result)) == len(told) and unlike


def test_another_rule_needs_another_folder_and_an_unknown_one_is_refused(questions, tmp_path, faked):
    run(questions, tmp_path / "out", "visits")
    with pytest.raises(BadInput, match='answer_by was "visits", is null'):
        run(questions, tmp_path / "out")
    with pytest.raises(BadInput, match="no rule for --answer-by 'mood'; there are best, majority"):
        run(questions, tmp_path / "other", "mood")
    with pytest.raises(BadInput, match="--answer-by is for language models"):
        EvalSettings(task="pendulum", planners="cem", budgets="8", answer_by="best")
