"""`forethought demo`, which `make demo` runs: a language model and a pendulum with the same planners."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...planning.files import write_whole
from ..cli_common import Console
from ..report.terminal import show
from ..request import EvalRequest, make_request
from ..runners.evaluate import evaluate
from ..runners.results import EvalResult

STORIES: dict[str, Any] = {
    "planner": "greedy,self_consistency,bfs,mcts,best_of_n",
    "budgets": "8,16,32,64",
    "limit": 100,
}
PENDULUM: dict[str, Any] = {"planner": "cem,mppi,mcts,bfs,best_of_n", "budgets": "256,1024", "limit": 4}


def main(out: Path, console: Console | None = None, **changes: Any) -> list[EvalResult]:
    """Run both evaluations into folders of `out`, print both tables, and write a page that shows the two reports.

    changes: flags that replace those of both evaluations, for tests.
    """
    console = console or Console()
    begun = time.perf_counter()
    console.rule("What does a larger search budget buy?")
    requests = [_request("stories", out, STORIES | changes), _request("pendulum", out, PENDULUM | changes)]
    results = [_run(request, console) for request in requests]
    console.rule("both tables")
    for result in results:
        show(result.summary, console)
    index = out / "index.html"
    write_whole(index, _index(results))
    console.print(f"took {time.perf_counter() - begun:.0f} s", highlight=False)
    console.print(f"reports: {index} ({', '.join(str(r.report) for r in results)})", highlight=False, soft_wrap=True)
    return results


def _request(task: str, out: Path, flags: Mapping[str, Any]) -> EvalRequest:
    rest = {name: value for name, value in flags.items() if name not in ("planner", "budgets")}
    return make_request(task, str(flags["planner"]), str(flags["budgets"]), out=out / task, **rest)


def _run(request: EvalRequest, console: Console) -> EvalResult:
    planners, budgets = ", ".join(request.planners), ", ".join(f"{b:,}" for b in request.budgets)
    console.print(f"{request.task} with {request.model}: {planners} at {budgets} {request.unit}", highlight=False)
    return evaluate(request, console, print_summary=False)


def _index(results: Sequence[EvalResult]) -> str:
    """A page with each report in a frame."""
    frames = "".join(
        f'<h2><a href="{html.escape(r.folder.name)}/report.html">{html.escape(r.summary["task"])}</a></h2>'
        f'<iframe src="{html.escape(r.folder.name)}/report.html" title="{html.escape(r.summary["task"])}"></iframe>'
        for r in results
    )
    style = "body{font:16px system-ui,sans-serif;margin:20px}iframe{width:100%;height:88vh;border:1px solid #ccd}"
    policy = """<meta http-equiv="Content-Security-Policy" content="script-src 'none'">"""
    head = f'<!doctype html><meta charset="utf-8">{policy}<title>forethought: demo</title>'
    return f"{head}<style>{style}</style>{frames}\n"
