"""A task without code: questions and answers of a JSON-lines file, graded as `--grade` says."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from ...llm.text.markers import MARK
from ..errors import BadInput
from .base import GradedAnswer, Problem, TextTask, read_json_lines
from .graders import GRADERS


class DataFile(TextTask):
    """The lines of a file with the fields `question` and `answer`, which is what stands after its last `####`.

    name: of the file, without its ending. grade: a name in `GRADERS`.
    Errors: BadInput for an unknown grade; from `problems`, for a line that is wrong, naming it.
    """

    def __init__(self, data: Path, grade: str) -> None:
        if grade not in GRADERS:
            raise BadInput(f"no grade {grade!r}; there are {', '.join(GRADERS)}")
        self.data, self.name, self.grader = data, data.stem, GRADERS[grade]
        self.answers = self.grader.answers

    def problems(self, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The first `limit` questions in the order of the file."""
        return self._all[:limit]

    @cached_property
    def _all(self) -> list[Problem]:
        rows = read_json_lines(self.data, ("question", "answer"))
        return [
            Problem(f"{self.name}-{i}", row["question"], self._gold(row["answer"], i)) for i, row in enumerate(rows)
        ]

    def _gold(self, answer: str, index: int) -> str:
        try:
            return self.grader.gold(answer.rsplit(MARK, 1)[-1].strip())
        except ValueError as error:
            raise BadInput(f"{self.data}, problem {index + 1}: {error}") from None

    def grade(self, problem: Problem, text: str | None) -> GradedAnswer:
        """The grade of the grader."""
        return self.grader.grade(text, problem)
