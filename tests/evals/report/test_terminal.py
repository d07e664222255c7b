"""What a run prints: numbers as they stand in the summary, failures, comparisons and notes."""

import io

import pytest
from rich.console import Console

from forethought.evals.report.terminal import Live, rule_lines, show


def printed(act, width=200):
    """What `act(console)` prints, with every run of blanks as one."""
    console = Console(file=io.StringIO(), width=width)
    act(console)
    return " ".join(console.file.getvalue().split())


def test_every_row_shows_its_planner_budget_score_and_interval(summary_of):
    summary = summary_of(notes=["read [this] first"], views={"bfs": "as it is"})
    text = printed(lambda console: show(summary, console))
    assert "40 problems" in text and "note: read [this] first" in text and "bfs: as it is" in text
    for row in summary["rows"]:
        low, high = (f"{row[end]:.2f}".removeprefix("0") for end in ("low", "high"))
        assert f"{row['score']:.3f} [{low} {high}]" in text
        assert f"{row['planner']} {row['budget']}" in text
    best = max(summary["rows"], key=lambda row: row["score"])["planner"]
    texts = [v["text"] for v in summary["comparisons"] if best in (v["first"][0], v["second"][0])]
    assert any(" ".join(line.split()) in text for line in texts)


def test_episodes_are_counted_per_decision_and_large_returns_have_one_decimal(summary_of):
    summary = summary_of(kind="control", task="pendulum")
    for row in summary["rows"]:
        row.update(score=-1234.56, low=-1300.0, high=-1200.0, decisions=4.0)
    text = printed(lambda console: show(summary, console))
    assert "40 episodes" in text and "-1,234.6" in text and "tokens" not in text.split("note")[0].split("over")[0]


def test_failures_are_shown_with_their_reasons_and_what_may_be_run_again(summary_of):
    summary = summary_of() | {"failures": {"the server [x] was gone": 3}, "retryable": 2}
    summary["rows"][0] |= {"failed": 3, "answered": 30}
    text = printed(lambda console: show(summary, console))
    assert "failed 3x: the server [x] was gone" in text
    assert "2 of these failures were not caused by the problems" in text
    assert " 7 3 " in text, "40 problems, 30 answered, 3 failed"


def test_answer_rules_are_shown_where_they_differ():
    row = {"planner": "bfs", "budget": 1024, "by_rule": {"best": {"score": 0.5}, "majority": {"score": 0.625}}}
    same = {"planner": "mcts", "budget": 64, "by_rule": {"best": {"score": 0.5}, "majority": {"score": 0.5}}}
    (line,) = rule_lines({"rows": [row, same]})
    assert line.split() == ["bfs", "1,024,", "answer", "by", "best", "0.500,", "majority", "0.625"]


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_counts_rows_nodes_and_scores(made_up, quiet):
    rows = [*made_up[0].values()][:6]

    def run(console):
        with Live(6, console, quiet=quiet) as live:
            for row in rows:
                live(row)
            live.show_text("between two rows")
        assert live.done == 6 and live.nodes == sum(row["ledger"]["spent"]["nodes"] for row in rows)
        score, count = live.scores[rows[0]["planner"]]
        assert (score, count) == (sum(row["score"] for row in rows), 6)

    text = printed(run)
    assert ("6/6" in text) != quiet or not text
