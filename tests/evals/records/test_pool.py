"""`forethought pool`: pooled results, and runs that cannot be pooled are refused."""

import json
import re

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from forethought.evals.cli.main import app
from forethought.evals.errors import BadInput
from forethought.evals.records.pool import main, scores_of
from forethought.evals.records.run_store import RunStore
from forethought.evals.records.statistics import paired

PROBLEMS = 60


def run(folder, seed, chances, *, engine="here", task="stories", problems=PROBLEMS, extra=None):
    """Write a run in which planner p solves problem i with probability chances[p][i]."""
    draw = np.random.default_rng(seed)
    with RunStore(folder, {"engine": engine, "task": task, "seed": seed}) as store:
        for planner, chance in chances.items():
            for i, right in enumerate(draw.random(PROBLEMS) < chance):
                if i < problems:
                    store.add_row({"planner": planner, "budget": 64, "problem": f"p{i}", "score": float(right)})
        if extra is not None:
            store.add_row({"planner": "greedy", "budget": extra, "problem": "p0", "score": 1.0})
    return folder


def chances(gap=0.3):
    hard = np.linspace(0.1, 0.6, PROBLEMS)
    return {"greedy": hard, "bfs": hard + gap, "mcts": hard + 0.05}


def quiet(*runs, **more):
    return main(*runs, console=Console(quiet=True), **more)


def test_pooling_one_run_gives_its_own_result(tmp_path):
    only = run(tmp_path / "a", 1, chances())
    told = {(p["one"], p["two"]): p["differences"][0] for p in quiet([only])["pairs"]}
    _, cells = scores_of([only])
    right = {name: np.array([*cells[name, 64].values()])[:, 0] for name in chances()}
    truth = paired(right["bfs"], right["greedy"])
    assert told["bfs", "greedy"]["difference"] == pytest.approx(truth.difference)
    assert (told["bfs", "greedy"]["low"], told["bfs", "greedy"]["high"]) == pytest.approx((truth.low, truth.high))


def test_many_runs_give_the_true_gain_with_a_narrower_interval(tmp_path):
    runs = [run(tmp_path / str(seed), seed, chances()) for seed in range(12)]
    one, many = ({row["planner"]: row["groups"][0] for row in quiet(some)["rows"]} for some in (runs[:1], runs))
    assert many["bfs"]["score"] == pytest.approx(np.mean(many["bfs"]["runs"])) and len(many["bfs"]["runs"]) == 12
    gains = one["bfs"]["gain"], many["bfs"]["gain"]
    spread = np.sqrt(np.mean([c * (1 - c) for c in (*chances()["bfs"], *chances()["greedy"])]) * 2 / PROBLEMS / 12)
    assert gains[1]["difference"] == pytest.approx(0.3, abs=4 * spread)
    assert gains[1]["high"] - gains[1]["low"] < 0.6 * (gains[0]["high"] - gains[0]["low"])
    assert many["greedy"]["gain"] is None


def test_a_clear_difference_of_another_sign_in_the_other_group_is_counted(tmp_path):
    here = [run(tmp_path / f"a{seed}", seed, chances()) for seed in range(4)]
    there = [run(tmp_path / f"b{seed}", seed, chances(-0.1), engine="there") for seed in range(4)]
    alike = [run(tmp_path / f"c{seed}", seed + 10, chances(), engine="there") for seed in range(4)]
    told = quiet(here, there)
    contrary = {(pair["one"], pair["two"]) for pair in told["pairs"] if pair["contradictory"]}
    assert ("bfs", "greedy") in contrary and told["contradictory"] == len(contrary)
    assert quiet(here, alike)["contradictory"] == 0


def test_an_unfinished_run_is_refused(tmp_path):
    with RunStore(tmp_path / "on", {"seed": 0}) as store:
        for planner, number in (("greedy", 10), ("bfs", 4)):
            for i in range(number):
                store.add_row({"planner": planner, "budget": 8, "problem": f"p{i}", "score": 1.0})
    with pytest.raises(BadInput, match="not have the same problems of bfs; is a run unfinished"):
        quiet([tmp_path / "on"])


def test_a_tie_contradicts_a_clear_difference_in_the_other_group(tmp_path):
    """One planner is correct in one run of three, the other in two, and vice versa: 1 - 2/3 is not 1/3 in floats."""

    def three(name, rights):
        for seed, right in enumerate(rights):
            with RunStore(tmp_path / f"{name}{seed}", {"seed": seed}) as store:
                for i in range(30):
                    for planner, scores in right.items():
                        store.add_row({"planner": planner, "budget": 8, "problem": f"p{i}", "score": scores[i % 2]})
        return [tmp_path / f"{name}{seed}" for seed in range(3)]

    tied = three("t", [{"a": (1.0, 1.0), "b": (1.0, 1.0)}, {"a": (1.0, 0.0), "b": (1.0, 1.0)},
                       {"a": (1.0, 1.0), "b": (1.0, 0.0)}])  # fmt: skip
    clear = three("c", [{"a": (1.0, 1.0), "b": (0.0, 0.0)}] * 3)
    for here, there in ((tied, clear), (clear, tied)):
        assert quiet(here, there)["contradictory"] == 1
    assert quiet(tied, tied)["contradictory"] == 0


def test_rows_that_some_runs_lack_are_left_out(tmp_path):
    runs = [run(tmp_path / str(seed), seed, chances(), extra=100 + seed) for seed in range(2)]
    assert {(row["planner"], row["budget"]) for row in quiet(runs)["rows"]} == {(p, 64) for p in chances()}


def test_runs_that_cannot_be_pooled_are_refused(tmp_path):
    first = run(tmp_path / "a", 1, chances())
    for name, more, words in (
        ("b", {"engine": "there"}, "another engine"),
        ("c", {"problems": 20}, "not have the same problems of bfs, greedy, mcts"),
    ):
        with pytest.raises(BadInput, match=words):
            quiet([first, run(tmp_path / name, 2, chances(), **more)])
    with pytest.raises(BadInput, match="the same seed"):
        quiet([first, run(tmp_path / "d", 1, chances())])
    with pytest.raises(BadInput, match="not have the same problems of bfs, mcts"):
        quiet([first, run(tmp_path / "e", 3, {"greedy": chances()["bfs"]})])
    with pytest.raises(BadInput, match="another task"):
        quiet([first], [run(tmp_path / "f", 4, chances(), task="other")])
    with pytest.raises(BadInput, match="no planner 'gredy'; they have greedy, bfs, mcts"):
        quiet([first], against="gredy")
    with pytest.raises(BadInput, match="holds no run"):
        quiet([first, tmp_path / "nowhere"])


def test_the_command_prints_and_writes_it(tmp_path):
    runs = [str(run(tmp_path / str(seed), seed, chances())) for seed in range(3)]
    out = tmp_path / "pool.json"
    told = CliRunner().invoke(app, ["pool", *runs[:2], "--compare-with", runs[2], "--out", str(out)])
    assert told.exit_code == 0 and re.search(r"bfs over greedy at 64: \+0\.\d{3} \[", told.output)
    assert "3 pairs of planners" in told.output and json.loads(out.read_text())["rows"][1]["planner"] == "bfs"
    refused = CliRunner().invoke(app, ["pool", runs[0], runs[0]])
    assert refused.exit_code == 2
