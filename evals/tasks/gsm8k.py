"""GSM8K: grade-school word problems (Cobbe et al. 2021), from a file in its format or from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...llm.text.markers import MARK
from ..errors import BadInput
from .base import GradedAnswer, Problem, TextTask, read_json_lines
from .numeric import grade_numeric, is_gold

HUB = "openai/gsm8k"


class Gsm8k(TextTask):
    """Questions with a numeric answer after `####`.

    data: a JSON-lines file with `question` and `answer`; None loads `openai/gsm8k` with the datasets library.
    """

    name = "gsm8k"
    answers = "number"

    def __init__(self, data: Path | None = None, split: str = "test") -> None:
        self.data, self.split = data, split
        self._rows: list[dict[str, Any]] | None = None

    def problems(self, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The first `limit` questions in the order of the file."""
        if self._rows is None:
            self._rows = read_json_lines(self.data, ("question", "answer")) if self.data else _from_hub(self.split)
        rows = self._rows[:limit]
        where = self.data or HUB
        return [
            Problem(
                f"{self.split if self.data is None else self.data.stem}-{i}",
                row["question"],
                _reference_answer(row, where, i),
            )
            for i, row in enumerate(rows)
        ]

    def grade(self, problem: Problem, text: str | None) -> GradedAnswer:
        """Correct where the number after `####`, or else the last number, equals the answer."""
        return grade_numeric(text, problem.answer)


def _reference_answer(row: dict[str, Any], where: Path | str, index: int) -> str:
    """The reference answer: the text after the last `####`. Errors: BadInput where it holds no number."""
    number: str = row["answer"].rsplit(MARK, 1)[-1].strip()
    if not is_gold(number):
        raise BadInput(
            f"{where}, problem {index + 1}: the answer has no number after {MARK}, found {number[:60]!r}; "
            "gsm8k grades numeric answers only"
        )
    return number


def _from_hub(split: str) -> list[dict[str, Any]]:
    try:
        from datasets import load_dataset
    except ImportError:
        raise BadInput("gsm8k from the hub needs the datasets library: pip install datasets") from None
    try:
        return list(load_dataset(HUB, "main", split=split))
    except Exception as error:
        raise BadInput(f"cannot load {HUB} ({error}); pass a file in its format with --data FILE.jsonl") from None
