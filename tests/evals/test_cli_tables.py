"""What the commands print in 80 columns: tables with long names, few verdicts, no lost brackets; and their JSON."""

import io
import json
import re

import pytest
from rich.console import Console
from typer.testing import CliRunner

from forethought.evals.cli.main import app
from forethought.evals.cli_common import run_command
from forethought.evals.records.statistics import LEAST_PAIRS, least_difference, least_p, mcnemar, paired, sign_flips
from forethought.evals.records.summary import power, summarize
from forethought.evals.report.report import write_report
from forethought.evals.report.terminal import MOST_LINES, comparison_lines, show
from forethought.evals.studies.study_table import StudyTable
from forethought.planning.interface import UNITS

LONG = "plugins/[red]mine.py:MonteCarloTreeSearchWithAnAdaptiveWidth"
NAMES = ("greedy", "self_consistency", LONG, "bfs", "mcts", "best_of_n", "gumbel")


def printed(summary, width=80):
    file = io.StringIO()
    show(summary, Console(file=file, width=width))
    return file.getvalue()


def row_of(planner, budget, problem, score, control):
    usage = dict.fromkeys(UNITS, 0.0) | {"nodes": budget * 200.0, "generated_tokens": 0.0 if control else 123456.0}
    usage |= {"seconds": 1234.56}
    return {
        "problem": problem, "group": "", "planner": planner, "budget": budget, "answer": "1", "score": score,
        "format_ok": True, "failed": None, "ledger": {"charged": usage, "spent": usage,
        "completion": dict.fromkeys(UNITS, 0.0)}, "decisions": 200 if control else 1,
    }  # fmt: skip


def summary(kind="text", n=40, names=NAMES, failed=False):
    """A run in which the last planner is best, with scores of 0 and 1 or returns of four digits."""
    control, rows, problems = kind == "control", {}, [f"p{i}" for i in range(n)]
    cells = [(name, budget) for name in names for budget in (64, 16_384)]
    for place, (name, budget) in enumerate(cells):
        for i, problem in enumerate(problems):
            good = (i * 7 + 3) % len(cells) < place + (i % 2)
            score = -1234.5 + 10 * place + i if control else float(good)
            rows[name, budget, problem] = row_of(name, budget, problem, score, control)
    if failed:
        rows[names[0], 64, "p0"] |= {"failed": "ValueError: [vllm] at runs/[red]x", "answer": None}
        rows[names[0], 64, "p1"] |= {"answer": None}
    head = {
        "task": "[bold]task", "kind": kind, "model": "folder/[red]of a model/with-a-long-name/that-does-not-end",
        "unit": "nodes", "notes": ["see [docs]"], "engine": None, "seed": 0, "value": "self",
        "views": {LONG: "bins of [1]"} if control else {}, "group_name": "",
    }  # fmt: skip
    return summarize(rows, cells, problems, names[0], head)


@pytest.mark.parametrize("kind", ["text", "control"])
@pytest.mark.parametrize("failed", [False, True])
def test_a_run_fits_80_columns_and_no_figure_is_cut(kind, failed):
    run = summary(kind, failed=failed)
    shown = printed(run)
    lines = [line for line in shown.splitlines() if not line.startswith("failed")]
    assert all(len(line) <= 80 for line in lines) and "\N{HORIZONTAL ELLIPSIS}" not in shown
    letters = "".join(shown.split())
    for row in run["rows"]:
        score = row["score"]
        assert (f"{score:.3f}" if abs(score) <= 1 else f"{score:,.1f}") in letters
    assert letters.count("16,384") >= len(NAMES)


@pytest.mark.parametrize("kind", ["text", "control"])
def test_what_is_left_out_is_named_with_its_place(kind):
    run = summary(kind)
    shown = " ".join(printed(run).split())
    absent = shown[shown.index("left out") :]
    assert "seconds" in absent and "summary.json and the report" in absent
    assert "left out" not in printed(run, 200) and "1234.56" in printed(run, 200)


def test_short_names_show_every_column_but_seconds_at_80():
    shown = printed(summary(names=("greedy", "best_of_n", "bfs")))
    assert all(name in shown for name in ("planner", "budget", "score [95 %]", "over greedy", " p ", "tokens"))


def test_no_markup_is_eaten():
    shown = "".join(printed(summary("control", failed=True)).split())
    for text in ("[bold]task", "folder/[red]ofamodel", "[vllm]atruns/[red]x", "see[docs]", "binsof[1]"):
        assert text in shown
    assert "plugins/[red" in shown


def test_at_most_five_comparisons_are_printed_and_the_rest_has_a_place():
    run = summary()
    lines = comparison_lines(run)
    told = [line.strip() for line in lines]
    texts = [one["text"] for one in run["comparisons"]]
    assert len(texts) > 20 and sum(line in texts for line in told) == MOST_LINES == 5
    assert told[-1] == f"{len(texts) - 5} more comparisons: summary.json and the report"
    clear = [one["text"] for one in run["comparisons"] if one["clear"]]
    assert len(clear) >= 5 and all(line in clear for line in told[:5])
    best = max(run["rows"], key=lambda row: row["score"])["planner"]
    assert best in told[0] and "greedy" in told[0]


def test_a_pair_that_was_not_run_at_equal_tokens_comes_after_all_others():
    run = summary(names=("greedy", "bfs"), n=8)
    for one in run["comparisons"]:
        if one["unit"] != "nodes":
            one |= {"comparable": False, "clear": False, "text": "not run"}
    assert [line.strip() for line in comparison_lines(run)][1] == "not run"


@pytest.mark.parametrize("kind", ["text", "control"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_with_too_few_problems_one_line_says_so_and_nothing_is_clear(kind, n, tmp_path):
    run = summary(kind, n=n)
    (line,) = comparison_lines(run)
    noun = "episode" if kind == "control" else "problem"
    assert re.match(rf"  {n} {noun}s? (is|are) too few to show a difference: the paired test gives p = ", line)
    assert not any(one["clear"] for one in run["comparisons"])
    assert all("pairs are too few" in one["text"] for one in run["comparisons"] if one["comparable"])
    write_report(tmp_path / "report.html", run, [], [], {})
    assert line.strip() in (tmp_path / "report.html").read_text()


def test_the_least_difference_is_said_where_some_comparison_is_not_clear():
    run = summary(n=20)
    lines = [line.strip() for line in comparison_lines(run)]
    assert "with 20 problems a difference below 0.2 cannot be shown" in lines
    assert power(20, binary=False)["text"] == "" and power(20, binary=False)["least_difference"] is None


def test_the_least_p_and_difference_are_those_of_the_tests():
    for n in (1, 2, 5, 6, 9):
        assert least_p(n) == pytest.approx(mcnemar(n, 0)) == pytest.approx(sign_flips([1.0] * n))
    assert least_p(LEAST_PAIRS) < 0.05 < least_p(LEAST_PAIRS - 1)
    for n in (6, 20, 100):
        wins = round(n * least_difference(n))
        one, zero = [1.0] * wins + [0.0] * (n - wins), [0.0] * n
        assert paired(one, zero).clear and not paired([0.0, *one[1:]], zero).clear
    assert least_difference(5) == float("inf") and not paired([1.0] * 5, [0.0] * 5).clear


def test_a_study_of_many_columns_fits_80_columns():
    row = {"model": "ensemble", "steps": 100, **{f"k = {k}": f"-140.5 [-160.3, -120.{k}]" for k in range(8)}}
    table = StudyTable("Which [one]?", "", [row], [row], ["see [here]"], keys=2)
    file = io.StringIO()
    table.show(Console(file=file, width=80))
    shown = file.getvalue()
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert all(f"-120.{k}]" in shown for k in range(8)) and "Which [one]?" in shown and "see [here]" in shown
    assert shown.count("ensemble") == shown.count("model") > 1


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_json_is_alone_on_standard_output(capsys):
    def work(console):
        print("a library's remark")
        console.print("a table")
        return {"a": [1]}

    run_command(work, as_json=True)
    found = capsys.readouterr()
    assert json.loads(found.out) == {"a": [1]} and "remark" in found.err and "a table" in found.err
    run_command(work)
    assert "a table" in capsys.readouterr().out


@pytest.fixture
def small(monkeypatch):
    """Benches and studies that only make their result."""
    from forethought.evals.bench import certificates, mpc, search
    from forethought.evals.studies import horizon

    monkeypatch.setattr(search, "SHAPES", ((1, 2, 4),))
    monkeypatch.setattr(search, "FLOOR_SECONDS", 0.0)
    monkeypatch.setattr(search, "growth", lambda repeats: {"at_100": 1.0, "at_10000": 2.0, "ratio": 2.0})
    monkeypatch.setattr(mpc, "measure", lambda name, *_: [
        {"model": name, "implementation": "ours", "method": "CEM", "ms": 1.0, "times_ours": 1.0,
         "evaluations_per_second": 1e6}
    ])  # fmt: skip
    monkeypatch.setattr(certificates, "PLANNERS", {"cem": certificates.PLANNERS["cem"]})
    monkeypatch.setattr(certificates, "PROBLEMS", certificates.PROBLEMS[:1])
    row = {"H": 1, "value": float("nan")}
    table = StudyTable("Which?", "", [row], [row])
    monkeypatch.setattr(horizon, "run", lambda **_: table)
    monkeypatch.setattr(horizon, "draw", lambda axes, rows: None)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["bench", "search", "--repeats", "1"], "shapes"),
        (["bench", "mpc"], "rows"),
        (["bench", "certificates", "--nodes", "32", "--seeds", "1"], "gaps"),
        (["study", "horizon"], "rows"),
    ],
)
def test_benches_and_studies_print_json(words, field, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, table = call(*words, "--json"), call(*words)
    assert (found.exit_code, table.exit_code) == (0, 0), found.exception or table.exception
    told = json.loads(found.stdout, parse_constant=lambda name: pytest.fail(name))
    assert told[field] and all(len(line) <= 80 for line in table.stdout.splitlines())


def test_pool_prints_json_and_its_table_fits(tmp_path):
    folders = []
    for seed in (0, 1):
        folders.append(tmp_path / f"[red]seed-{seed}")
        folders[-1].mkdir()
        header = {"format": 2, "settings": {"task": "stories", "data": "x", "unit": "nodes", "seed": seed}}
        rows = [
            {"planner": name, "budget": 8, "problem": f"p{i}", "score": float((i + seed) % (place + 2) > 0)}
            for place, name in enumerate(NAMES) for i in range(60)
        ]  # fmt: skip
        lines = "".join(json.dumps(line) + "\n" for line in (header, *rows))
        (folders[-1] / "results.jsonl").write_text(lines)
    found, table = call("pool", *folders, "--json"), call("pool", *folders, "--out", tmp_path / "[out].json")
    told = json.loads(found.stdout)
    assert {row["planner"] for row in told["rows"]} == set(NAMES) and told["pairs"]
    shown = table.stdout
    assert "[out].json" in shown and "plugins/[red" in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if not line.startswith("written"))
    clear = sum(any(each["clear"] for each in pair["differences"]) for pair in told["pairs"])
    assert clear > 5 and f"{clear - 5} more pairs differ clearly" in shown
    assert len(re.findall(r"over .* at\s+8:", shown)) == 5


def test_an_error_keeps_its_brackets(tmp_path):
    found = call("pool", tmp_path / "[red]nothing[/red]")
    assert found.exit_code == 2 and "[red]nothing[/red]" in "".join(found.stderr.split())
