"""The tasks that `forethought eval` knows, by name."""

from __future__ import annotations

from pathlib import Path

from .base import BadInput, ControlTask, Grade, Problem, TextTask
from .gsm8k import Gsm8k
from .recorded import RecordedTrees
from .stories import Stories

CONTROL = {
    # Pendulum's cost is at most pi^2 + 0.1 * 8^2 + 0.001 * 2^2 a step over 200 steps.
    "pendulum": ControlTask("pendulum", worst=-3255.0, episodes=20),
    "cartpole": ControlTask("cartpole", worst=0.0, episodes=5),
    # Those below have no least return; the figure is near that of pushing as hard as one can the wrong way.
    "bouncer": ControlTask("bouncer", worst=-3000.0, episodes=10),
    "swingup": ControlTask("swingup", worst=-2000.0, episodes=10),
    "reacher": ControlTask("reacher", worst=-1000.0, episodes=10),
}
TEXT = ("stories", "gsm8k", "recorded")
TASKS = (*TEXT, *CONTROL)

__all__ = ["CONTROL", "TASKS", "TEXT", "BadInput", "ControlTask", "Grade", "Problem", "TextTask", "make_task"]


def make_task(
    name: str, *, data: Path | None = None, split: str = "test", tape: Path | None = None
) -> TextTask | ControlTask:
    """The task of this name; `data` is gsm8k's, `split` that of tasks with splits, `tape` that of recorded trees."""
    if name == "stories":
        return Stories(split)
    if name == "gsm8k":
        return Gsm8k(data, split)
    if name == "recorded":
        return RecordedTrees(tape)
    if name in CONTROL:
        return CONTROL[name]
    raise BadInput(f"no task {name!r}; there are {', '.join(TASKS)}")
