"""Arithmetic as further examples for the reward model, whose most frequent misses are wrong results.

Formulas on their own, and copies of the policy's right lines with wrong results.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

from ..builtin.checker import check_lines
from ..builtin.corruptions import corrupt_result, wrong_result
from ..builtin.data import StoryTree, StoryVocabulary
from ..builtin.exercises import draw_formula
from ..builtin.scenes import SCENES
from ..builtin.stories import Story
from .samplers import Solution


def attach_drills(tree: StoryTree, count: int, vocab: StoryVocabulary, rng: random.Random) -> None:
    """Add formulas as roots of their own, which see nothing of the story.

    Each has its right result, as target tokens labelled valid, and a wrong result, valid up to the digit that differs.
    """
    for _ in range(count):
        formula, result = draw_formula(rng)
        scene = rng.choice(SCENES)
        name, target = rng.sample(scene.names, 2)
        first, rest = formula.split(" ", 1)
        head, tail = f": {name} {scene.verb} {first} {rest} =", f" so {target}"
        # The last token is left out: " so" is enough to show that the number before it has ended.
        right, wrong = (vocab.encode(f"{head} {number}{tail}")[:-1] for number in (result, wrong_result(result, rng)))
        cut = right.index(vocab.equals) + 1
        node = tree.add_path(-1, right[:cut])
        tree.add_targets(node, right[cut:])
        tree.add_wrong(node, wrong[cut:], right[cut:])


def corrupted_solutions(
    story: Story, solution: Solution, probability: float, rng: random.Random
) -> Iterator[tuple[Solution, str]]:
    """For each right line after right lines, with the given probability: the solution up to it with a wrong result
    there.

    Yields the corrupted solution and the right line.
    """
    right = takewhile(bool, check_lines(story, solution.lines))
    for i, _ in enumerate(right):
        line = solution.lines[i]
        corrupted = corrupt_result(line, rng) if " = " in line and rng.random() < probability else ""
        if corrupted not in ("", line):
            yield replace(solution, lines=(*solution.lines[:i], corrupted), ended=False), line


def add_right_result(tree: StoryTree, corrupted: Solution, line: str, vocab: StoryVocabulary) -> None:
    """Add the right line's result, and the token after it, as targets where the corrupted solution has a wrong one."""
    before = "".join(f"{each}\n" for each in corrupted.lines[:-1])
    node, tokens = tree.add_path(-1, vocab.encode(f"{corrupted.question}\n{before}")), vocab.encode(f"{line}\n")
    cut = tokens.index(vocab.equals) + 1
    size = len(vocab.encode(" " + line.split(" = ")[1].split(" ")[0]))
    tree.add_targets(tree.add_path(node, tokens[:cut]), tokens[cut : cut + size + 1])
