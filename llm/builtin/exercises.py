"""Small exercises beside a story's solution: its sentences said again, and plain sums, some of them judged."""

from __future__ import annotations

import random

from .corruptions import slipped
from .data import IGNORE, Tree, Words
from .relations import LIMIT
from .scenes import SCENES
from .stories import Story


def hang_copies(tree: Tree, story: Story, count: int, words: Words, rng: random.Random) -> None:
    """Sentences of the story said again from their first word on, whether or not they can be used yet."""
    start = tree.grow(-1, words.encode(story.question + "\n"))
    for relation in rng.sample(story.relations, min(count, len(story.relations))):
        tokens = words.encode(relation.words())
        node = tree.grow(start, tokens[:1])
        if tree.goals[node] == IGNORE:  # else a solution begins with that word
            tree.teach(node, tokens[1:])


def hang_drills(tree: Tree, count: int, words: Words, rng: random.Random, judged: float = 0.0) -> None:
    """Plain sums beside the story, seeing nothing of it: arithmetic is what lines teach most slowly, and a sum alone
    costs a tenth of a line with its question. judged: the share that the critique is asked about, right and wrong."""
    for _ in range(count):
        scene = rng.choice(SCENES)
        given, result = drawn_sum(rng)
        first, rest = given.split(" ", 1)
        name, target = rng.sample(scene.names, 2)
        node = tree.grow(-1, words.encode(f": {name} {scene.verb} {first} {rest} ="))
        right = words.encode(f" {result}")
        said = words.encode(f" so {target}")[:1]  # a number ends before the next word
        end = tree.teach(node, [*right, *said])
        if rng.random() < judged:
            told = words.encode(f" so {target} {scene.verb} {result}\n")[1:]
            tree.ask(tree.judge(end, told, len(told)), words, True)
            wrong = slipped(result, rng)
            slip = words.encode(f" {wrong} so {target} {scene.verb} {wrong}\n")
            tree.ask(tree.stray(node, slip, right), words, False)


def drawn_sum(rng: random.Random) -> tuple[str, int]:
    """A sum such as lines hold, and its result, at most `LIMIT`."""
    kind = rng.choices("+-*/", (0.42, 0.3, 0.2, 0.08))[0]
    if kind in "+-":
        whole = rng.randint(2, LIMIT)
        part = rng.randint(1, whole - 1)
        return (f"{part} + {whole - part}", whole) if kind == "+" else (f"{whole} - {part}", whole - part)
    factor = rng.randint(2, 12)
    other = rng.randint(2, LIMIT // factor)
    return (f"{other} * {factor}", other * factor) if kind == "*" else (f"{other * factor} / {factor}", other)
