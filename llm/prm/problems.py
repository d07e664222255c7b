"""Problems to learn from: a question, its grader, and the checker of its steps where there is one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..builtin.checker import check_lines, final_answer
from ..builtin.schedule import draw_length
from ..builtin.stories import Story, generate, held_out

STORIES_SEED = 0x50524D
"""Parts the stories of this training from those that the policy learned from."""

Source = Callable[[int], "Problem"]
"""The i-th problem to train on, i from 0 on without end."""


@dataclass(frozen=True)
class Problem:
    """A question with its grader.

    right: whether a solution's whole text ends in the right answer. check: for each line whether it is right, given
    those before; None where nothing but the answer can be checked. group: sorts held-out problems, such as by length.
    story: what the question was made from, for the stories' own lessons.
    """

    question: str
    right: Callable[[str], bool]
    check: Callable[[Sequence[str]], list[bool]] | None = None
    group: str = ""
    story: Any = None


def story_problem(story: Story) -> Problem:
    """A story with its exact checker."""
    return Problem(
        story.question,
        lambda text: final_answer(text) == story.answer,
        lambda lines: check_lines(story, lines),
        str(story.length),
        story,
    )


def stories(seed: int = 0) -> Source:
    """Training stories that no reasoner has seen, mostly of 2 to 5 steps, nearly half with a distractor."""

    def draw(index: int) -> Problem:
        rng = random.Random(f"{seed}/prm/{index}")
        return story_problem(generate(STORIES_SEED + seed, index, draw_length(None, rng), rng.random() < 0.45))

    return draw


def held_out_stories(count: int, split: str = "test") -> list[Problem]:
    """About so many of the fixed held-out stories, the four lengths alike; at least one of each."""
    return [story_problem(story) for story in held_out(split, max(1, count // 4))]


def repeated(problems: Sequence[Problem], seed: int = 0) -> Source:
    """A given list as a source: all of it in an order of the seed's, then again in another."""
    if not problems:
        raise ValueError("there are no problems to train on")

    def draw(index: int) -> Problem:
        turn, place = divmod(index, len(problems))
        order = random.Random(f"{seed}/order/{turn}").sample(range(len(problems)), len(problems))
        return problems[order[place]]

    return draw
