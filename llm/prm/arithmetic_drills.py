"""Sums beside a story's lessons, plain and in place: slips of arithmetic are what a small judge misses most."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

from ..builtin.checker import check_lines
from ..builtin.corruptions import slip_in, slipped
from ..builtin.data import Tree, Words
from ..builtin.exercises import drawn_sum
from ..builtin.scenes import SCENES
from .problems import Problem
from .samplers import Solution


def hang_sums(tree: Tree, count: int, words: Words, rng: random.Random) -> None:
    """Grow sums that see nothing of the story: the right result, to be written and judged sound, and a wrong one beside
    it, sound up to the digit that differs."""
    for _ in range(count):
        given, result = drawn_sum(rng)
        scene = rng.choice(SCENES)
        name, target = rng.sample(scene.names, 2)
        first, rest = given.split(" ", 1)
        head, tail = f": {name} {scene.verb} {first} {rest} =", f" so {target}"
        # without its last token, which alone tells that the number before has ended
        right, wrong = (words.encode(f"{head} {number}{tail}")[:-1] for number in (result, slipped(result, rng)))
        cut = right.index(words.equals) + 1
        node = tree.grow(-1, right[:cut])
        tree.teach(node, right[cut:])
        tree.stray(node, wrong[cut:], right[cut:])


def slips_of(
    problem: Problem, solution: Solution, chance: float, rng: random.Random
) -> Iterator[tuple[Solution, str]]:  # fmt: skip
    """With that chance for each right line after right ones: the solution with another result there, and the line."""
    right = takewhile(bool, check_lines(problem.story, solution.lines))
    for i, _ in enumerate(right):
        line = solution.lines[i]
        slip = slip_in(line, rng) if " = " in line and rng.random() < chance else ""
        if slip not in ("", line):
            yield replace(solution, lines=(*solution.lines[:i], slip), ended=False), line


def teach_result(tree: Tree, slip: Solution, line: str, words: Words) -> None:
    """The right line's result, and the word that ends it, are to be written where the slip has its own."""
    before = "".join(f"{each}\n" for each in slip.lines[:-1])
    node, tokens = tree.grow(-1, words.encode(f"{slip.question}\n{before}")), words.encode(f"{line}\n")
    cut = tokens.index(words.equals) + 1
    size = len(words.encode(" " + line.split(" = ")[1].split(" ")[0]))
    tree.teach(tree.grow(node, tokens[:cut]), tokens[cut : cut + size + 1])
