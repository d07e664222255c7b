"""What a run shows in a terminal: a bar with rate, spend and running score, then the table and the verdicts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .book import Row
from .summary import EQUAL_TOKENS, tokens, total


class Live:
    """A progress bar over the rows of a run; a context manager that is called with each row. quiet: show nothing."""

    def __init__(self, rows: int, console: Console, *, quiet: bool = False) -> None:
        self.scores: dict[str, tuple[float, int]] = {}
        self.nodes = self.tokens = 0.0
        self.done, self.begun = 0, time.perf_counter()
        self._bar = Progress(
            BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[spend]}"), TextColumn("{task.fields[scores]}"), console=console, disable=quiet,
        )  # fmt: skip
        self._task = self._bar.add_task("run", total=rows, spend="", scores="")

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
        self._bar.update(self._task, completed=self.done, spend=self._spend(), scores=self._running())

    def _spend(self) -> str:
        rate = self.done / max(1e-9, time.perf_counter() - self.begun)
        parts = [f"{rate:.1f}/s", f"{_short(self.nodes)} nodes"]
        return ", ".join(parts + [f"{_short(self.tokens)} tokens"] if self.tokens else parts)

    def _running(self) -> str:
        return "  ".join(f"{name} {_score(score / n)}" for name, (score, n) in self.scores.items())


def show(summary: Mapping[str, Any], console: Console) -> None:
    """Print the table, the verdicts and the notes of a run."""
    console.print(table_of(summary))
    for line in verdict_lines(summary):
        console.print(line, highlight=False)
    for note in summary.get("notes") or []:
        console.print(f"note: {note}", highlight=False, style="yellow")


def table_of(summary: Mapping[str, Any]) -> Table:
    """One line per planner and budget; ledgers are means, charged and closing together."""
    control = summary.get("kind") == "control"
    per = "decision" if control else "problem"
    table = Table(title=f"{summary['task']}, {summary['model']}", title_justify="left", box=None, pad_edge=False)
    against = next((row["paired"]["against"] for row in summary["rows"] if row["paired"]), None)
    names = ["planner", "budget", "n", "return" if control else "score", "95 %"]
    names += [f"- {against}", "95 %", "p"] if against else []
    names += [f"nodes/{per}"] + ([] if control else ["tokens", "of these critic"]) + ["s", "answered", "failed"]
    for i, name in enumerate(names):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in summary["rows"]:
        table.add_row(*_cells(row, against, control), end_section=False)
    return table


def _cells(row: Mapping[str, Any], against: str | None, control: bool) -> list[str]:
    cells = [row["planner"], f"{row['budget']:,}", str(row["n"]), _score(row["score"])]
    cells.append(f"{_score(row['low'])} {_score(row['high'])}")
    if against:
        cells += _pair_cells(row["paired"])
    per = max(1.0, row["decisions"]) if control else 1.0
    cells.append(f"{total(row, 'nodes') / per:,.1f}")
    if not control:
        cells += [f"{total(row, 'tokens'):,.0f}", f"{total(row, 'value_tokens'):,.0f}"]
    return [*cells, f"{total(row, 'seconds'):.2f}", str(row["answered"]), str(row["failed"])]


def _pair_cells(pair: Mapping[str, Any] | None) -> list[str]:
    if not pair:
        return ["", "", ""]
    return [_sign(pair["difference"]), f"{_sign(pair['low'])} {_sign(pair['high'])}", _p(pair["p"])]


def verdict_lines(summary: Mapping[str, Any]) -> Sequence[str]:
    """The verdicts that concern the best planner or the one all are compared with."""
    rows = summary["rows"]
    if not rows:
        return []
    shown = {max(rows, key=lambda row: row["score"])["planner"]}
    shown |= {row["paired"]["against"] for row in rows if row["paired"]}
    units = sorted({v["unit"] for v in summary["verdicts"]}, key=lambda unit: unit == EQUAL_TOKENS)
    return [
        f"  {v['text']}"
        for unit in units
        for v in summary["verdicts"]
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
