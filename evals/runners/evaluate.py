"""From valid settings to rows on disk, `summary.json` and `report.html`."""

from __future__ import annotations

from rich.console import Console

from ..settings import EvalSettings
from ..tasks import EpisodeTask
from .results import Summary
from .text_runner import evaluate_text


def run_evaluation(settings: EvalSettings, console: Console | None = None) -> Summary:
    """Run what the settings ask for and is not on disk yet, then summarise all of it.

    Errors: BadInput for what the user can correct; RunStopped where the engine died during the run. After that and
    after KeyboardInterrupt the next call with the same folder continues the run.
    """
    console, task = console or Console(), settings.parts.task
    if isinstance(task, EpisodeTask):
        from .control_runner import evaluate_control  # imports gymnasium, which text tasks do not need

        return evaluate_control(settings, task, console)
    return evaluate_text(settings, task, console)
