"""What must stand beside the figures of a run over text: what the model cannot do, an oracle, a tape with holes."""

from __future__ import annotations

from typing import Any

from .request import Request
from .tasks.base import TextTask

BUILTIN_NOTE = (
    "The built-in model is a few million parameters trained on toy stories, so that everything runs without a "
    "download; it cannot read real questions, and an accuracy near zero here is expected. For real questions pass "
    "--model with a Hugging Face model."
)


def notes_of(request: Request, task: TextTask, model: Any) -> list[str]:
    """What must stand beside the figures."""
    from ..llm.values.oracle import NOTE

    notes = [NOTE] if "oracle" in request.value else []
    if (request.model, task.name) == ("builtin", "gsm8k"):
        notes.append(BUILTIN_NOTE)
    return notes + (replay_notes(model, request.value) if request.engine == "replay" else [])


def replay_notes(model: Any, value: str) -> list[str]:
    """How many requests of this call fell off the tape, and in what its runs differ from this one."""
    from ..llm.load import run_of

    steps, scores = model.engine.lost["steps"], model.engine.lost["scores"]
    found = model.tape.hits + model.tape.merged
    if not steps + scores:
        return [f"replay: the tape answered all {found:,} requests"]
    text = (
        f"replay: {steps + scores:,} requests fell off the tape, which answered {found:,}. They are {steps:,} steps, "
        f"each a dead end, and {scores:,} scores, which are unknown"
    )
    asked = run_of(model, value)
    unlike = [
        [f"{name} {run[name]} and not {asked[name]}" for name in asked if run.get(name, asked[name]) != asked[name]]
        for run in model.engine.runs
    ]
    nearest = min(unlike, key=len, default=[])
    return [text + (f". The nearest run on it had {', '.join(nearest)}" if nearest else "")]
