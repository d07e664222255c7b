"""The tasks of `forethought eval`, by name.

- `base.py`: `TextTask`, `EpisodeTask`, `Problem`, `GradedAnswer`, the user's errors, and reading of JSON lines.
- `gsm8k.py`: GSM8K from a file or from the Hugging Face hub.
- `stories.py`: the built-in word problems.
- `recorded.py`: the problems of an imported tape.
- `numeric.py`: grading of answers that are numbers.
"""

from __future__ import annotations

from pathlib import Path

from .base import BadInput, EpisodeTask, GradedAnswer, Problem, TextTask
from .gsm8k import Gsm8k
from .recorded import RecordedTrees
from .stories import Stories

CONTROL = {
    # Pendulum's cost is at most pi^2 + 0.1 * 8^2 + 0.001 * 2^2 a step over 200 steps.
    "pendulum": EpisodeTask("pendulum", worst=-3255.0, episodes=20),
    "cartpole": EpisodeTask("cartpole", worst=0.0, episodes=5),
    # The returns below have no lower bound; each figure is near that of full action in the wrong direction.
    "bouncer": EpisodeTask("bouncer", worst=-3000.0, episodes=10),
    "swingup": EpisodeTask("swingup", worst=-2000.0, episodes=10),
    "reacher": EpisodeTask("reacher", worst=-1000.0, episodes=10),
}
TEXT = ("stories", "gsm8k", "recorded")
TASKS = (*TEXT, *CONTROL)

__all__ = ["CONTROL", "TASKS", "TEXT", "BadInput", "EpisodeTask", "GradedAnswer", "Problem", "TextTask", "make_task"]


def make_task(
    name: str, *, data: Path | None = None, split: str = "test", tape: Path | None = None
) -> TextTask | EpisodeTask:
    """The task of this name.

    data: the file that gsm8k reads. split: of tasks that have splits. tape: of recorded trees.
    Errors: BadInput for an unknown name.
    """
    if name == "stories":
        return Stories(split)
    if name == "gsm8k":
        return Gsm8k(data, split)
    if name == "recorded":
        return RecordedTrees(tape)
    if name in CONTROL:
        return CONTROL[name]
    raise BadInput(f"no task {name!r}; there are {', '.join(TASKS)}")
