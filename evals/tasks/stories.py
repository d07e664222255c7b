"""The built-in word problems: 400 held-out stories of 2 to 5 steps, each group of 100 half with a distractor."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from ...llm.builtin.stories import held_out
from .base import BadInput, Grade, Problem, spread
from .numeric import graded

SPLITS = {"test": ("test", (2, 3, 4, 5)), "validation": ("validation", (2, 3, 4, 5)), "hard": ("test", (6, 7, 8))}


class Stories:
    """Stories grouped by the number of steps that their solution takes.

    split: test, validation (to choose settings on) or hard (6 to 8 steps).
    """

    name = "stories"
    kind: Literal["text"] = "text"
    group_name = "steps"

    def __init__(self, split: str = "test") -> None:
        if split not in SPLITS:
            raise BadInput(f"stories has no split {split!r}; there are {', '.join(SPLITS)}")
        self.split = split

    def problems(self, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The same stories whatever the seed, lengths in turn."""
        return spread(self._all, limit)

    @cached_property
    def _all(self) -> list[Problem]:
        source, lengths = SPLITS[self.split]
        return [
            Problem(f"{self.split}-{i}", story.question, str(story.answer), str(story.length))
            for i, story in enumerate(held_out(source, lengths=lengths))
        ]

    def grade(self, problem: Problem, text: str | None) -> Grade:
        """Right where the number after `####` is the story's answer."""
        return graded(text, problem.answer)
