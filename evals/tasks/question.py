"""A question of the user's, whose answer is not known: a task with one problem that grades nothing."""

from __future__ import annotations

from ...llm.text.answers import read_answer
from .base import GradedAnswer, Problem, TextTask


class Question(TextTask):
    """One question. The answer read from a solution is its number or formula, else its last line."""

    name = "question"
    answers = "number"

    def __init__(self, question: str) -> None:
        self.question = question

    def problems(self, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The question, for every seed."""
        return [Problem("question", self.question, "")]

    def grade(self, problem: Problem, text: str | None) -> GradedAnswer:
        """The answer that a solution gives; `correct` is False, since the correct one is not known."""
        if not text or not text.strip():
            return GradedAnswer(None, False, False)
        found = read_answer(text)
        return GradedAnswer(found.key if found else text.strip().splitlines()[-1], False, found is not None)
