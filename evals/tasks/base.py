"""What a task is: problems to solve and a rule that grades answers. Knows no model, no planner and no file of a run."""

from __future__ import annotations

import hashlib
import json
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol


class BadInput(ValueError):
    """The user asked for something that cannot be done; its text is all he needs to see."""


class Stopped(RuntimeError):
    """A run ended before it was through, for a reason that its text tells; the same call goes on from there."""


@dataclass(frozen=True)
class Problem:
    """A question with its known answer; `group` sorts problems in the breakdown, such as by length."""

    id: str
    question: str
    answer: str
    group: str = ""


@dataclass(frozen=True)
class Grade:
    """What an answer is worth: `format_ok` says whether it was where the task wants it."""

    answer: str | None
    correct: bool
    format_ok: bool


class TextTask(Protocol):
    """Questions in words.

    group_name: what `Problem.group` means, empty where there are no groups.
    """

    name: str
    kind: Literal["text"]
    group_name: str

    def problems(self, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The first `limit` problems, spread evenly over the groups."""
        ...

    def grade(self, problem: Problem, text: str | None) -> Grade:
        """Grade a finished solution; None where there is none."""
        ...


@dataclass(frozen=True)
class ControlTask:
    """Episodes of the environment that `control.tasks` knows by this name; a problem is the seed of an episode.

    worst: the return given to an episode that failed, the lowest there is. episodes: how many without a limit.
    """

    name: str
    worst: float
    episodes: int
    kind: Literal["control"] = "control"
    group_name: str = ""

    def problems(self, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """Seeds `seed`, `seed` + 1 and so on."""
        return [Problem(str(seed + i), "", "") for i in range(self.episodes if limit is None else limit)]


def fingerprint(problems: Sequence[Problem]) -> str:
    """A hash of questions and answers, so that rows of different data never end up in one file."""
    digest = hashlib.blake2b(digest_size=8)
    for problem in problems:
        digest.update(f"{problem.id}\0{problem.question}\0{problem.answer}\0".encode())
    return digest.hexdigest()


def spread(problems: Sequence[Problem], limit: int | None) -> list[Problem]:
    """Problems of all groups in turn, so that any first `limit` of them hold each group alike."""
    seen: dict[str, int] = {}
    turns = []
    for place, problem in enumerate(problems):
        turns.append((seen.setdefault(problem.group, 0), place, problem))
        seen[problem.group] += 1
    return [problem for _, _, problem in sorted(turns, key=lambda turn: turn[:2])][:limit]


def read_lines(path: Path, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file, each with the wanted fields as text; errors name the file and the line."""
    if not path.is_file():
        raise BadInput(f"no data file {path}")
    rows = []
    # not `splitlines`, which also cuts at the line separators that JSON allows within a text
    for number, line in enumerate(path.read_bytes().removeprefix(BOM_UTF8).split(b"\n"), 1):
        if line.strip():
            rows.append(_read_line(line, f"{path}, line {number}", wanted))
    if not rows:
        raise BadInput(f"{path} holds no problems")
    return rows


def _read_line(line: bytes, where: str, wanted: Sequence[str]) -> dict[str, Any]:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: not UTF-8 ({error.reason} at byte {error.start + 1})") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(row, dict):
        raise BadInput(f"{where}: expected an object with {' and '.join(wanted)}, found {type(row).__name__}")
    for name in wanted:
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise BadInput(f"{where}: needs {name!r} as non-empty text, found {row.get(name)!r}")
        if any("\ud800" <= letter <= "\udfff" for letter in row[name]):
            raise BadInput(f"{where}: {name!r} holds half a surrogate pair, which is no character")
    return row
