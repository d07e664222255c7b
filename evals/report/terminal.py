"""The terminal output of a run: a progress bar with rate, usage and mean scores, then the table and comparisons."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..cli_common import Console
from ..records.run_store import Row
from ..records.summary import EQUAL_TOKENS, all_failed, tokens, total

MIN_WIDTH = 110
"""Columns; the least width of a table, since a log file reports a width of 80."""


class Live:
    """A progress bar over the rows of a run: a context manager that is called with each row.

    rows: how many are expected. quiet: show nothing.
    """

    def __init__(self, rows: int, console: Console, *, quiet: bool = False) -> None:
        self.scores: dict[str, tuple[float, int]] = {}
        self.nodes = self.tokens = 0.0
        self.done, self.begun = 0, time.perf_counter()
        self._bar = Progress(
            BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[usage]}"), TextColumn("{task.fields[scores]}"), console=console, disable=quiet,
        )  # fmt: skip
        self._task = self._bar.add_task("run", total=rows, usage="", scores="")

    def __enter__(self) -> Live:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, row: Row) -> None:
        self.done += 1
        spent = row["ledger"]["spent"]
        self.nodes += spent["nodes"]
        self.tokens += tokens(spent)
        score, n = self.scores.get(row["planner"], (0.0, 0))
        self.scores[row["planner"]] = score + row["score"], n + 1
        self._bar.update(self._task, completed=self.done, usage=self._usage(), scores=self._mean_scores())

    def show_text(self, text: str) -> None:
        """Show progress between two rows."""
        self._bar.update(self._task, scores=text)

    def _usage(self) -> str:
        rate = self.done / max(1e-9, time.perf_counter() - self.begun)
        parts = [f"{rate:.1f}/s", f"{_short(self.nodes)} nodes"]
        return ", ".join(parts + [f"{_short(self.tokens)} tokens"] if self.tokens else parts)

    def _mean_scores(self) -> str:
        return "  ".join(f"{name} {_score(score / n)}" for name, (score, n) in self.scores.items())


def show(summary: Mapping[str, Any], console: Console) -> None:
    """Print the table, the failures, the comparisons and the notes of a run."""
    wide = Console(file=console.file, width=max(MIN_WIDTH, console.width))
    wide.print(table_of(summary))
    for line in rule_lines(summary):
        wide.print(line, highlight=False, markup=False)
    for reason, count in (summary.get("failures") or {}).items():
        wide.print(f"failed {count}x: {reason}", highlight=False, markup=False, style="red")
    if retryable := summary.get("retryable"):
        wide.print(f"{retryable} of these failures were not caused by the problems; the same command runs them again")
    for line in comparison_lines(summary):
        wide.print(line, highlight=False, markup=False)
    if summary.get("views"):
        views = "; ".join(f"{name}: {text}" for name, text in summary["views"].items())
        wide.print(f"views of the model: {views}", highlight=False)
    for note in summary.get("notes") or []:
        wide.print(f"note: {note}", highlight=False, markup=False)


def table_of(summary: Mapping[str, Any]) -> Table:
    """One line per planner and budget; costs are means of charged plus completion usage."""
    rows = summary["rows"]
    control = summary.get("kind") == "control"
    counts = "-".join(str(n) for n in sorted({row["n"] for row in rows}))
    title = f"{summary['task']}, {summary['model']}: {counts} {'episodes' if control else 'problems'}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    against = next((row["paired"]["against"] for row in rows if row["paired"]), None)
    names = ["planner", "budget", "return" if control else "score", "95 %"]
    names += [f"over {against}", "95 %", "p"] if against else []
    names += ["nodes/decision"] if control else ["nodes", "tokens"]
    names += ["seconds"] + [name for name in ("unanswered", "failed") if any(_count(row, name) for row in rows)]
    for i, name in enumerate(names):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, names, control))
    return table


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
    return int(row["failed"] if name == "failed" else row["n"] - row["answered"] - row["failed"])


def _cells(row: Mapping[str, Any], names: Sequence[str], control: bool) -> list[str]:
    nothing = all_failed(row)
    scores = ["-", ""] if nothing else [_score(row["score"]), f"{_score(row['low'])} {_score(row['high'])}"]
    cells = [row["planner"], f"{row['budget']:,}", *scores]
    if "p" in names:
        cells += _pair_cells(row["paired"])
    cells.append(f"{total(row, 'nodes') / (max(1.0, row['decisions']) if control else 1.0):,.1f}")
    if not control:
        cells.append(f"{total(row, 'tokens'):,.0f}")
    cells.append(f"{total(row, 'seconds'):.2f}")
    return cells + [str(_count(row, name) or "") for name in ("unanswered", "failed") if name in names]


def _pair_cells(pair: Mapping[str, Any] | None) -> list[str]:
    if not pair:
        return ["", "", ""]
    return [_sign(pair["difference"]), f"{_sign(pair['low'])} {_sign(pair['high'])}", _p(pair["p"])]


def comparison_lines(summary: Mapping[str, Any]) -> Sequence[str]:
    """The comparisons that involve the best planner or the one that all are compared with."""
    rows = summary["rows"]
    if not rows:
        return []
    shown = {max(rows, key=lambda row: row["score"])["planner"]}
    shown |= {row["paired"]["against"] for row in rows if row["paired"]}
    units = sorted({v["unit"] for v in summary["comparisons"]}, key=lambda unit: unit == EQUAL_TOKENS)
    return [
        f"  {v['text']}"
        for unit in units
        for v in summary["comparisons"]
        if v["unit"] == unit and shown & {v["first"][0], v["second"][0]}
    ]


def _score(x: float) -> str:
    return f"{x:.3f}" if abs(x) <= 1 else f"{x:,.1f}"


def _sign(x: float) -> str:
    return f"{x:+.3f}" if abs(x) <= 1 else f"{x:+,.1f}"


def _p(p: float) -> str:
    return "<.001" if p < 0.001 else f"{p:.3f}"


def _short(x: float) -> str:
    return f"{x / 1e6:.1f}M" if x >= 1e6 else f"{x / 1e3:.1f}k" if x >= 1e3 else f"{x:.0f}"
