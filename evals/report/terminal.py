"""The terminal output of a run: its progress, then the table and the main comparisons."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from rich.console import Console

from ..console import Column, say, show_table
from ..progress import Advance, progress
from ..records.run_store import Row
from ..records.statistics import LEAST_PAIRS
from ..records.summary import EQUAL_TOKENS, all_failed, tokens, total

MOST_LINES = 5
"""Comparisons that are printed; all are in `summary.json` and in the report."""

REST = "summary.json and the report"
UNANSWERED, FAILED = "no\nanswer", "failed"
"""Columns that are shown where a problem has no answer, or failed."""


class Live:
    """Progress over the rows of a run: a context manager that is called with each row.

    rows: how many are expected. quiet: show nothing.
    """

    def __init__(self, rows: int, console: Console, *, quiet: bool = False) -> None:
        self.scores: dict[str, tuple[float, int]] = {}
        self.nodes = self.tokens = 0.0
        self.done, self.begun = 0, time.perf_counter()
        self._stack, self._progress = ExitStack(), progress(rows, "run", console, quiet=quiet or not rows)

    def __enter__(self) -> Live:
        self._advance: Advance = self._stack.enter_context(self._progress)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, row: Row) -> None:
        self.done += 1
        spent = row["ledger"]["spent"]
        self.nodes += spent["nodes"]
        self.tokens += tokens(spent)
        score, n = self.scores.get(row["planner"], (0.0, 0))
        self.scores[row["planner"]] = score + row["score"], n + 1
        self._advance(1, f"{self._usage()}  {self._best_score()}")

    def show_text(self, text: str) -> None:
        """Show progress between two rows."""
        self._advance(0, text)

    def _usage(self) -> str:
        rate = self.done / max(1e-9, time.perf_counter() - self.begun)
        parts = [f"{rate:.1f}/s", f"{_short(self.nodes)} nodes"]
        return ", ".join(parts + [f"{_short(self.tokens)} tokens"] if self.tokens else parts)

    def _best_score(self) -> str:
        means = {name: score / n for name, (score, n) in self.scores.items()}
        best = max(means, key=lambda name: means[name])
        return f"{best} {_score(means[best])}"


def show(summary: Mapping[str, Any], console: Console) -> None:
    """Print the table, the failures, the main comparisons and the notes of a run."""
    show_rows(summary, console)
    for line in rule_lines(summary):
        say(console, line)
    for reason, count in (summary.get("failures") or {}).items():
        say(console, f"failed {count}x: {reason}", style="red")
    if retryable := summary.get("retryable"):
        say(console, f"{retryable} of these failures were not caused by the problems; the same command runs them again")
    for line in comparison_lines(summary):
        say(console, line, wrap=True)
    if summary.get("views"):
        views = "; ".join(f"{name}: {text}" for name, text in summary["views"].items())
        say(console, f"views of the model: {views}", wrap=True)
    for note in summary.get("notes") or []:
        say(console, f"note: {note}", wrap=True)


def show_rows(summary: Mapping[str, Any], console: Console) -> None:
    """Print one line per planner and budget; costs are means of charged plus completion usage."""
    rows = summary["rows"]
    control = summary.get("kind") == "control"
    counts = "-".join(str(n) for n in sorted({row["n"] for row in rows}))
    title = f"{summary['task']}, {summary['model']}: {counts} {'episodes' if control else 'problems'}"
    against = next((row["paired"]["against"] for row in rows if row["paired"]), None)
    columns = [Column("planner", right=False), Column("budget"), Column("return [95 %]" if control else "score [95 %]")]
    columns += [Column(f"over {against}"), Column("p")] if against else []
    units = (("nodes/decision", 2),) if control else (("nodes", 2), ("tokens", 1))
    columns += [Column(name, optional=order) for name, order in (*units, ("seconds", 3))]
    columns += [Column(name) for name in (UNANSWERED, FAILED) if any(_count(row, name) for row in rows)]
    names = [column.name for column in columns]
    show_table(console, columns, [_cells(row, names, control) for row in rows], title=title, keys=2, rest=REST)


def rule_lines(summary: Mapping[str, Any]) -> Sequence[str]:
    """Per planner at its largest budget the scores by other answer-selection rules, where they differ."""
    largest = {row["planner"]: row for row in summary["rows"] if row.get("by_rule")}
    lines = []
    for name, row in largest.items():
        scores = {rule: one["score"] for rule, one in row["by_rule"].items()}
        if len(set(scores.values())) > 1:
            text = ", ".join(f"{rule} {score:.3f}" for rule, score in scores.items())
            lines.append(f"  {name} {row['budget']:,}, answer by {text}")
    return lines


def _count(row: Mapping[str, Any], name: str) -> int:
    return int(row["failed"] if name == FAILED else row["n"] - row["answered"] - row["failed"])


def _cells(row: Mapping[str, Any], names: Sequence[str], control: bool) -> list[str]:
    score = "-" if all_failed(row) else f"{_score(row['score'])} {_bounds(row['low'], row['high'])}"
    cells = [row["planner"], f"{row['budget']:,}", score]
    if "p" in names:
        cells += _pair_cells(row["paired"])
    cells.append(f"{total(row, 'nodes') / (max(1.0, row['decisions']) if control else 1.0):,.1f}")
    if not control:
        cells.append(f"{total(row, 'tokens'):,.0f}")
    cells.append(f"{total(row, 'seconds'):.2f}")
    return cells + [str(_count(row, name) or "") for name in (UNANSWERED, FAILED) if name in names]


def _pair_cells(pair: Mapping[str, Any] | None) -> list[str]:
    if not pair:
        return ["", ""]
    return [f"{_sign(pair['difference'])} {_bounds(pair['low'], pair['high'], '+')}", _p(pair["p"])]


def comparison_lines(summary: Mapping[str, Any]) -> Sequence[str]:
    """The most informative comparisons, then what the run can show at best, and where the other comparisons are.

    First come clear ones, then those between the best planner and the one that all are compared with, then those of
    either; a pair that was not run at equal tokens comes last.
    """
    rows, power = summary["rows"], summary["power"]
    if power["pairs"] < LEAST_PAIRS:
        return [f"  {power['text']}"] if summary["comparisons"] else []
    main = {max(rows, key=lambda row: row["score"])["planner"]}
    main |= {row["paired"]["against"] for row in rows if row["paired"]}

    def rank(one: Mapping[str, Any]) -> tuple[Any, ...]:
        outside = len({one["first"][0], one["second"][0]} - main)
        return not one["comparable"], not one["clear"], outside, one["unit"] == EQUAL_TOKENS, -abs(one["difference"])

    found = sorted(summary["comparisons"], key=rank)
    lines = [f"  {one['text']}" for one in found[:MOST_LINES]]
    if power["text"] and any(one["comparable"] and not one["clear"] for one in found):
        lines.append(f"  {power['text']}")
    if left := len(found) - MOST_LINES:
        lines += [f"  {left} more comparison{'s' * (left > 1)}: {REST}"] if left > 0 else []
    return lines


def _score(x: float) -> str:
    return f"{x:.3f}" if abs(x) <= 1 else f"{x:,.1f}"


def _bounds(low: float, high: float, sign: str = "") -> str:
    """An interval in few letters: "[.42 .61]" of accuracies, three digits of returns."""
    accuracy = max(abs(low), abs(high)) <= 1
    return f"[{' '.join(_bound(x, sign, accuracy) for x in (low, high))}]"


def _bound(x: float, sign: str, accuracy: bool) -> str:
    if accuracy:
        return f"{x:{sign}.2f}".replace("0.", ".", 1)
    return f"{x:{sign},.0f}" if abs(x) >= 100 else f"{x:{sign}.3g}"


def _sign(x: float) -> str:
    return f"{x:+.3f}" if abs(x) <= 1 else f"{x:+,.1f}"


def _p(p: float) -> str:
    return "<.001" if p < 0.001 else f"{p:.3f}"


def _short(x: float) -> str:
    return f"{x / 1e6:.1f}M" if x >= 1e6 else f"{x / 1e3:.1f}k" if x >= 1e3 else f"{x:.0f}"
