"""Solutions with wrong lines in them, and problems to judge them by."""

from __future__ import annotations

import random

from forethought.llm.builtin.checker import final_answer
from forethought.llm.builtin.corruptions import corrupt_step
from forethought.llm.builtin.stories import held_out
from forethought.llm.prm.problems import PolicyProblem
from forethought.llm.prm.samplers import Solution

STORIES = held_out("validation", 3)


def solution_of(story, seed=0):
    """The story's solution with a wrong line for about one in three of its lines."""
    rng, lines = random.Random(seed), []
    for i, line in enumerate(story.steps):
        wrong = corrupt_step(story, i, rng) if rng.random() < 0.35 else None
        lines.append(wrong or line)
    return Solution(story.question, "\n".join(lines) + "\n", tuple(lines), True)


def seven(question="Why?"):
    return PolicyProblem(question, lambda text: final_answer(text) == 7)
