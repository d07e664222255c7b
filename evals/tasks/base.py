"""What a task is: problems to solve and a rule that grades answers, independent of models, planners and run files."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...planning.fingerprint import fingerprint
from ..errors import BadInput
from ..plugins import described


@dataclass(frozen=True)
class Problem:
    """A question with its known answer; `group` assigns it to a row of the breakdown, such as its length."""

    id: str
    question: str
    answer: str
    group: str = ""


@dataclass(frozen=True)
class GradedAnswer:
    """An extracted answer, whether it is correct, and (`format_ok`) whether it stood where the task requires it."""

    answer: str | None
    correct: bool
    format_ok: bool


class TextTask(ABC):
    """Questions that are answered by text. A task of one's own needs a `name`, `problems` and `grade`.

    name: in tables, and of the folder of its runs; by default that of the class. group_name: the meaning of
    `Problem.group`, empty where there are no groups. answers: what stands after `####` where a solution ends: a
    "number", the "letter" of an option, or any "text".
    """

    name: str = ""
    kind: ClassVar[Literal["text"]] = "text"
    answers: Literal["number", "letter", "text"] = "text"
    group_name: str = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.name:
            cls.name = cls.__name__

    @abstractmethod
    def problems(self, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The first `limit` problems, spread evenly over the groups; all where `limit` is None."""

    @abstractmethod
    def grade(self, problem: Problem, text: str | None) -> GradedAnswer:
        """Grade a finished solution; `text` is None where there is no solution."""


def checked_problems(task: TextTask, limit: int | None, seed: int) -> list[Problem]:
    """The first `limit` problems of a task, after a look at what it returns.

    Errors: BadInput where `problems` fails, returns none or something else, or repeats an id, and where `grade` fails
    or returns no `GradedAnswer` for an empty solution.
    """
    try:
        problems = list(task.problems(limit, seed))[:limit]
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"the problems of {task.name} cannot be made: {described(error)}") from error
    wrong = next((one for one in problems if not isinstance(one, Problem)), None)
    if wrong is not None or not problems:
        raise BadInput(f"{task.name}.problems returned {'no problems' if not problems else f'{wrong!r}, no Problem'}")
    ids = [problem.id for problem in problems]
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise BadInput(f"two problems of {task.name} have the id {twice!r}")
    try:
        graded(task, problems[0], None)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{task.name}.grade failed for an empty solution (None): {described(error)}") from error
    return problems


def graded(task: TextTask, problem: Problem, text: str | None) -> GradedAnswer:
    """The task's grade. Errors: BadInput where it is no `GradedAnswer`; those that `grade` raises."""
    grade = task.grade(problem, text)
    if not isinstance(grade, GradedAnswer):
        raise BadInput(f"{task.name}.grade returned {grade!r} for problem {problem.id}, and not a GradedAnswer")
    return grade


@dataclass(frozen=True)
class EpisodeTask:
    """Episodes of a control task; a problem is the seed of an episode.

    name: of the task in `control.tasks`, or what the environment `env_id` is called.
    worst: the return assigned to an episode that failed; where it is not known, None, a failure ends the run.
    episodes: how many there are where no limit is given. env_id: gymnasium's id where `control.tasks` has no such task.
    """

    name: str
    worst: float | None
    episodes: int
    kind: Literal["control"] = "control"
    group_name: str = ""
    env_id: str = ""

    def problems(self, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """One problem for each seed from `seed` on."""
        return [Problem(str(seed + i), "", "") for i in range(self.episodes if limit is None else limit)]


def problems_fingerprint(problems: Sequence[Problem]) -> str:
    """A hash of questions and answers, which prevents rows of different data from being written to one file."""
    return fingerprint((f"{problem.id}\0{problem.question}\0{problem.answer}\0" for problem in problems), "blake2b")


def interleave_groups(problems: Sequence[Problem], limit: int | None) -> list[Problem]:
    """Problems of all groups in rotation, so that the first `limit` of them hold each group equally often."""
    counts: dict[str, int] = {}
    ranked = []
    for index, problem in enumerate(problems):
        ranked.append((counts.setdefault(problem.group, 0), index, problem))
        counts[problem.group] += 1
    return [problem for _, _, problem in sorted(ranked, key=lambda entry: entry[:2])][:limit]


def read_json_lines(path: Path, required: Sequence[str]) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file, each with the required text fields. Errors: BadInput naming file and line."""
    if not path.is_file():
        raise BadInput(f"no data file {path}")
    rows = []
    # `splitlines` would also split at the Unicode line separators that JSON allows inside strings
    for number, line in enumerate(path.read_bytes().removeprefix(BOM_UTF8).split(b"\n"), 1):
        if line.strip():
            rows.append(_read_line(line, f"{path}, line {number}", required))
    if not rows:
        raise BadInput(f"{path} holds no problems")
    return rows


def _read_line(line: bytes, where: str, required: Sequence[str]) -> dict[str, Any]:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: not UTF-8 ({error.reason} at byte {error.start + 1})") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of too many digits
        raise BadInput(f"{where}: not JSON that can be read ({error})") from None
    if not isinstance(row, dict):
        raise BadInput(f"{where}: expected an object with {' and '.join(required)}, found {type(row).__name__}")
    for name in required:
        if isinstance(row.get(name), int | float) and not isinstance(row[name], bool):
            row[name] = str(row[name])
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise BadInput(f"{where}: needs {name!r} as non-empty text, found {row.get(name)!r}")
        if any("\ud800" <= letter <= "\udfff" for letter in row[name]):
            raise BadInput(f"{where}: {name!r} holds half a surrogate pair, which is not a character")
    return row
