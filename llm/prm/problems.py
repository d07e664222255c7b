"""Problems to train on: a question, the grading of its answer, and a checker of its solution lines if there is one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..builtin.checker import check_lines, final_answer
from ..builtin.schedule import draw_length
from ..builtin.stories import Story, generate, held_out

STORIES_SEED = 0x50524D
"""Added to the seed, so that the stories differ from those that the policy was trained on."""

ProblemSource = Callable[[int], "PolicyProblem"]
"""The i-th problem to train on, for every i from 0 on."""


@dataclass(frozen=True)
class PolicyProblem:
    """A question with its grading.

    is_right: whether a solution's whole text ends in the right answer. check_lines: for each line whether it is right,
    given those before; None where only the answer can be checked. group: of a held-out problem, such as its length.
    story: the story behind the question, None for other tasks.
    """

    question: str
    is_right: Callable[[str], bool]
    check_lines: Callable[[Sequence[str]], list[bool]] | None = None
    group: str = ""
    story: Story | None = None


def story_problem(story: Story) -> PolicyProblem:
    """A story with its exact checker."""
    return PolicyProblem(
        story.question,
        lambda text: final_answer(text) == story.answer,
        lambda lines: check_lines(story, lines),
        str(story.length),
        story,
    )


def story_source(seed: int = 0) -> ProblemSource:
    """Training stories that the policy was not trained on, mostly of 2 to 5 steps, nearly half with a distractor."""

    def draw(index: int) -> PolicyProblem:
        rng = random.Random(f"{seed}/prm/{index}")
        return story_problem(generate(STORIES_SEED + seed, index, draw_length(None, rng), rng.random() < 0.45))

    return draw


def held_out_stories(count: int, split: str = "test") -> list[PolicyProblem]:
    """About `count` of the fixed held-out stories, the same number of each of the four lengths, at least one."""
    return [story_problem(story) for story in held_out(split, max(1, count // 4))]


def repeating_source(problems: Sequence[PolicyProblem], seed: int = 0) -> ProblemSource:
    """A list as an endless source: all of it in a random order, then again in another order."""
    if not problems:
        raise ValueError("there are no problems to train on")

    def draw(index: int) -> PolicyProblem:
        epoch, position = divmod(index, len(problems))
        order = random.Random(f"{seed}/order/{epoch}").sample(range(len(problems)), len(problems))
        return problems[order[position]]

    return draw
