"""`forethought pool` corrects the p-values of its comparisons for their number."""

import json
from math import comb

import pytest
from typer.testing import CliRunner

from forethought.evals.cli.main import app
from forethought.evals.records.run_store import RunStore

PROBLEMS = 20


def run(folder, solved, **settings):
    """A run in which each planner is right about the first `solved[planner]` problems and wrong about the others."""
    with RunStore(folder, {"task": "stories", "seed": 0, **settings}) as book:
        for planner, count in solved.items():
            for i in range(PROBLEMS):
                book.add_row({"planner": planner, "budget": 64, "problem": f"p{i}", "score": float(i < count)})
    return str(folder)


def sign_test(n, k=0):
    """Two-sided exact p of k losses against n - k wins where both are equally likely."""
    return min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)


def pooled(tmp_path, *arguments):
    out = tmp_path / "pool.json"
    printed = CliRunner().invoke(app, ["pool", *arguments, "--out", str(out)])
    assert printed.exit_code == 0, printed.output
    return {(pair["one"], pair["two"]): pair["p"] for pair in json.loads(out.read_text())["pairs"]}, printed.output


def test_the_p_values_of_three_comparisons_are_corrected_by_holm_s_method(tmp_path):
    """a is right on 20 problems, c on 14 and b on 10: a over b wins 10 to 0, a over c 6 to 0, c over b 4 to 0."""
    first = run(tmp_path / "first", {"a": 20, "b": 10, "c": 14})
    p, output = pooled(tmp_path, first)
    raw = {("a", "b"): sign_test(10), ("a", "c"): sign_test(6), ("c", "b"): sign_test(4)}
    assert raw == {("a", "b"): 2 / 1024, ("a", "c"): 2 / 64, ("c", "b"): 2 / 16}
    assert {pair: each[0] for pair, each in p.items()} == pytest.approx(
        {("a", "b"): 3 * 2 / 1024, ("a", "c"): 2 * 2 / 64, ("c", "b"): 1 * 2 / 16}
    )
    assert "a over c at 64: +0.300" in output and "p 0.062" in output, "clear alone, not among three"
    assert "1 after Holm's correction" in " ".join(output.split())


def test_a_corrected_p_value_is_never_below_that_of_a_clearer_comparison(tmp_path):
    """b and c each lose 6 to 0 against a, and tie: the smallest p-values are equal, so their corrections are too."""
    p, _ = pooled(tmp_path, run(tmp_path / "first", {"a": 20, "b": 14, "c": 14}))
    assert {pair: each[0] for pair, each in p.items()} == pytest.approx(
        {("a", "b"): 3 * 2 / 64, ("a", "c"): 3 * 2 / 64, ("b", "c"): 1.0}
    )


def test_each_side_is_corrected_by_itself(tmp_path):
    here = run(tmp_path / "here", {"a": 20, "b": 10, "c": 14})
    there = run(tmp_path / "there", {"a": 20, "b": 11, "c": 13}, engine="other")
    p, _ = pooled(tmp_path, here, "--compare-with", there)
    assert p["a", "b"] == pytest.approx([3 * 2 / 2**10, 3 * 2 / 2**9])
    assert p["a", "c"] == pytest.approx([2 * 2 / 2**6, 2 * 2 / 2**7])
    assert p["c", "b"] == pytest.approx([2 / 2**4, 2 / 2**2])


def test_every_planner_is_printed_with_its_score_and_its_gain_over_the_reference(tmp_path):
    runs = [
        run(tmp_path / "here", {"greedy": 10, "bfs": 20}),
        run(tmp_path / "there", {"greedy": 5, "bfs": 15}, engine="x"),
    ]
    _, output = pooled(tmp_path, runs[0], "--compare-with", runs[1])
    lines = {line.split()[0]: line for line in output.splitlines()[2::-1]}
    assert lines["greedy"].split()[1:] == ["64", "0.500", "0.250"], "no gain over itself"
    assert lines["bfs"].split()[1:4] == ["64", "1.000", "+0.500"] and "0.750 +0.500" in lines["bfs"]
    assert "over greedy" in lines["planner"]
