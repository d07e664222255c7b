"""Further training examples beside a story's solution: copies of its sentences, and arithmetic drills."""

from __future__ import annotations

import random

from .corruptions import wrong_result
from .data import IGNORE, StoryTree, StoryVocabulary
from .relations import LIMIT
from .scenes import SCENES
from .stories import Story


def attach_copies(tree: StoryTree, story: Story, count: int, vocab: StoryVocabulary, rng: random.Random) -> None:
    """Train sentences of the story after its question, each from its first word, whether or not it is usable yet."""
    start = tree.add_path(-1, vocab.encode(story.question + "\n"))
    for relation in rng.sample(story.relations, min(count, len(story.relations))):
        tokens = vocab.encode(relation.sentence())
        node = tree.add_path(start, tokens[:1])
        if tree.targets[node] == IGNORE:  # otherwise a solution begins with that word
            tree.add_targets(node, tokens[1:])


def attach_drills(tree: StoryTree, count: int, vocab: StoryVocabulary, rng: random.Random, judged: float = 0.0) -> None:
    """Train plain arithmetic formulas as roots of their own, which see nothing of the story.

    Arithmetic is what solution lines teach most slowly, and a formula alone costs a tenth of a line with its question.
    judged: the share of formulas that get verdicts, one on the right result and one on a wrong result.
    """
    for _ in range(count):
        scene = rng.choice(SCENES)
        formula, result = draw_formula(rng)
        first, rest = formula.split(" ", 1)
        name, target = rng.sample(scene.names, 2)
        node = tree.add_path(-1, vocab.encode(f": {name} {scene.verb} {first} {rest} ="))
        right = vocab.encode(f" {result}")
        next_word = vocab.encode(f" so {target}")[:1]  # shows that the number has ended
        end = tree.add_targets(node, [*right, *next_word])
        if rng.random() < judged:
            conclusion = vocab.encode(f" so {target} {scene.verb} {result}\n")[1:]
            tree.add_verdict(tree.add_validity(end, conclusion, len(conclusion)), vocab, True)
            wrong = wrong_result(result, rng)
            wrong_line = vocab.encode(f" {wrong} so {target} {scene.verb} {wrong}\n")
            tree.add_verdict(tree.add_wrong(node, wrong_line, right), vocab, False)


def draw_formula(rng: random.Random) -> tuple[str, int]:
    """A random formula such as solution lines have, and its result, at most `LIMIT`."""
    kind = rng.choices("+-*/", (0.42, 0.3, 0.2, 0.08))[0]
    if kind in "+-":
        whole = rng.randint(2, LIMIT)
        part = rng.randint(1, whole - 1)
        return (f"{part} + {whole - part}", whole) if kind == "+" else (f"{whole} - {part}", whole - part)
    factor = rng.randint(2, 12)
    other = rng.randint(2, LIMIT // factor)
    return (f"{other} * {factor}", other * factor) if kind == "*" else (f"{other * factor} / {factor}", other)
