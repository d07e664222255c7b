"""What must stand beside the figures of a run over text: what the model cannot do, an oracle, a tape with holes."""

from __future__ import annotations

from typing import Any

from ..request import Request
from ..tasks.base import TextTask

BUILTIN_NOTE = (
    "The built-in model is a few million parameters trained on toy stories, so that everything runs without a "
    "download; it cannot read real questions, and an accuracy near zero here is expected. For real questions pass "
    "--model with a Hugging Face model."
)

WAYS_NOTE = (
    "The built-in model was trained to write steps and nothing else: asked for a list of steps (propose) or for "
    "sub-questions (rap) it babbles, and an accuracy near zero here is expected. These ways of reasoning want a model "
    "that follows instructions, or was shown how."
)

VLLM_NOTE = (
    "vLLM draws its own noise and takes no seed: within this run all planners share one random tree, but only a tape "
    "(--tape FILE) repeats the run, or goes on with it in the same tree."
)


def notes_of(request: Request, task: TextTask, model: Any) -> list[str]:
    """What must stand beside the figures."""
    from ...llm.critics.oracle import ORACLE_NOTE

    notes = [ORACLE_NOTE] if "oracle" in request.value else []
    if (request.model, task.name) == ("builtin", "gsm8k"):
        notes.append(BUILTIN_NOTE)
    if request.model == "builtin" and request.reasoning != "steps":
        notes.append(WAYS_NOTE)
    if request.engine == "vllm" and request.tape is None:
        notes.append(VLLM_NOTE)
    return notes + (replay_notes(model, request.value) if request.engine == "replay" else [])


def replay_notes(model: Any, value: str) -> list[str]:
    """How many requests of this call fell off the tape, and in what its runs differ from this one."""
    from ...llm.load import run_settings

    steps, scores = model.engine.missing["steps"], model.engine.missing["scores"]
    found = model.tape.hits + model.tape.merged
    if not steps + scores:
        return [f"replay: the tape answered all {found:,} requests"]
    text = (
        f"replay: {steps + scores:,} requests fell off the tape, which answered {found:,}. They are {steps:,} steps, "
        f"each a dead end, and {scores:,} scores, which are unknown"
    )
    asked = run_settings(model, value)
    unlike = [
        [f"{name} {run[name]} and not {asked[name]}" for name in asked if run.get(name, asked[name]) != asked[name]]
        for run in model.engine.runs
    ]
    nearest = min(unlike, key=len, default=[])
    return [text + (f". The nearest run on it had {', '.join(nearest)}" if nearest else "")]
