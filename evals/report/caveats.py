"""Notes that must accompany the figures of a run over text, such as an oracle critic or an incomplete tape."""

from __future__ import annotations

from ...llm.engines.replay import ReplayEngine
from ...llm.text_model import TextModel
from ..settings import EvalSettings
from ..tasks.base import TextTask

BUILTIN_NOTE = (
    "The built-in model is a few million parameters trained on toy stories, so that everything runs without a "
    "download; it cannot read real questions, and an accuracy near zero here is expected. For real questions pass "
    "--model with a Hugging Face model."
)

REASONING_NOTE = (
    "The built-in model was trained only to write steps. With --reasoning propose or rap it does not write usable "
    "lists or sub-questions, and an accuracy near zero here is expected. These need a model that follows instructions."
)

VLLM_NOTE = (
    "vLLM samples with its own random numbers and takes no seed: within this run all planners share one random tree, "
    "but only with a tape (--tape FILE) can the run be repeated or continued in the same tree."
)


def caveats_of(settings: EvalSettings, task: TextTask, model: TextModel) -> list[str]:
    """The notes that must accompany the figures of this run."""
    from ...llm.critics.oracle import ORACLE_NOTE

    notes = [ORACLE_NOTE] if "oracle" in settings.value else []
    if model.tape.damaged:
        notes.append(f"{model.tape.damaged:,} records of the tape are damaged and were taken for missing")
    if (settings.model, task.name) == ("builtin", "gsm8k"):
        notes.append(BUILTIN_NOTE)
    if settings.model == "builtin" and settings.reasoning != "steps":
        notes.append(REASONING_NOTE)
    if settings.engine == "vllm" and settings.tape is None:
        notes.append(VLLM_NOTE)
    if isinstance(model.engine, ReplayEngine):
        notes += replay_notes(model, model.engine, settings.value)
    return notes


def replay_notes(model: TextModel, engine: ReplayEngine, value: str) -> list[str]:
    """How many requests of this call the tape could not answer, and how its recorded runs differ from this one."""
    from ...llm.load import run_settings

    steps, scores = engine.missing["steps"], engine.missing["scores"]
    found = model.tape.hits + model.tape.merged
    if not steps + scores:
        return [f"replay: the tape answered all {found:,} requests"]
    text = (
        f"replay: the tape answered {found:,} requests and lacks {steps + scores:,}: {steps:,} steps, each of which "
        f"became a dead end, and {scores:,} scores, each of which became an unknown value"
    )
    now = run_settings(model, value)
    differences = [
        [f"{name} {run[name]} and not {here}" for name, here in now.items() if run.get(name, here) != here]
        for run in engine.runs
    ]
    nearest = min(differences, key=len, default=[])
    return [text + (f". The most similar recorded run had {', '.join(nearest)}" if nearest else "")]
