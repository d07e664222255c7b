"""Eight defects of published tree-search code that this package must not have, each tested on a fake engine."""

import numpy as np
import pytest
from fakes import LineEngine, text_model

from forethought.evals.planners import TextSettings, planner_named, planners_for_text
from forethought.evals.records.summary import summarize
from forethought.evals.runners.grid import Job, failed_row, usage_dicts
from forethought.evals.runners.text_solver import TextSolver
from forethought.evals.tasks.base import Problem
from forethought.evals.tasks.numeric import grade_numeric
from forethought.llm.critics import Judgement, NoCritic, SelfCritique
from forethought.planning import CEM, MCTS, MPPI, BestOfN, Budget, aplan
from forethought.planning.interface import UNITS
from forethought.planning.trees.beam import Beam
from forethought.planning.trees.mcts import WideningSettings
from forethought.planning.trees.nodes import DUPLICATE
from forethought.planning.trees.rebase import Rebase

PLANNERS = [
    BestOfN(), Beam(), Beam(beam=2, children=3), Beam(trees=3), Rebase(), MCTS(), MCTS(selection="uct"),
    MCTS(selection="gumbel"), CEM(), MPPI(),
]  # fmt: skip
LINES = ("a+b\n", "c is 4\n", "so be it\n", "#### 7\n", "#### 8\n")


def model(lines=LINES, value=None, most=40, steps=5):
    return text_model(LineEngine(lines), value or SelfCritique(), max_steps=steps, max_tokens=most)


async def search(planner, text, nodes=24, close=False):
    return await aplan(planner, text, "How many?", Budget(nodes=nodes), close=close)


def charged(outcome):
    return dict(zip(UNITS, outcome.charged[0]))


@pytest.mark.parametrize("planner", [Beam(), Beam(beam=2, children=3), Beam(trees=3), Rebase()], ids=repr)
async def test_tokens_of_beam_search_are_counted_those_of_dropped_beams_too(planner):
    text = model()
    outcome = await search(planner, text)
    steps = [len(state.step) for (_, node), state in outcome.states.states.items() if node]
    assert charged(outcome)["generated_tokens"] == text.engine.written == sum(steps) > 0
    on_path = sum(len(outcome.states.states[0, node].step) for node in outcome.plan.path[0])
    assert charged(outcome)["generated_tokens"] > on_path


@pytest.mark.parametrize("planner", PLANNERS, ids=repr)
async def test_a_step_cut_by_the_token_limit_is_not_finished(planner):
    text = model(("#### 1234567\n",), most=8)
    outcome = await search(planner, text, close=True)
    assert {s.ended for (_, node), s in outcome.states.states.items() if node} == {"length"}
    assert outcome.plan.finished == [[]] and not text.answered(outcome.ends[0]) and text.answer(outcome.ends[0]) is None


class Task:
    def grade(self, problem, text):
        return grade_numeric(text, problem.answer)


@pytest.mark.parametrize("name", planners_for_text())
async def test_unfinished_candidates_are_never_reported_as_answers(name):
    text = model(("c is 4\n",), steps=3)
    solver = TextSolver(text, Task(), {name: planner_named(name).for_text(TextSettings(4, 3))})
    solved = await solver(Job(name, 9, Problem("p", "How many?", "4"), 0))
    assert solved.fields["answer"] is None and not solved.fields["correct"] and not solved.fields["finished"]
    assert all(told == {"answer": None, "correct": False} for told in solved.fields["by_rule"].values())


@pytest.mark.parametrize("selection", ["uct", "puct", "gumbel"])
async def test_mcts_iterations_that_open_nothing_are_not_counted_as_work(selection):
    text = model(value=NoCritic(), steps=2)
    outcome = await search(MCTS(selection=selection, widening=WideningSettings(width=2)), text, nodes=200)
    told = outcome.search.tree.evaluated(0)
    assert outcome.plan.stop_reason == ["exhausted"] and len(told) == charged(outcome)["nodes"] <= 4 + 4 * 4
    assert charged(outcome)["model_calls"] == len(text.engine.generated) == len(told)


@pytest.mark.parametrize("planner", PLANNERS, ids=repr)
async def test_a_terminal_state_is_never_expanded(planner):
    text, asked = model(), []
    expand = text.expand

    async def watched(states, actions, **how):
        asked.extend(states)
        return await expand(states, actions, **how)

    text.expand = watched
    outcome = await search(planner, text, nodes=60)
    assert any(state.ended for state in outcome.states.states.values())
    assert asked and all(not state.ended for state in asked)


class InconsistentCritic:
    """A critic that gives every state another value: 0.9 at first, then less and less."""

    name, low, high = "inconsistent", 0.0, 1.0

    def __init__(self):
        self.asked = 0

    async def score(self, taped, format, state):
        self.asked += 1
        return Judgement(0.9 / self.asked)


@pytest.mark.parametrize("planner", [MCTS(), MCTS(selection="uct"), Beam(beam=2, children=3), Rebase()], ids=repr)
async def test_a_duplicate_continuation_keeps_its_value(planner):
    outcome = await search(planner, model(("c is 4\n",), InconsistentCritic(), steps=2), nodes=12)
    tree = outcome.search.tree
    first = next(node for node in tree.evaluated(0) if tree.nodes["depth"][0, node] == 1)
    status, duplicate_of = tree.nodes["status"][0], tree.nodes["duplicate_of"][0]
    twins = [n for n in tree.evaluated(0) if status[n] == DUPLICATE and duplicate_of[n] == first]
    assert twins and tree.nodes["prior_value"][0, first] == pytest.approx(0.9)
    assert tree.children(0, 0) == [first], "they are one child"


def test_a_failed_problem_stays_in_the_denominator():
    nothing = np.zeros(len(UNITS))
    good = {"answer": "4", "correct": True, "format_ok": True, "score": 1.0, "failed": None, "finished": []}
    good["ledger"] = usage_dicts(nothing, nothing, nothing)
    rows = {
        ("bfs", 8, name): {**fields, "planner": "bfs", "budget": 8, "problem": name, "group": ""}
        for name, fields in (("a", good), ("b", failed_row(RuntimeError("gone"))), ("c", failed_row(OSError("lost"))))
    }
    (row,) = summarize(rows, [("bfs", 8)], ["a", "b", "c"], None, {"unit": "nodes"})["rows"]
    assert (row["n"], row["failed"], row["score"]) == (3, 2, pytest.approx(1 / 3))


@pytest.mark.parametrize("planner", [Beam(), MCTS(), Rebase()], ids=repr)
async def test_prompt_tokens_served_from_cache_are_not_charged_as_computed(planner):
    text = model()
    outcome = await search(planner, text)
    states, tree = outcome.states.states, outcome.search.tree
    parents = [states[0, int(tree.nodes["parent"][0, node])] for node in tree.evaluated(0)]
    assert charged(outcome)["prompt_tokens"] == len(states[0, 0].tokens), "the question, once"
    assert charged(outcome)["cached_tokens"] == sum(len(parent.tokens) for parent in parents)
    judged = sum(state.ended in ("", "answer") for (_, node), state in states.items() if node)
    assert charged(outcome)["value_tokens"] == 3 * judged, "the critique alone; what it judges is cached"
