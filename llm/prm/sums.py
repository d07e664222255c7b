"""Plain sums beside a story's lessons: slips of arithmetic are what a small judge misses most."""

from __future__ import annotations

import random

from ..embedded.corrupt import slipped
from ..embedded.data import Tree, Words
from ..embedded.exercises import drawn_sum
from ..embedded.scenes import SCENES


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
