"""Training examples: trees of tokens that share one question, packed so that each token is run once.

A tree holds a question, its solution, and short branches: the critique's word after a line, wrong
lines, sampled solutions. Branches with a common beginning share its tokens. A token sees its
ancestors and nothing else, so the forward pass equals that of every branch on its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain, islice, takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .checker import check_lines, right_prefix
from .continuations import aside, onward
from .corruptions import corrupt_step
from .stories import Story, asking, split_of
from .tokenizer import CRITIQUE, NO, YES

IGNORE = -100


class Words:
    """The tokenizer, with what training asks of it: the ids of the critique's words and how long each token is."""

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

    def teach(self, node: int, tokens: Sequence[int], sound: bool = True) -> int:
        """Like `grow`, with each token to be predicted from the one before it; sound: whether the lines before are."""
        for token in tokens:
            self.goals[node] = token
            node = self.grow(node, [token])
            self.sound[node] = int(sound)
        return node

    def judge(self, node: int, tokens: Sequence[int], sound: int) -> int:
        """Like `grow`, with the first `sound` tokens known to be sound and the others not to be."""
        for i, token in enumerate(tokens):
            node = self.grow(node, [token])
            self.sound[node] = int(i < sound)
        return node

    def stray(self, node: int, tokens: Sequence[int], right: Sequence[int]) -> int:
        """`judge` of tokens that are sound as far as they are those of `right`."""
        return self.judge(node, tokens, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(tokens, right))))

    def ask(self, node: int, words: Words, right: bool) -> None:
        """Hang the critique's word on the node, to be answered with whether all lines so far are right."""
        self.goals[self.grow(node, [words.critique])] = words.yes if right else words.no


def gold_tree(
    story: Story, words: Words, rng: random.Random, wrong: float = 0.6, astray: float = 0.3, asks: int = 1,
    slips: float = 0.0,
) -> Tree:  # fmt: skip
    """The story with its solution, each line judged right, and wrong or useless lines beside some of them.

    wrong: the chance of a wrong line beside each line. astray: the chance that one is gone on from, and
    that of a right but useless line. asks: at most how many quantities are asked for, each with its own
    solution. slips: the chance of one more line that differs from the right one in its result alone.
    """
    tree = Tree()
    others = [r.target for r in story.relations if r.target != story.asked]
    stories = (asking(story, name) for name in rng.sample(others, len(others)))
    # What is asked belongs to the structure, by which splits are told apart.
    chosen = (each for each in chain([story], stories) if split_of(each.structure()) == "train")
    for each in islice(chosen, asks):
        _grow_solution(tree, each, words, rng, wrong, astray, slips)
    return tree


def _grow_solution(
    tree: Tree, story: Story, words: Words, rng: random.Random, wrong: float, astray: float, slips: float
) -> None:
    node = tree.grow(-1, words.encode(story.question + "\n"))
    for i, line in enumerate(story.steps):
        before = story.steps[:i]
        bad = corrupt_step(story, i, rng) if rng.random() < wrong else None
        slip = corrupt_step(story, i, rng, "slip") if rng.random() < slips and i < story.length else None
        useless = aside(story, before, rng) if rng.random() < astray / 2 else None
        for other in dict.fromkeys(filter(None, (bad, slip, useless))):
            count = rng.choice((1, 1, 2, 3)) if other == useless or rng.random() < astray else 0
            grow_judged(tree, node, story, before, [other], words, partial(int, count))
        node = tree.teach(node, words.encode(line + "\n"))
        _end_line(tree, node, line, words, True)


def sampled_tree(story: Story, solutions: Sequence[str], words: Words, count: Callable[[], int] = lambda: 0) -> Tree:
    """The story with its solution and some that the model wrote, each line judged by the checker, with all before it.

    count: drawn after every line of the model's own, how many lines of the right way on to hang there.
    """
    tree = Tree()
    root = node = tree.grow(-1, words.encode(story.question + "\n"))
    for line in story.steps:
        node = tree.teach(node, words.encode(line + "\n"))
        _end_line(tree, node, line, words, True)
    for text in solutions:
        grow_judged(tree, root, story, [], text.split("\n")[:-1], words, count)
    return tree


def grow_judged(
    tree: Tree, node: int, story: Story, before: Sequence[str], lines: Sequence[str], words: Words,
    count: Callable[[], int] = lambda: 0,
) -> None:  # fmt: skip
    """Grow the lines from the node, which the lines `before`, all right, lead to, with a critique after each.

    count: drawn after every line, how many lines are taught there as what follows from those written.
    """
    written, sound = list(before), True
    for line, right in zip(lines, check_lines(story, [*before, *lines])[len(before) :]):
        tokens, ok = words.encode(line + "\n"), 0
        if sound:
            ok = len(tokens) if right else words.within(tokens, right_prefix(story, written, line + "\n"))
        sound = sound and right
        node = tree.judge(node, tokens, ok)
        _end_line(tree, node, line, words, sound)
        written.append(line)
        _hang_onward(tree, node, onward(story, written, count()), words, sound)


def _hang_onward(tree: Tree, node: int, lines: Sequence[str], words: Words, sound: bool) -> None:
    for line in lines:
        node = tree.teach(node, words.encode(line + "\n"), sound)
        _end_line(tree, node, line, words, sound)


def _end_line(tree: Tree, node: int, line: str, words: Words, sound: bool) -> None:
    tree.ask(node, words, sound)
    if line.startswith("####"):
        tree.teach(node, [words.end], sound)


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
