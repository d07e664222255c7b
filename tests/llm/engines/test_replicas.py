"""Replicas as Ray actors: the routing of problems, and that the death of a replica changes no result."""

import asyncio
import json
import os
import signal
import sys

import pytest
from rich.console import Console

from forethought.evals.errors import BadInput
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings
from forethought.llm.engines import replicas
from forethought.llm.engines.base import Engine, Generation, Sampling, Score
from forethought.llm.engines.replicas import ReplicaRouter, ReplicasGone, ReplicatedEngine
from forethought.llm.load import load_text_model


def test_problems_are_balanced_over_replicas_and_stay_on_theirs():
    router = ReplicaRouter(2)
    prompts = [(1, 2), (3,), (4, 4), (5, 6, 7)]
    assert [router.route(p) for p in prompts] == [0, 1, 0, 1]
    assert [router.route((*p, 9, 9)) for p in prompts] == [0, 1, 0, 1] and len(router.assigned) == 4


def test_the_problems_of_a_dead_replica_move_and_the_others_stay():
    router = ReplicaRouter(3)
    before = {p: router.route((p, 0)) for p in range(9)}
    router.remove(1)
    after = {p: router.route((p, 0, 5)) for p in range(9)}
    assert all(after[p] == before[p] for p in before if before[p] != 1)
    assert sorted(after[p] for p in before if before[p] == 1) == [0, 0, 2]
    router.remove(0)
    router.remove(2)
    with pytest.raises(ReplicasGone, match="resume from here"):
        router.route((77,))


def test_without_ray_the_line_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'forethought\[ray\]'"):
        ReplicatedEngine(object, None, 2)


@pytest.mark.parametrize("engine, flags", [("openai", {"base_url": "http://x"}), ("replay", {"tape": "x"})])
def test_engines_without_a_model_have_no_replicas(engine, flags):
    with pytest.raises(BadInput, match="--replicas needs an engine that runs a model"):
        EvalSettings(task="stories", planners="bfs", budgets="4", engine=engine, replicas=2, **flags)


@pytest.fixture(scope="module")
def ray():
    """Ray on this machine, started once for all tests of this file."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'forethought[ray]'")
    yield ray
    ray.shutdown()


@pytest.fixture
def killing(monkeypatch):
    """Kills the first replica after a number of requests; returns the class and the engines made."""
    made = []

    class Dying(ReplicatedEngine):
        after = None

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

        async def _send(self, what, prompt, *wanted):
            if self.counters.requests == self.after and not self.died:
                os.kill(self.infos[0].pid, signal.SIGKILL)
            return await super()._send(what, prompt, *wanted)

    monkeypatch.setattr(replicas, "ReplicatedEngine", Dying)
    return Dying, made


def results(out, folder, **flags):
    request = EvalSettings(
        task="gsm8k", planners="greedy,bfs,mcts", budgets="4,12", out=out, model=str(folder), quiet=True, **flags
    )
    with (out.parent / "log").open("w") as log:
        summary = run_evaluation(request, Console(file=log))
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()][1:]
    for row in rows:
        assert row["failed"] is None
        for ledger in row["ledger"].values():
            ledger.pop("seconds")
        row["spent"] = row["ledger"].pop("spent")
    told = {
        (r["planner"], r["budget"], r["problem"]): (r["answer"], r["finished"], r["ledger"], r["by_rule"]) for r in rows
    }
    return told, summary


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [{"question": f"Tom has {i} apples and {i + 2} more?", "answer": f"#### {2 * i + 2}"} for i in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_run_in_which_a_replica_is_killed_has_the_same_results(ray, killing, data, tmp_path, stepping_llama):
    kind, made = killing
    alone, _ = results(tmp_path / "alone", stepping_llama, data=data)
    kind.after = 40
    one, summary = results(tmp_path / "one", stepping_llama, data=data, replicas=2)
    assert one == alone and len(one) == 3 * 2 * 6
    (maimed,) = made
    assert maimed.died == 1 and maimed.router.alive == {1} and {*maimed.router.assigned.values()} == {1}
    assert maimed.counters.requests > 60 and all(row["failed"] == 0 for row in summary["rows"])
    plain = load_text_model(stepping_llama, value="none").engine
    first = maimed.infos[0]
    assert (first.fingerprint, first.context, first.flops) == (plain.fingerprint, plain.context, plain.flops)


class Counting(Engine):
    """An engine that writes the next numbers, with the id of its process as `cached`; it never answers a stream of
    that number."""

    fingerprint, context = "numbers", 100

    async def generate(self, prompt, sampling, stream):
        if not prompt:
            raise ValueError("the prompt is empty")
        if stream == os.getpid():
            await asyncio.Event().wait()
        step = tuple(range(prompt[-1] + 1, prompt[-1] + 1 + sampling.max_tokens))
        return Generation([step], [(0.0,) * len(step)], "stop", os.getpid())

    async def score(self, prompt, choices):
        return Score(tuple(float(c == prompt[-1] + 1) for c in choices))


async def test_requests_survive_the_death_of_a_replica_and_fail_when_none_is_left(ray):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    engine, three = ReplicatedEngine(Counting, None, 2, cpus=0.5), Sampling(max_tokens=3)
    pids = [one.pid for one in engine.infos]
    done = await asyncio.gather(*(engine.generate((n, 1), three, 0) for n in range(4)))
    assert [one.steps for one in done] == [[(2, 3, 4)]] * 4 and [one.cached for one in done] == pids * 2
    assert (await engine.score((0, 1, 5), (6, 7))).logprobs == (1, 0) and engine.counters.requests == 5
    with pytest.raises(ValueError, match="prompt is empty"):
        await engine.generate((), three, 0)
    under_way = asyncio.create_task(engine.generate((1, 1, 8), three, pids[1]))
    await asyncio.sleep(0.2)
    os.kill(pids[1], signal.SIGKILL)
    found = await under_way
    assert (found.steps, found.cached, engine.died) == ([(9, 10, 11)], pids[0], 1), "repeated on the other"
    os.kill(pids[0], signal.SIGKILL)
    with pytest.raises(ReplicasGone):
        await engine.generate((0, 1), three, pids[0])
    await engine.close()
    with pytest.raises(RuntimeError, match="was closed"):
        await engine.score((5,), (6,))
