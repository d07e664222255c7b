"""`forethought bench search`: what is measured is a whole search, and its figures reach the table and the file."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from forethought.evals.bench import search
from forethought.planning import MCTS, Budget, Ledger, Size, keys_of

SHAPE = (3, 2, 8)


@pytest.mark.parametrize("once", [search.search_once, search.drive_once])
def test_a_measured_search_uses_each_answer_once(once):
    model = search.PrecomputedModel(*SHAPE)
    once(model, MCTS())
    first = model.calls
    once(model, MCTS())
    assert model.calls == first == (SHAPE[2] if once is search.drive_once else 0)


def test_the_measured_search_fills_its_trees():
    model = search.PrecomputedModel(*SHAPE)
    begun = MCTS().begin(model.root, model.actions, Size(8), keys=keys_of(0, 3))
    ledger = Ledger(Budget(nodes=8), 3)
    for answer in model.answers:
        query = begun.ask(ledger.remaining())
        assert len(query) == 3
        ledger.reserve(query)
        begun.tell(query, answer)
        ledger.charge(query, None)
    assert len(begun.ask(ledger.remaining())) == 0


def test_a_search_that_asks_for_more_than_its_budget_is_an_error():
    class Insatiable(MCTS):
        def begin(self, *args, **settings):
            begun, asked = super().begin(*args, **settings), []
            ask = begun.ask

            def ask_for_more(remaining):
                asked.append(1)
                return ask(remaining) if len(asked) <= SHAPE[2] else [0]

            begun.ask = ask_for_more
            return begun

    with pytest.raises(RuntimeError, match="more nodes than its budget"):
        search.search_once(search.PrecomputedModel(*SHAPE), Insatiable())


def test_timed_divides_by_the_number_of_runs(monkeypatch):
    clock, runs = SimpleNamespace(now=0.0), []

    def work():
        runs.append(1)
        clock.now += 0.1

    monkeypatch.setattr(search.time, "process_time", lambda: clock.now)
    assert search.timed(work, repeats=3) == pytest.approx(0.1)
    assert len(runs) == 2 + 3 * 2  # a repeat lasts FLOOR_SECONDS = .25 s, which holds two whole runs


def test_results_reach_the_table_and_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search, "SHAPES", (SHAPE, (1, 4, 5)))
    monkeypatch.setattr(search, "GROWTH", (5, 10))
    monkeypatch.setattr(search, "FLOOR_SECONDS", 1e-4)
    monkeypatch.setattr(search, "mctx_search", lambda model: None)
    found = search.main(tmp_path / "search.json", repeats=1)
    assert json.loads((tmp_path / "search.json").read_text())["shapes"] == found["shapes"]
    assert [(row["rows"], row["actions"], row["simulations"]) for row in found["shapes"]] == [SHAPE, (1, 4, 5)]
    assert all(row["driver"] > 0 and row["search"] > 0 and row["mctx"] is None for row in found["shapes"])
    grown = found["growth"]
    assert grown["ratio"] == pytest.approx(grown["at_10000"] / grown["at_100"])
    shown = capsys.readouterr().out
    assert "not installed" in shown and f"{grown['ratio']:.2f}" in shown


def test_without_mctx_there_is_no_peer(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    assert search.mctx_search(search.PrecomputedModel(*SHAPE)) is None


class FakeArray(np.ndarray):
    """An array with the one method of jax's that the benchmark waits with."""

    def block_until_ready(self):
        return self


def fake_libraries(monkeypatch, policy):
    jax, numpy, mctx = ModuleType("jax"), ModuleType("jax.numpy"), ModuleType("mctx")
    for name in ("asarray", "stack", "zeros", "minimum", "int32"):
        setattr(numpy, name, getattr(np, name))
    jax.numpy, jax.jit, jax.random = numpy, lambda work: work, SimpleNamespace(PRNGKey=lambda seed: seed)
    mctx.RecurrentFnOutput = mctx.RootFnOutput = SimpleNamespace
    mctx.muzero_policy = policy
    for name, module in (("jax", jax), ("jax.numpy", numpy), ("mctx", mctx)):
        monkeypatch.setitem(sys.modules, name, module)


def test_mctx_searches_the_same_answers(monkeypatch):
    model, seen = search.PrecomputedModel(*SHAPE), []

    def policy(params, key, root, recurrent, simulations, dirichlet_fraction):
        step = root.embedding
        for _ in range(simulations):
            output, step = recurrent(params, key, None, step)
            seen.append(np.asarray(output.value))
        seen.append(np.asarray(root.value))
        return SimpleNamespace(action=np.zeros(len(root.value)).view(FakeArray))

    fake_libraries(monkeypatch, policy)
    peer = search.mctx_search(model)
    assert peer().shape == (3,)
    assert len(seen) == 8 + 1
    for value, answer in zip(seen, [*model.answers, model.root]):
        np.testing.assert_array_equal(value, answer.value.numpy())
