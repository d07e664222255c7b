"""The tasks of `forethought eval`, by name.

- `base.py`: `TextTask`, `EpisodeTask`, `Problem`, `GradedAnswer`, their checks, and reading of JSON lines.
- `gsm8k.py`: GSM8K from a file or from the Hugging Face hub.
- `stories.py`: the built-in word problems.
- `recorded.py`: the problems of an imported tape.
- `data_file.py`: questions and answers of a file, a task without code.
- `question.py`: one question of the user's, for `solve`.
- `environments.py`: gymnasium environments as tasks.
- `numeric.py`: grading of answers that are numbers.
- `graders.py`: grading of numbers, letters of a multiple choice, and texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import BadInput
from ..plugins import is_reference, load_object, made
from .base import EpisodeTask, GradedAnswer, Problem, TextTask
from .data_file import DataFile
from .graders import GRADERS
from .gsm8k import Gsm8k
from .recorded import RecordedTrees
from .stories import Stories

Task = TextTask | EpisodeTask


@dataclass(frozen=True)
class TaskSources:
    """Where problems come from: a file of questions, a split, a tape of recorded trees."""

    data: Path | None = None
    split: str = "test"
    tape: Path | None = None


@dataclass(frozen=True)
class TaskRow:
    """A task of this package: what it is in one line, its source, and what makes it."""

    kind: Literal["text", "control"]
    summary: str
    source: str
    make: Callable[[TaskSources], Task]


def _episodes(name: str, worst: float, episodes: int, summary: str, source: str) -> TaskRow:
    return TaskRow("control", summary, source, lambda _: EpisodeTask(name, worst, episodes))


TASKS = {
    "stories": TaskRow("text", "built-in word problems of 2 to 5 steps", "", lambda own: Stories(own.split)),
    "gsm8k": TaskRow("text", "grade-school word problems", "Cobbe et al. 2021", lambda own: Gsm8k(own.data, own.split)),
    "recorded": TaskRow("text", "the problems of an imported tape", "", lambda own: RecordedTrees(own.tape)),
    # Pendulum's cost is at most pi^2 + 0.1 * 8^2 + 0.001 * 2^2 a step over 200 steps.
    "pendulum": _episodes("pendulum", -3255.0, 20, "swing a pendulum up with a weak torque", "gymnasium Pendulum-v1"),
    "cartpole": _episodes("cartpole", 0.0, 5, "balance a pole on a cart with two pushes", "gymnasium CartPole-v1"),
    # The returns below have no lower bound; each figure is near that of full action in the wrong direction.
    "bouncer": _episodes("bouncer", -3000.0, 10, "steer a bouncing mass, with contacts", ""),
    "swingup": _episodes("swingup", -2000.0, 10, "swing up a pole on a cart", ""),
    "reacher": _episodes("reacher", -1000.0, 10, "reach a target with a two-link arm", ""),
}
"""Adding a task: a file with its class, and a row here."""

CONTROL = tuple(name for name, row in TASKS.items() if row.kind == "control")
TEXT = tuple(name for name, row in TASKS.items() if row.kind == "text")

__all__ = [
    "CONTROL", "GRADERS", "TASKS", "TEXT", "EpisodeTask", "GradedAnswer", "Problem", "Task", "TaskRow",
    "TextTask", "kind_of_task", "make_task", "task_name",
]  # fmt: skip


def make_task(
    name: str | None,
    *,
    data: Path | None = None,
    grade: str | None = None,
    split: str = "test",
    tape: Path | None = None,
) -> Task:
    """The task of this name.

    name: one of `TASKS`; `FILE.py:Name` or `module:Name` of a `TextTask` or an environment; an environment's gymnasium
        id; None for the questions in `data`, graded by `grade`.
    data: a file of questions, for gsm8k and for None. grade: one of `GRADERS`, for None. split: of tasks that have
    splits. tape: of recorded trees.

    Errors: BadInput for an unknown name, an object that is no task, and data or a grade where they have no use.
    """
    if name is None:
        if data is None or grade is None:
            raise BadInput("name a task, or questions with --data FILE and --grade NAME")
        return DataFile(data, grade)
    if grade is not None:
        raise BadInput(f"--grade is for --data without a task; {name} grades by itself")
    if data is not None and name != "gsm8k":
        raise BadInput(f"--data is for gsm8k and for --grade; {name} has its own problems")
    if name in TASKS:
        return TASKS[name].make(TaskSources(data, split, tape))
    return _task_in_file(name) if is_reference(name) else _environment(name)


def kind_of_task(name: str | None) -> Literal["text", "control"]:
    """Whether a task is over text or an environment. Errors: BadInput for an unknown name and for what is no task."""
    if name is None:
        return "text"
    return TASKS[name].kind if name in TASKS else make_task(name).kind


def task_name(name: str | None, data: Path | None = None) -> str:
    """What a task is called in reports and folders. Errors: BadInput for an object that is no task."""
    if name is None:
        return data.stem if data is not None else "data"
    return make_task(name).name if is_reference(name) else name.rpartition(":")[2].replace("/", "-")


def _task_in_file(text: str) -> Task:
    value: Any = load_object(text)
    if isinstance(value, type) and issubclass(value, TextTask):
        return _checked(made(value, text), text)
    if isinstance(value, TextTask):
        return _checked(value, text)
    bases = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in getattr(value, "__mro__", ())}
    if "gymnasium.Env" in bases:
        return _environment(text)
    if isinstance(value, type):
        raise BadInput(
            f"{text} is no task: a task inherits from TextTask and has name, problems and grade; an environment "
            "inherits from gymnasium.Env"
        )
    found = made(value, text)
    return _checked(found, text) if isinstance(found, TextTask) else _environment(text)


def _checked(task: TextTask, text: str) -> TextTask:
    """The task, whose name must be usable as the name of a folder."""
    if not isinstance(task.name, str) or not re.fullmatch(r"[\w][\w .-]*", task.name):
        raise BadInput(f"{text}: the name of a task is letters, digits, blanks, dots and dashes, got {task.name!r}")
    return task


def _environment(text: str) -> EpisodeTask:
    from .environments import episode_task  # imports gymnasium, which text tasks do not need

    try:
        return episode_task(text)
    except BadInput as error:
        if is_reference(text):
            raise
        told = f"no task {text!r}; there are {', '.join(TASKS)}, FILE.py:Name, and the ids of gymnasium's environments"
        raise BadInput(f"{told} ({error})" if ":" in text else told) from error
