"""Training examples: trees of tokens that share one question, packed so that each token is computed once.

A tree holds a question, its solution, and short branches: the critique's verdict after a line, wrong lines, sampled
solutions. Branches with a common beginning share its tokens. A token attends to its ancestors only, so the forward pass
equals that of each branch on its own.
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
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .checker import check_lines, right_prefix
from .continuations import continuation, unneeded_line
from .corruptions import corrupt_step
from .stories import Story, ask_for, split_of
from .tokenizer import CRITIQUE, NO, YES

IGNORE = -100
"""The target or label of a position without one, as in torch's cross-entropy."""


class StoryVocabulary:
    """The tokenizer with what training needs of it: ids of the critique and its verdicts, and each token's length."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer: Any = tokenizer
        self.end, self.pad = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
        self.lengths = [len(tokenizer.decode([i])) for i in range(len(tokenizer))]
        self.critique, self.yes, self.no, self.equals = (self._single(text) for text in (CRITIQUE, YES, NO, " ="))

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, without special tokens."""
        return list(self.tokenizer._tokenizer.encode(text, add_special_tokens=False).ids)

    def count_within(self, tokens: Sequence[int], characters: int) -> int:
        """How many of the first tokens lie within the first `characters` characters of their text."""
        ends = accumulate(self.lengths[token] for token in tokens)
        return sum(end <= characters for end in ends)

    def _single(self, text: str) -> int:
        (token,) = self.encode(text)
        return token


@dataclass
class StoryTree:
    """A tree of tokens with training targets. Nodes are numbered as they are added; the parent of a root is -1.

    targets: per node the token to predict after it. valid: per node 1 where the text up to and including this token is
    right or can still become right, 0 where it cannot; both IGNORE where nothing is trained.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    valid: list[int] = field(default_factory=list)
    children: dict[tuple[int, int], int] = field(default_factory=dict)

    def add_path(self, node: int, tokens: Sequence[int]) -> int:
        """Follow the tokens from a node, adding the nodes that are missing; returns the last token's node."""
        for token in tokens:
            key = (node, token)
            child = self.children.get(key)
            if child is None:
                child = len(self.tokens)
                self.children[key] = child
                self.tokens.append(token)
                self.parents.append(node)
                self.targets.append(IGNORE)
                self.valid.append(IGNORE)
            node = child
        return node

    def add_targets(self, node: int, tokens: Sequence[int], valid: bool = True) -> int:
        """`add_path`, where each token is the target of the node before it.

        valid: the validity of all these tokens.
        """
        for token in tokens:
            self.targets[node] = token
            node = self.add_path(node, [token])
            self.valid[node] = int(valid)
        return node

    def add_validity(self, node: int, tokens: Sequence[int], valid: int) -> int:
        """`add_path`, with the first `valid` tokens labelled valid and the others invalid."""
        for i, token in enumerate(tokens):
            node = self.add_path(node, [token])
            self.valid[node] = int(i < valid)
        return node

    def add_wrong(self, node: int, tokens: Sequence[int], right: Sequence[int]) -> int:
        """`add_validity` of a wrong continuation, valid as long as its tokens equal those of the right one."""
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(tokens, right)))
        return self.add_validity(node, tokens, common)

    def add_verdict(self, node: int, vocab: StoryVocabulary, right: bool) -> None:
        """Add the critique after a node, with the verdict as target: whether all lines so far are right."""
        self.targets[self.add_path(node, [vocab.critique])] = vocab.yes if right else vocab.no


def solution_tree(
    story: Story, vocab: StoryVocabulary, rng: random.Random, wrong: float = 0.6, continued: float = 0.3,
    questions: int = 1, arithmetic: float = 0.0,
) -> StoryTree:  # fmt: skip
    """The story with its solution, a verdict after each line, and wrong or unneeded lines as branches beside some.

    wrong: probability of a wrong line beside each line. continued: probability that a wrong line is continued, and of
    an unneeded line. questions: at most how many quantities of the text are asked for, each with its own solution.
    arithmetic: probability of a further line that differs from the right one in its result only.
    """
    tree = StoryTree()
    others = [r.target for r in story.relations if r.target != story.asked]
    stories = (ask_for(story, name) for name in rng.sample(others, len(others)))
    # The structure that decides the split includes what is asked, so another question may belong to another split.
    in_split = (each for each in chain([story], stories) if split_of(each.structure()) == "train")
    for each in islice(in_split, questions):
        _add_solution(tree, each, vocab, rng, wrong, continued, arithmetic)
    return tree


def _add_solution(
    tree: StoryTree, story: Story, vocab: StoryVocabulary, rng: random.Random, wrong: float, continued: float,
    arithmetic: float,
) -> None:  # fmt: skip
    node = tree.add_path(-1, vocab.encode(story.question + "\n"))
    for i, line in enumerate(story.steps):
        before = story.steps[:i]
        bad = corrupt_step(story, i, rng) if rng.random() < wrong else None
        miscalculated = (
            corrupt_step(story, i, rng, "arithmetic") if rng.random() < arithmetic and i < story.length else None
        )
        unneeded = unneeded_line(story, before, rng) if rng.random() < continued / 2 else None
        for other in dict.fromkeys(filter(None, (bad, miscalculated, unneeded))):
            count = rng.choice((1, 1, 2, 3)) if other == unneeded or rng.random() < continued else 0
            add_checked_lines(tree, node, story, before, [other], vocab, partial(int, count))
        node = tree.add_targets(node, vocab.encode(line + "\n"))
        _end_line(tree, node, line, vocab, True)


def sampled_tree(
    story: Story, solutions: Sequence[str], vocab: StoryVocabulary, count: Callable[[], int] = lambda: 0
) -> StoryTree:
    """The story with its solution and some that the model sampled, with the checker's verdict after each line.

    count: called after every sampled line for the number of continuation lines to train there.
    """
    tree = StoryTree()
    root = node = tree.add_path(-1, vocab.encode(story.question + "\n"))
    for line in story.steps:
        node = tree.add_targets(node, vocab.encode(line + "\n"))
        _end_line(tree, node, line, vocab, True)
    for text in solutions:
        add_checked_lines(tree, root, story, [], text.split("\n")[:-1], vocab, count)
    return tree


def add_checked_lines(
    tree: StoryTree, node: int, story: Story, before: Sequence[str], lines: Sequence[str], vocab: StoryVocabulary,
    count: Callable[[], int] = lambda: 0,
) -> None:  # fmt: skip
    """Add lines below a node with validity labels, and the checker's verdict after each.

    before: the lines up to the node, all right. count: called after every line for the number of continuation lines to
    train there.
    """
    for written, line, tokens, valid, right in labelled_lines(story, before, lines, vocab):
        node = tree.add_validity(node, tokens, valid)
        _end_line(tree, node, line, vocab, right)
        _add_continuation(tree, node, continuation(story, written, count()), vocab, right)


def labelled_lines(
    story: Story, before: Sequence[str], lines: Sequence[str], vocab: StoryVocabulary
) -> list[tuple[list[str], str, list[int], int, bool]]:
    """For each line after the right lines `before`: all lines up to and with it, the line, its tokens, how many of them
    are valid, and whether all lines so far are right."""
    labelled = []
    written, right_so_far = list(before), True
    for line, right in zip(lines, check_lines(story, [*before, *lines])[len(before) :]):
        tokens, valid = vocab.encode(line + "\n"), 0
        if right_so_far:
            valid = len(tokens) if right else vocab.count_within(tokens, right_prefix(story, written, line + "\n"))
        right_so_far = right_so_far and right
        written = [*written, line]
        labelled.append((written, line, tokens, valid, right_so_far))
    return labelled


def _add_continuation(tree: StoryTree, node: int, lines: Sequence[str], vocab: StoryVocabulary, valid: bool) -> None:
    for line in lines:
        node = tree.add_targets(node, vocab.encode(line + "\n"), valid)
        _end_line(tree, node, line, vocab, valid)


def _end_line(tree: StoryTree, node: int, line: str, vocab: StoryVocabulary, right: bool) -> None:
    tree.add_verdict(node, vocab, right)
    if line.startswith("####"):
        tree.add_targets(node, [vocab.end], right)


@dataclass
class Batch:
    """Trees side by side. ids, positions, targets, valid: B x T. mask: B x 1 x T x T, True where the row attends."""

    ids: Tensor
    positions: Tensor
    targets: Tensor
    valid: Tensor
    mask: Tensor


def pack(trees: Sequence[StoryTree], pad: int) -> Batch:
    """The trees as one batch, padded to the largest; a padding token attends to itself only."""
    length = max(len(tree.tokens) for tree in trees)
    ids = np.full((len(trees), length), pad, np.int64)
    positions = np.zeros_like(ids)
    targets, valid = np.full_like(ids, IGNORE), np.full_like(ids, IGNORE)
    mask = np.zeros((len(trees), 1, length, length), bool)
    for row, tree in enumerate(trees):
        size = len(tree.tokens)
        ids[row, :size], targets[row, :size], valid[row, :size] = tree.tokens, tree.targets, tree.valid
        _fill_ancestors(tree.parents, positions[row], mask[row, 0])
        mask[row, 0, range(length), range(length)] = True
    return Batch(*(torch.from_numpy(part) for part in (ids, positions, targets, valid, mask)))


def _fill_ancestors(parents: Sequence[int], positions: NDArray[np.int64], mask: NDArray[np.bool_]) -> None:
    """Fill in each node's depth [T] and its ancestors [T, T]; parents come before their children."""
    for node, parent in enumerate(parents):
        if parent >= 0:
            mask[node, : parent + 1] = mask[parent, : parent + 1]
            positions[node] = positions[parent] + 1
        mask[node, node] = True
