"""`forethought demo`, which `make demo` runs: a language model and a pendulum with the same planners."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ...planning.files import write_whole
from ..console import say
from ..report.terminal import show
from ..runners.evaluate import run_evaluation
from ..runners.results import Summary
from ..settings import EvalSettings

STORIES: dict[str, Any] = {
    "planners": "greedy,self_consistency,bfs,mcts,best_of_n",
    "budgets": "8,16,32,64",
    "limit": 100,
}
PENDULUM: dict[str, Any] = {"planners": "cem,mppi,mcts,bfs,best_of_n", "budgets": "256,1024", "limit": 4}


def main(out: Path, console: Console | None = None, **changes: Any) -> list[Summary]:
    """Run both evaluations into folders of `out`, print both tables, and write a page that shows the two reports.

    changes: flags that replace those of both evaluations, for tests.
    """
    console = console or Console()
    begun = time.perf_counter()
    console.rule("What does a larger search budget buy?")
    results = [_run("stories", out, STORIES | changes, console), _run("pendulum", out, PENDULUM | changes, console)]
    console.rule("both tables")
    for result in results:
        show(result, console)
    index = out / "index.html"
    write_whole(index, _index(results))
    say(console, f"took {time.perf_counter() - begun:.0f} s")
    say(console, f"reports: {index} ({', '.join(str(r.report) for r in results)})")
    return results


def _run(task: str, out: Path, flags: Mapping[str, Any], console: Console) -> Summary:
    settings = EvalSettings(task=task, out=out / task, **flags)
    planners, budgets = ", ".join(settings.planners), ", ".join(f"{b:,}" for b in settings.budgets)
    console.print(f"{settings.task} with {settings.model}: {planners} at {budgets} {settings.unit}", highlight=False)
    return run_evaluation(settings, console)


def _index(results: Sequence[Summary]) -> str:
    """A page with each report in a frame."""
    frames = "".join(
        f'<h2><a href="{html.escape(r.folder.name)}/report.html">{html.escape(r["task"])}</a></h2>'
        f'<iframe src="{html.escape(r.folder.name)}/report.html" title="{html.escape(r["task"])}"></iframe>'
        for r in results
    )
    style = "body{font:16px system-ui,sans-serif;margin:20px}iframe{width:100%;height:88vh;border:1px solid #ccd}"
    policy = """<meta http-equiv="Content-Security-Policy" content="script-src 'none'">"""
    head = f'<!doctype html><meta charset="utf-8">{policy}<title>forethought: demo</title>'
    return f"{head}<style>{style}</style>{frames}\n"
