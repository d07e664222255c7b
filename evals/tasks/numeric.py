"""Grading of answers that are numbers, by the rule of `llm/text/answers.py`."""

from __future__ import annotations

from ...llm.text.answers import check_answer, extract_answer, gold_answer
from .base import GradedAnswer


def number_of(text: str) -> str | None:
    """The number that a text gives as its answer, in its shortest notation; None where there is none."""
    answer = extract_answer(text)
    return None if answer is None else str(answer)


def is_gold(text: str) -> bool:
    """Whether a gold answer is exactly one number, so that answers can be compared with it."""
    try:
        gold_answer(text)
    except ValueError:
        return False
    return True


def grade_numeric(text: str | None, reference: str) -> GradedAnswer:
    """The grade of a solution: correct where the number that it gives equals the reference exactly.

    text: the solution, None or "" where there is none. The number is read by `llm.read_answer`: after the last `####`,
    else after another marker, else the last one. reference: exactly one number.

    Errors: ValueError for a reference that is not one number.
    """
    if not text:
        return GradedAnswer(None, False, False)
    found = check_answer(text, reference)
    return GradedAnswer(found.key, found.correct, found.format_ok)
