"""The built-in word problems: 400 held-out stories of 2 to 5 steps, half of each length with a distractor."""

from __future__ import annotations

from functools import cached_property

from ...llm.builtin.stories import held_out
from ..errors import BadInput
from .base import GradedAnswer, Problem, TextTask, interleave_groups
from .numeric import grade_numeric

SPLITS = {"test": ("test", (2, 3, 4, 5)), "validation": ("validation", (2, 3, 4, 5)), "hard": ("test", (6, 7, 8))}


class Stories(TextTask):
    """Stories grouped by the number of steps in their solution.

    split: test, validation (for choosing settings) or hard (6 to 8 steps).
    """

    name = "stories"
    answers = "number"
    group_name = "steps"

    def __init__(self, split: str = "test") -> None:
        if split not in SPLITS:
            raise BadInput(f"stories has no split {split!r}; there are {', '.join(SPLITS)}")
        self.split = split

    def problems(self, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The same stories for every seed, with the lengths in rotation."""
        return interleave_groups(self._all, limit)

    @cached_property
    def _all(self) -> list[Problem]:
        source, lengths = SPLITS[self.split]
        return [
            Problem(f"{self.split}-{i}", story.question, str(story.answer), str(story.length))
            for i, story in enumerate(held_out(source, lengths=lengths))
        ]

    def grade(self, problem: Problem, text: str | None) -> GradedAnswer:
        """Correct where the number after `####` is the story's answer."""
        return grade_numeric(text, problem.answer)
