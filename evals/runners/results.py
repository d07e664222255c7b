"""The result of a run, and writing of its `summary.json` and `report.html`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...planning.files import write_whole
from ..errors import RunStopped
from ..records.run_store import REPORT, SUMMARY, RunStore, write_errors
from ..records.summary import all_failed, summarize
from ..report.report import write_report
from ..settings import EvalSettings
from ..tasks import EpisodeTask, TextTask
from .grid import JobGrid


class Summary(dict[str, Any]):
    """What `summary.json` holds: one entry of `rows` per planner and budget, `comparisons`, costs and notes.

    folder: of the run's files. report: the HTML page.
    """

    def __init__(self, content: Mapping[str, Any], folder: Path, report: Path) -> None:
        super().__init__(content)
        self.folder, self.report = folder, report


def summary_head(settings: EvalSettings, task: TextTask | EpisodeTask, notes: Sequence[str]) -> dict[str, Any]:
    """The fields of the summary that describe the run as a whole."""
    return {
        "task": task.name, "kind": task.kind, "model": settings.model,
        "engine": settings.engine if task.kind == "text" else None, "value": settings.value or None,
        "seed": settings.seed,
        "reasoning": settings.reasoning, "answer_by": settings.answer_by,
        "unit": settings.unit, "group_name": task.group_name, "notes": list(notes), "views": {},
    }  # fmt: skip


def write_results(store: RunStore, grid: JobGrid, settings: EvalSettings, head: Mapping[str, Any]) -> Summary:
    """Write `summary.json` and `report.html` of all rows of the grid that are on disk."""
    cells = sorted(grid.cells, key=lambda cell: (settings.planners.index(cell[0]), cell[1]))
    problems = [problem.id for problem in grid.problems]
    summary = summarize(store.rows, cells, problems, reference_planner(settings), head)
    rows = [row for cell in cells for p in grid.problems if (row := store.rows.get((*cell, p.id)))]
    trees = {
        (r["planner"], r["budget"], r["problem"]): store.read_tree(r["tree"])
        for r in rows
        if r.get("tree") and not r.get("truncated_from")
    }
    report = store.folder / REPORT
    with write_errors(store.folder):
        write_whole(store.folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
        write_report(report, summary, rows, grid.problems, trees)
    return Summary(summary, store.folder, report)


def check_outcome(summary: Mapping[str, Any]) -> None:
    """Errors: RunStopped where a planner at a budget has no result but failures, or the tape of a replay is damaged."""
    failed = [f"{row['planner']} at {row['budget']:,}" for row in summary["rows"] if all_failed(row)]
    if failed:
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        reason = next(iter(summary["failures"]), "unknown")
        raise RunStopped(f"every result of {failed[0]}{more} failed, most often by {reason}")
    if not summary["rows"]:
        raise RunStopped("there is no result")
    if damaged := summary.get("damaged_records"):
        raise RunStopped(f"{damaged:,} records of the tape are damaged and were taken for missing; record them again")


def reference_planner(settings: EvalSettings) -> str | None:
    """The planner that others are compared with: the requested one, else greedy, else best-of-N among several."""
    if settings.against or "greedy" in settings.planners:
        return settings.against or "greedy"
    return "best_of_n" if "best_of_n" in settings.planners and len(settings.planners) > 1 else None
