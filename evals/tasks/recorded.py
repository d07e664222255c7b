"""The problems of an imported tape (`forethought import`), graded by the labels in its log."""

from __future__ import annotations

from pathlib import Path

from ...llm.importing.import_trees import RIGHT, WRONG
from ...llm.tape.sqlite import TapeFile
from ..errors import BadInput
from .base import GradedAnswer, Problem, TextTask
from .numeric import number_of


class RecordedTrees(TextTask):
    """The questions on a tape. A solution is correct where the log says so; its answer is its number or its last line.

    tape: a file that `forethought import` wrote.
    """

    name = "recorded"

    def __init__(self, tape: Path | None) -> None:
        if tape is None:
            raise BadInput(
                "recorded needs a tape of imported trees: --engine replay --tape FILE; see forethought import --help"
            )
        try:
            file = TapeFile(tape, read_only=True)
            self._answers = file.problems()
            file.close()
        except ValueError as error:
            raise BadInput(str(error)) from error
        if not self._answers:
            raise BadInput(f"the tape {tape} was written by a model; recorded needs one made by forethought import")

    def problems(self, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The first `limit` problems in the order of the log."""
        return [Problem(f"tree-{i}", *item) for i, item in enumerate(self._answers.items())][:limit]

    def grade(self, problem: Problem, text: str | None) -> GradedAnswer:
        """Grade by the label in the log."""
        if not text:
            return GradedAnswer(None, False, False)
        words = text.replace(RIGHT, "").replace(WRONG, "").strip()
        return GradedAnswer(number_of(words) or words.splitlines()[-1], RIGHT in text, True)
