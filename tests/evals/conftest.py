"""Rows and trees of an artificial run, and a fake engine, for the tests of evals."""

import asyncio
import json
import math
import random
import re

import pytest
from fakes import Letters, text_model

from forethought.evals.records.summary import summarize
from forethought.evals.tasks.base import Problem
from forethought.llm.critics import CriticDeps, make_critic
from forethought.llm.engines.base import Engine, EngineCounters, Generation, Score
from forethought.planning.interface import UNITS

COLUMNS = [
    "node", "parent", "slot", "visits", "prior_value", "reward", "discount", "order", "text", "tokens", "value",
    "duplicate_of", "terminal",
]  # fmt: skip


def make_row(planner, budget, problem, right, *, tokens_per_node=20.0, failed=None):
    charged = dict.fromkeys(UNITS, 0.0) | {"nodes": budget, "generated_tokens": budget * tokens_per_node}
    return {
        "problem": problem, "group": str(int(problem[1:]) % 2), "planner": planner, "budget": budget,
        "answer": None if failed else "4", "correct": bool(right), "format_ok": not failed, "score": float(right),
        "ledger": {"charged": charged, "spent": charged, "completion": dict.fromkeys(UNITS, 0.0)},
        "seconds": 0.1, "finished": [], "failed": failed,
    }  # fmt: skip


@pytest.fixture
def made_up():
    """(rows, cells, problems, trees) of a run in which larger budgets help the searches and not greedy decoding."""
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
            nodes = [
                [0, -1, 0, 3, 0.5, 0, 1, 0, "", 0, 0.5, -1, 0],
                [1, 0, 0, 2, 0.7, 0, 1, 1, "one step", 3, 0.7, -1, 0],
            ]
            nodes.append([2, 1, 0, 1, 0, 0.9, 0, 2, "#### 4", 2, 0.9, -1, 1])
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
        head |= {"group_name": "steps", "notes": [], "views": {}} | changes
        return summarize(rows, cells, [p.id for p in problems], "greedy", head)

    return build


class FakeEngine(Engine):
    """An engine that adds the two numbers of a question, wrongly in two of three samples, with a mostly correct critic.

    delay: the most seconds of a request, which differ between requests. broken: prompts that contain this text raise.
    """

    tokenizer, context, fingerprint = Letters(), 2000, "fake-1"

    def __init__(self, delay=0.0, broken="never"):
        self.delay, self.broken, self.counters, self.requests = delay, broken, EngineCounters(), 0

    def _numbers(self, prompt):
        return [int(word) for word in re.findall(r"\d+", self.tokenizer.decode(prompt).split("?")[0])]

    def _line(self, prompt, position, stream):
        draw = random.Random(f"{stream} {position}")
        one, two = self._numbers(prompt)
        if draw.random() < 0.5:
            return f"{one} and {two} make {one + two + draw.choice((0, 1, 2))}.\n"
        return f"#### {one + two + draw.choice((0, 1, 2))}\n"

    async def generate(self, prompt, sampling, stream):
        self.requests += 1
        await asyncio.sleep(self.delay * random.random())
        if self.broken in self.tokenizer.decode(prompt):
            raise RuntimeError("the engine has had enough")
        stream = stream if sampling.temperature else 7
        steps, position = [], len(prompt)
        while len(steps) != sampling.max_steps:
            step = tuple(map(ord, self._line(prompt, position, stream)))
            steps.append(step)
            position += len(step)
            if "####" in self.tokenizer.decode(step):
                return Generation(steps, [tuple(-0.1 for _ in s) for s in steps], "end", computed=len(prompt))
        return Generation(steps, [tuple(-0.1 for _ in s) for s in steps], "stop", computed=len(prompt))

    async def score(self, prompt, choices):
        await asyncio.sleep(self.delay * random.random())
        one, two = self._numbers(prompt)
        text = self.tokenizer.decode(prompt)
        told = int(re.findall(r"\d+", text)[-1])
        right = 0.9 if told == one + two else 0.3
        chance = right - 0.2 * random.Random(text).random()
        return Score((math.log(chance), math.log(1 - chance)), computed=3)

    async def close(self):
        pass


def fake_model(engine=None, seed=0, temperature=0.8, value="self", truth=None):
    critic = make_critic(value, CriticDeps(truth=truth))
    return text_model(engine or FakeEngine(), critic, seed=seed, temperature=temperature, max_tokens=40)


@pytest.fixture
def engine():
    return FakeEngine


@pytest.fixture
def model():
    return fake_model


@pytest.fixture
def questions(tmp_path):
    """A data file in GSM8K's format."""
    path = tmp_path / "questions.jsonl"
    rows = [{"question": f"What is {i} and {3 * i + 1}?", "answer": f"Easy.\n#### {4 * i + 1:,}"} for i in range(1, 25)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def faked(monkeypatch):
    """Make `evaluate` load a fake model; gives the list of loaded engines and the settings of the next ones."""
    made, settings = [], {}

    def load(request, truth=None):
        made.append(FakeEngine(**settings))
        return fake_model(made[-1], request.seed, request.temperature, request.value, truth)

    monkeypatch.setattr("forethought.evals.runners.text_runner.load", load)
    return made, settings


@pytest.fixture
def fake_engine():
    """The class of the engine that `faked` puts in place of the real one."""
    return FakeEngine
