"""What a task is: problems to solve and a rule that grades answers, independent of models, planners and run files."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ...planning.fingerprint import fingerprint


class BadInput(ValueError):
    """The user asked for something that cannot be done; the message says what, without a traceback."""


class RunStopped(RuntimeError):
    """A run ended early for the reason in the message; the same call continues it."""


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


class TextTask(Protocol):
    """Questions that are answered by text.

    group_name: the meaning of `Problem.group`, empty where there are no groups.
    """

    name: str
    kind: Literal["text"]
    group_name: str

    def problems(self, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The first `limit` problems, spread evenly over the groups; all where `limit` is None."""
        ...

    def grade(self, problem: Problem, text: str | None) -> GradedAnswer:
        """Grade a finished solution; `text` is None where there is no solution."""
        ...


@dataclass(frozen=True)
class EpisodeTask:
    """Episodes of the control task of this name in `control.tasks`; a problem is the seed of an episode.

    worst: the return assigned to an episode that failed. episodes: how many there are where no limit is given.
    """

    name: str
    worst: float
    episodes: int
    kind: Literal["control"] = "control"
    group_name: str = ""

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
    if not isinstance(row, dict):
        raise BadInput(f"{where}: expected an object with {' and '.join(required)}, found {type(row).__name__}")
    for name in required:
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise BadInput(f"{where}: needs {name!r} as non-empty text, found {row.get(name)!r}")
        if any("\ud800" <= letter <= "\udfff" for letter in row[name]):
            raise BadInput(f"{where}: {name!r} holds half a surrogate pair, which is not a character")
    return row
