"""Replicas as Ray actors: who gets which problem, and that losing one in mid-run changes no result."""

import asyncio
import json
import os
import signal
import sys

import pytest
from rich.console import Console

from forethought.evals.request import make_request
from forethought.evals.runners.evaluate import evaluate
from forethought.evals.tasks.base import BadInput
from forethought.llm.engines import replicas
from forethought.llm.engines.base import Generation, Sampling, Score
from forethought.llm.engines.replicas import Homes, ReplicaLost, ReplicatedEngine
from forethought.llm.load import load_text_model


def test_problems_are_balanced_and_stay_where_they_began():
    homes = Homes(2)
    prompts = [(1, 2), (3,), (4, 4), (5, 6, 7)]
    assert [homes.of(p) for p in prompts] == [0, 1, 0, 1]
    assert [homes.of((*p, 9, 9)) for p in prompts] == [0, 1, 0, 1] and len(homes.at) == 4


def test_a_lost_replica_s_problems_move_and_the_others_stay():
    homes = Homes(3)
    before = {p: homes.of((p, 0)) for p in range(9)}
    homes.lose(1)
    after = {p: homes.of((p, 0, 5)) for p in range(9)}
    assert all(after[p] == before[p] for p in before if before[p] != 1)
    assert sorted(after[p] for p in before if before[p] == 1) == [0, 0, 2]
    homes.lose(0)
    homes.lose(2)
    with pytest.raises(ReplicaLost, match="goes on from here"):
        homes.of((77,))


def test_without_ray_the_line_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'forethought\[ray\]'"):
        ReplicatedEngine(object, None, 2)


@pytest.mark.parametrize("engine, flags", [("openai", {"base_url": "http://x"}), ("replay", {"tape": "x"})])
def test_engines_without_a_model_have_no_replicas(engine, flags):
    with pytest.raises(BadInput, match="--replicas needs an engine that runs a model"):
        make_request("stories", "bfs", "4", engine=engine, replicas=2, **flags)


@pytest.fixture(scope="module")
def ray():
    """Ray on this machine, started once for all tests of this file."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'forethought[ray]'")
    yield ray
    ray.shutdown()


@pytest.fixture
def killing(monkeypatch):
    """Lets the first replica die after so many requests; returns the engines made."""
    made = []

    class Dying(ReplicatedEngine):
        after = None

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

        async def _ask(self, what, prompt, *wanted):
            if self.counters.requests == self.after and not self.lost:
                os.kill(self.about[0].pid, signal.SIGKILL)
            return await super()._ask(what, prompt, *wanted)

    monkeypatch.setattr(replicas, "ReplicatedEngine", Dying)
    return Dying, made


def results(out, folder, **flags):
    request = make_request("gsm8k", "greedy,bfs,mcts", "4,12", out=out, model=str(folder), quiet=True, **flags)
    with (out.parent / "log").open("w") as log:
        summary = evaluate(request, Console(file=log)).summary
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


@pytest.mark.slow
def test_a_run_with_a_replica_killed_is_the_run_without_it(ray, killing, data, tmp_path, stepping_llama):
    kind, made = killing
    alone, _ = results(tmp_path / "alone", stepping_llama, data=data)
    kind.after = 40
    one, summary = results(tmp_path / "one", stepping_llama, data=data, replicas=2)
    assert one == alone and len(one) == 3 * 2 * 6
    (maimed,) = made
    assert maimed.lost == 1 and maimed.homes.alive == {1} and {*maimed.homes.at.values()} == {1}
    assert maimed.counters.requests > 60 and all(row["failed"] == 0 for row in summary["rows"])
    plain = load_text_model(stepping_llama, value="none").engine
    first = maimed.about[0]
    assert (first.fingerprint, first.context, first.work) == (plain.fingerprint, plain.context, plain.work)


class Counting:
    """An engine without a model: the next numbers. It says which process wrote them as `cached`."""

    fingerprint, context = "numbers", 100

    async def generate(self, prompt, sampling, stream):
        if not prompt:
            raise ValueError("the prompt is empty")
        await asyncio.sleep(stream)
        step = tuple(range(prompt[-1] + 1, prompt[-1] + 1 + sampling.max_tokens))
        return Generation([step], [(0.0,) * len(step)], "stop", os.getpid())

    async def score(self, prompt, choices):
        return Score(tuple(float(c == prompt[-1] + 1) for c in choices))


@pytest.mark.slow
async def test_requests_are_shared_out_survive_a_loss_and_fail_by_name_when_none_is_left(ray):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    engine, three = ReplicatedEngine(Counting, None, 2, cpus=0.5), Sampling(max_tokens=3)
    pids = [one.pid for one in engine.about]
    done = await asyncio.gather(*(engine.generate((n, 1), three, 0) for n in range(4)))
    assert [one.steps for one in done] == [[(2, 3, 4)]] * 4 and [one.cached for one in done] == pids * 2
    assert (await engine.score((0, 1, 5), (6, 7))).logprobs == (1, 0) and engine.counters.requests == 5
    with pytest.raises(ValueError, match="prompt is empty"):
        await engine.generate((), three, 0)
    under_way = asyncio.create_task(engine.generate((1, 1, 8), three, 1))
    await asyncio.sleep(0.2)
    os.kill(pids[1], signal.SIGKILL)
    found = await under_way
    assert (found.steps, found.cached, engine.lost) == ([(9, 10, 11)], pids[0], 1), "re-run on the other"
    os.kill(pids[0], signal.SIGKILL)
    with pytest.raises(ReplicaLost):
        await engine.generate((0, 1), three, 60)
    await engine.close()
    with pytest.raises(RuntimeError, match="was closed"):
        await engine.score((5,), (6,))
