"""The summary of a run, its comparisons, and a report that needs no network."""

import base64
import gzip
import json
import re
from pathlib import Path

import pytest

from forethought.evals.records.statistics import holm, paired
from forethought.evals.records.summary import LEDGERS
from forethought.evals.records.tree_records import COLUMNS
from forethought.evals.report import report
from forethought.evals.report.report import lede, write_report
from forethought.planning.interface import UNITS


def find(summary, planner, budget):
    return next(row for row in summary["rows"] if (row["planner"], row["budget"]) == (planner, budget))


def test_the_summary_has_every_field_the_issue_names(summary_of):
    summary = summary_of()
    assert {"task", "model", "engine", "seed", "versions", "rows"} <= summary.keys()
    for row in summary["rows"]:
        assert {"planner", "budget", "n", "score", "low", "high", "paired", "answered", "failed"} <= row.keys()
        for ledger in ("charged", "spent", "completion"):
            assert set(row[ledger]) == set(UNITS)
    assert {"against", "difference", "low", "high", "p"} <= find(summary, "mcts", 64)["paired"].keys()
    assert find(summary, "greedy", 8)["paired"] is None
    json.dumps(summary)


def test_failed_and_unanswered_problems_stay_in_the_denominator(made_up, summary_of):
    rows = made_up[0]
    rows["mcts", 64, "p3"] |= {"failed": "RuntimeError: no luck", "answer": None, "score": 0.0}
    rows["mcts", 64, "p4"] |= {"answer": None, "score": 0.0}
    row = find(summary_of(), "mcts", 64)
    assert (row["n"], row["failed"], row["answered"]) == (40, 1, 38)
    assert row["score"] == sum(rows["mcts", 64, f"p{i}"]["score"] for i in range(40)) / 40


def test_pairs_are_of_the_same_problems_and_p_is_holm_s(made_up, summary_of):
    rows = made_up[0]
    summary = summary_of()
    scores = {cell: [rows[(*cell, f"p{i}")]["score"] for i in range(40)] for cell in made_up[1]}
    others = [cell for cell in made_up[1] if cell[0] != "greedy"]
    alone = [paired(scores[cell], scores["greedy", cell[1]]) for cell in others]
    for cell, one, p in zip(others, alone, holm([one.p for one in alone])):
        told = find(summary, *cell)["paired"]
        assert (told["difference"], told["low"], told["p"]) == pytest.approx((one.difference, one.low, p))


def test_a_clear_comparison_has_an_interval_that_excludes_zero(summary_of):
    summary = summary_of()
    texts = [verdict["text"] for verdict in summary["comparisons"]]
    assert any(text.startswith("mcts beats greedy at 64 nodes") for text in texts)
    assert any(re.fullmatch(r"(bfs and mcts|mcts and bfs) at 64 nodes: no difference shown", text) for text in texts)
    for verdict in summary["comparisons"]:
        assert ("beats" in verdict["text"]) == (verdict["clear"] and verdict["low"] > 0)


def test_at_equal_tokens_the_winner_was_not_charged_more(summary_of):
    summary = summary_of()
    for verdict in summary["comparisons"]:
        if verdict["unit"] == "equal charged tokens" and verdict["clear"]:
            first, second = find(summary, *verdict["first"]), find(summary, *verdict["second"])
            assert first["charged"]["generated_tokens"] <= second["charged"]["generated_tokens"] + 1
    told = next(v for v in summary["comparisons"] if v["unit"] == "equal charged tokens" and "greedy" in v["text"])
    assert "not run at equal charged tokens" in told["text"]


def test_the_breakdown_covers_every_problem(summary_of):
    groups = find(summary_of(), "bfs", 64)["groups"]
    assert {name: group["n"] for name, group in groups.items()} == {"0": 20, "1": 20}


@pytest.fixture
def page(made_up, summary_of, tmp_path):
    rows, cells, problems, trees = made_up
    path = tmp_path / "report.html"
    write_report(path, summary_of(), [rows[(*c, p.id)] for c in cells for p in problems], problems, trees)
    return path.read_text()


def test_the_report_needs_no_network(page):
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", page)
    assert "What does a larger search budget buy?" in page


def test_the_report_s_data_cannot_close_its_script(page, made_up):
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1]
    told = json.loads(data)
    assert told["problems"][0]["question"].endswith("</script>")
    assert len(told["outcomes"]) == 6 * 40


def test_every_tree_is_in_the_report_with_its_texts(page):
    blobs = dict(re.findall(r'class="trees" data-problem="(\w+)">([^<]+)<', page))
    assert len(blobs) == 40
    box = json.loads(gzip.decompress(base64.b64decode(blobs["p7"])))
    assert len(box["trees"]) == 6
    tree = box["trees"][-1]
    texts = [box["texts"][node[tree["columns"].index("text")]] for node in tree["nodes"]]
    assert texts == ["", "one step", "#### 4"]


def test_the_viewer_reads_the_columns_and_ledgers_that_are_written(made_up):
    """The names in the scripts are those of the records; no browser runs here."""
    pages = Path(report.__file__).parent / "pages"
    assert set(next(iter(made_up[3].values()))["columns"]) == set(COLUMNS)
    used = set(re.findall(r"\bn\.(\w+)", (pages / "tree.js").read_text()))
    assert {"prior_value", "value", "duplicate_of", "terminal", "visits", "order"} <= used
    assert used & {"mean", "same", "end"} == set()
    assert all(f'"{ledger}"' in (pages / "report.js").read_text() for ledger in LEDGERS)


def test_the_lede_answers_the_title(summary_of):
    text = lede(summary_of())
    assert "does best" in text and "at 64" in text and "against greedy" in text
