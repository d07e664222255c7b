"""Training examples: trees of tokens that share one question, packed so that each token is run once.

A tree holds a question, its solution, and short branches: the critique's word after a line, wrong
lines, sampled solutions. Branches with a common beginning share its tokens. A token sees its
ancestors and nothing else, so the forward pass equals that of every branch on its own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .checker import check_lines, right_prefix
from .corrupt import carry_on, corrupt_step
from .relations import LIMIT
from .stories import Story, asking, split_of
from .tokenizer import CRITIQUE, NO, YES

IGNORE = -100


class Words:
    """The tokenizer with a memory: the lines of stories repeat their words over and over."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer: Any = tokenizer
        self.end, self.pad = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
        self.lengths = [len(tokenizer.decode([i])) for i in range(len(tokenizer))]
        self.critique, self.yes, self.no, self.equals = (self._single(w) for w in (CRITIQUE, YES, NO, " ="))

    def encode(self, text: str) -> list[int]:
        """The token ids of one text."""
        return list(self.tokenizer._tokenizer.encode(text, add_special_tokens=False).ids)

    def within(self, tokens: Sequence[int], characters: int) -> int:
        """How many of the first tokens lie within that many characters of their text."""
        ends = accumulate(self.lengths[token] for token in tokens)
        return sum(end <= characters for end in ends)

    def _single(self, word: str) -> int:
        (token,) = self.encode(word)
        return token


@dataclass
class Tree:
    """Tokens with parents. goals: the token to predict after each. sound: 1 where all is right up to and with
    this token, 0 where it is not; both IGNORE where nothing is taught."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    goals: list[int] = field(default_factory=list)
    sound: list[int] = field(default_factory=list)
    children: dict[tuple[int, int], int] = field(default_factory=dict)

    def grow(self, node: int, tokens: Sequence[int]) -> int:
        """Walk from the node along the tokens, adding what is missing; the last token's node."""
        for token in tokens:
            key = (node, token)
            child = self.children.get(key)
            if child is None:
                child = len(self.tokens)
                self.children[key] = child
                self.tokens.append(token)
                self.parents.append(node)
                self.goals.append(IGNORE)
                self.sound.append(IGNORE)
            node = child
        return node

    def teach(self, node: int, tokens: Sequence[int]) -> int:
        """Like `grow`, with each token to be predicted from the one before it; all of them are sound."""
        for token in tokens:
            self.goals[node] = token
            node = self.grow(node, [token])
            self.sound[node] = 1
        return node

    def judge(self, node: int, tokens: Sequence[int], sound: int) -> int:
        """Like `grow`, with the first `sound` tokens known to be sound and the others not to be."""
        for i, token in enumerate(tokens):
            node = self.grow(node, [token])
            self.sound[node] = int(i < sound)
        return node

    def ask(self, node: int, words: Words, right: bool) -> None:
        """Hang the critique's word on the node, to be answered with whether all lines so far are right."""
        self.goals[self.grow(node, [words.critique])] = words.yes if right else words.no


def gold_tree(
    story: Story, words: Words, rng: random.Random, wrong: float = 0.6, follow: float = 0.3, asks: int = 1
) -> Tree:
    """The story with its solution, each line judged right, and wrong lines beside some of them.

    wrong: the chance of a wrong line beside each line. follow: the chance that one of the wrong lines
    is carried on with. asks: at most how many quantities are asked for, each with its own solution.
    """
    tree = Tree()
    others = [r.target for r in story.relations if r.target != story.asked]
    stories = [story, *(asking(story, name) for name in rng.sample(others, len(others)))]
    # What is asked belongs to the structure, by which splits are told apart.
    for each in [s for s in stories if split_of(s.structure()) == "train"][:asks]:
        _grow_solution(tree, each, words, rng, wrong, follow)
    return tree


def hang_copies(tree: Tree, story: Story, count: int, words: Words, rng: random.Random) -> None:
    """Sentences of the story said again from their first word on, whether or not they can be used yet."""
    start = tree.grow(-1, words.encode(story.question + "\n"))
    for relation in rng.sample(story.relations, min(count, len(story.relations))):
        tokens = words.encode(relation.words() + ":")
        node = tree.grow(start, tokens[:1])
        if tree.goals[node] == IGNORE:  # else a solution begins with that word
            tree.teach(node, tokens[1:])


def _grow_solution(tree: Tree, story: Story, words: Words, rng: random.Random, wrong: float, follow: float) -> None:
    node = tree.grow(-1, words.encode(story.question + "\n"))
    carried = rng.randrange(story.length) if rng.random() < follow else -1
    for i, line in enumerate(story.steps):
        if i == carried or rng.random() < wrong:
            bad = corrupt_step(story, i, rng)
            if bad is not None:
                same_words = bad.split(": ", 1)[0] == line.split(": ", 1)[0]
                later = carry_on(story, i, bad) if i == carried and same_words else []
                grow_judged(tree, node, story, story.steps[:i], [bad, *later], words)
        node = tree.teach(node, words.encode(line + "\n"))
        tree.ask(node, words, True)
    tree.teach(node, [words.end])


def hang_drills(tree: Tree, count: int, words: Words, rng: random.Random) -> None:
    """Plain sums beside the story, seeing nothing of it: arithmetic is what lines teach most slowly, and a sum alone
    costs a tenth of a line with its question."""
    for _ in range(count):
        given, result = drawn_sum(rng)
        tokens = words.encode(f": {given} = {result} so Ann")[:-1]  # a number ends before the next word
        cut = tokens.index(words.equals) + 1
        tree.teach(tree.grow(-1, tokens[:cut]), tokens[cut:])


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


def sampled_tree(story: Story, solutions: Sequence[str], words: Words, gold: bool = True) -> Tree:
    """The story with solutions that the model wrote, each line judged by the checker, all lines so far together."""
    tree = Tree()
    root = node = tree.grow(-1, words.encode(story.question + "\n"))
    for line in story.steps if gold else ():
        node = tree.teach(node, words.encode(line + "\n"))
        tree.ask(node, words, True)
    if gold:
        tree.teach(node, [words.end])
    for text in solutions:
        grow_judged(tree, root, story, [], text.split("\n")[:-1], words)
    return tree


def grow_judged(tree: Tree, node: int, story: Story, before: Sequence[str], lines: Sequence[str], words: Words) -> None:
    """Grow the lines from the node, which the lines `before`, all right, lead to, with a critique after each."""
    known = story.given | {r.target: v for r, v in zip(story.relations, _results(before))}
    sound = True
    for line, right in zip(lines, check_lines(story, [*before, *lines])[len(before) :]):
        tokens, ok = words.encode(line + "\n"), 0
        if sound:
            ok = len(tokens) if right else words.within(tokens, right_prefix(story, known, line + "\n"))
        sound = sound and right
        if right and not line.startswith("####"):
            *_, name, _, value = line.split(" ")
            known[name] = int(value)
        node = tree.judge(node, tokens, ok)
        tree.ask(node, words, sound)


def _results(lines: Sequence[str]) -> list[int]:
    return [int(line.rsplit(" ", 1)[1]) for line in lines]


@dataclass
class Batch:
    """Trees side by side. ids, positions, goals, sound: B x T. mask: B x 1 x T x T, True where a token is seen."""

    ids: Tensor
    positions: Tensor
    goals: Tensor
    sound: Tensor
    mask: Tensor


def pack(trees: Sequence[Tree], pad: int) -> Batch:
    """The trees as one batch, padded to the largest; a padding token sees only itself."""
    length = max(len(tree.tokens) for tree in trees)
    ids = np.full((len(trees), length), pad, np.int64)
    positions = np.zeros_like(ids)
    goals, sound = np.full_like(ids, IGNORE), np.full_like(ids, IGNORE)
    mask = np.zeros((len(trees), 1, length, length), bool)
    for row, tree in enumerate(trees):
        size = len(tree.tokens)
        ids[row, :size], goals[row, :size], sound[row, :size] = tree.tokens, tree.goals, tree.sound
        _lineage(tree.parents, positions[row], mask[row, 0])
        mask[row, 0, range(length), range(length)] = True
    return Batch(*(torch.from_numpy(part) for part in (ids, positions, goals, sound, mask)))


def _lineage(parents: Sequence[int], positions: np.ndarray, mask: np.ndarray) -> None:
    """Fill in each node's depth and its ancestors; parents come before their children."""
    for node, parent in enumerate(parents):
        if parent >= 0:
            mask[node, : parent + 1] = mask[parent, : parent + 1]
            positions[node] = positions[parent] + 1
        mask[node, node] = True
