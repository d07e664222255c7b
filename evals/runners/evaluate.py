"""`forethought eval`: from a valid request to rows on disk, `summary.json` and `report.html`."""

from __future__ import annotations

from ..cli_common import Console
from ..report.terminal import show
from ..request import EvalRequest
from ..tasks import EpisodeTask, make_task
from .results import EvalResult
from .text_runner import evaluate_text


def evaluate(request: EvalRequest, console: Console | None = None, *, print_summary: bool = True) -> EvalResult:
    """Run what the request asks for and is not on disk yet, then summarise all of it.

    Errors: BadInput for what the user can correct; RunStopped where the engine died during the run. After that and
    after KeyboardInterrupt the next call with the same folder continues the run.
    """
    console = console or Console()
    task = make_task(request.task, data=request.data, split=request.split, tape=request.tape)
    if isinstance(task, EpisodeTask):
        from .control_runner import evaluate_control  # imports gymnasium, which text tasks do not need

        result = evaluate_control(request, task, console)
    else:
        result = evaluate_text(request, task, console)
    if print_summary:
        show(result.summary, console)
        console.print(f"report: {result.report}", highlight=False, soft_wrap=True)
    return result
