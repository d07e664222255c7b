"""`forethought demo`, which `make demo` runs: one question, two worlds, the same planners."""

from __future__ import annotations

import html
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from ..report.terminal import show
from ..request import Request, checked
from ..runners.text_runner import Result, evaluate

STORIES: dict[str, Any] = {
    "planner": "greedy,self_consistency,bfs,mcts,best_of_n",
    "budgets": "8,16,32,64",
    "limit": 100,
}
PENDULUM: dict[str, Any] = {"planner": "cem,mppi,mcts,bfs,best_of_n", "budgets": "256,1024", "limit": 4}


def main(out: Path, console: Console | None = None, **changes: Any) -> list[Result]:
    """Run both jobs into folders of `out`, print both tables, and write an index page that links the two reports.

    changes: flags of both jobs, for tests.
    """
    console = console or Console()
    begun = time.perf_counter()
    console.rule("What does a larger search budget buy?")
    requests = [_request("stories", out, STORIES | changes), _request("pendulum", out, PENDULUM | changes)]
    results = [_job(request, console) for request in requests]
    console.rule("both tables")
    for result in results:
        show(result.summary, console)
    index = out / "index.html"
    index.write_text(_index(results))
    console.print(f"took {time.perf_counter() - begun:.0f} s", highlight=False)
    console.print(f"reports: {index} ({', '.join(str(r.report) for r in results)})", highlight=False, soft_wrap=True)
    return results


def _request(task: str, out: Path, flags: dict[str, Any]) -> Request:
    rest = {name: value for name, value in flags.items() if name not in ("planner", "budgets")}
    return checked(task, str(flags["planner"]), str(flags["budgets"]), out=out / task, **rest)


def _job(request: Request, console: Console) -> Result:
    planners, budgets = ", ".join(request.planners), ", ".join(f"{b:,}" for b in request.budgets)
    console.print(f"{request.task} with {request.model}: {planners} at {budgets} {request.unit}", highlight=False)
    return evaluate(request, console, tell=False)


def _index(results: list[Result]) -> str:
    """Both reports, one above the other, each in a frame of its own."""
    frames = "".join(
        f'<h2><a href="{html.escape(r.folder.name)}/report.html">{html.escape(r.summary["task"])}</a></h2>'
        f'<iframe src="{html.escape(r.folder.name)}/report.html" title="{html.escape(r.summary["task"])}"></iframe>'
        for r in results
    )
    style = "body{font:16px system-ui,sans-serif;margin:20px}iframe{width:100%;height:88vh;border:1px solid #ccd}"
    return f'<!doctype html><meta charset="utf-8"><title>forethought: demo</title><style>{style}</style>{frames}\n'
