"""Grading of answers that are numbers; the rule is `llm.answers`'."""

from __future__ import annotations

from ...llm.text.answers import check_answer, extract_answer
from .base import Grade


def number_of(text: str) -> str | None:
    """The number a text tells, written shortest, None where there is none."""
    answer = extract_answer(text)
    return None if answer is None else str(answer)


def graded(text: str | None, gold: str) -> Grade:
    """The grade of a solution; None for the text is no answer."""
    if not text:
        return Grade(None, False, False)
    found = check_answer(text, gold)
    return Grade(None if found.answer is None else str(found.answer), found.correct, found.format_ok)
