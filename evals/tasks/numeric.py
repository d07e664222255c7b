"""Grading of answers that are numbers, by the rule of `llm/text/answers.py`."""

from __future__ import annotations

from ...llm.text.answers import check_answer, extract_answer
from .base import GradedAnswer


def number_of(text: str) -> str | None:
    """The answer that a text states, in its shortest notation; None where there is none."""
    answer = extract_answer(text)
    return None if answer is None else str(answer)


def grade_numeric(text: str | None, reference: str) -> GradedAnswer:
    """The grade of a solution; a `text` of None is no answer."""
    if not text:
        return GradedAnswer(None, False, False)
    found = check_answer(text, reference)
    return GradedAnswer(None if found.answer is None else str(found.answer), found.correct, found.format_ok)
