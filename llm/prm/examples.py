"""What the network reads at a step: trees of tokens with a label wherever a reward format reads a score.

Solutions of one question share its tokens and their common beginnings. A network that can read a tree packed into one
sequence (`embedded/net.py`) runs each token once; any other reads its branches one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from ..builtin.checker import check_lines, right_prefix
from ..builtin.data import Tree, Words, pack
from ..builtin.net import tree_hidden
from ..critics.reward_formats import RewardFormat
from .problems import Problem
from .samplers import Solution


@dataclass
class Lesson:
    """Solutions of one question. marks: by node, where a score is read, the sum of the labels there and their count."""

    tree: Tree = field(default_factory=Tree)
    marks: dict[int, tuple[float, int]] = field(default_factory=dict)

    def add(
        self, reads: RewardFormat, solution: Solution, labels: Sequence[float], most: int, first: int = 0
    ) -> list[int]:
        """Grow a solution with the labels of its lines from `first` on, as far as `most` tokens reach; the node of each
        line's score."""
        nodes = []
        for reading, label in zip(reads.readings(solution.question, solution.lines)[first:], labels):
            if len(reading) > most:
                break
            node = self.tree.grow(-1, reading)
            total, count = self.marks.get(node, (0.0, 0))
            self.marks[node] = (total + label, count + 1)
            nodes.append(node)
        return nodes

    def judge_tokens(self, problem: Problem, solution: Solution, words: Words) -> None:
        """Where each line of a story goes wrong, token by token: a lesson beside that of the whole line."""
        story, node, sound = problem.story, self.tree.grow(-1, words.encode(problem.question + "\n")), True
        written: list[str] = []
        for line, right in zip(solution.lines, check_lines(story, solution.lines)):
            tokens, ok = words.encode(line + "\n"), 0
            if sound:
                ok = len(tokens) if right else words.within(tokens, right_prefix(story, written, line + "\n"))
            sound = sound and right
            node = self.tree.judge(node, tokens, ok)
            written.append(line)


@dataclass
class Marked:
    """What a network says at M marks. logits: M x V. share, count: M, the mean label and how often it was drawn.

    hidden: B x T x H, sound and goals: B x T, what trees teach token by token; only where they were packed.
    """

    logits: Tensor
    share: Tensor
    count: Tensor
    hidden: Tensor | None = None
    sound: Tensor | None = None
    goals: Tensor | None = None


def packs(model: Any) -> bool:
    """Whether the model can read packed trees: a Llama whose every head has its own keys, with plain rotary angles."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    plain = rope.get("rope_type", "default") == "default" and getattr(config, "hidden_act", "") == "silu"
    alike = getattr(config, "num_key_value_heads", None) == config.num_attention_heads
    return type(model).__name__ == "LlamaForCausalLM" and alike and plain


def read(model: Any, lessons: Sequence[Lesson], pad: int, labels: tuple[int, int] | None = None) -> Marked:
    """The logits at all marks, in the order of lessons and their marks; `labels` keeps those of two tokens only."""
    numbers = [mark for lesson in lessons for mark in lesson.marks.values()]
    share = torch.tensor([total / count for total, count in numbers], device=model.device)
    count = torch.tensor([float(count) for _, count in numbers], device=model.device)
    logits, *taught = (_packed if packs(model) else _apart)(model, lessons, pad)
    return Marked(logits if labels is None else logits[:, list(labels)], share, count, *taught)


def _packed(model: Any, lessons: Sequence[Lesson], pad: int) -> tuple[Tensor, ...]:
    batch = pack([lesson.tree for lesson in lessons], pad)
    ids, positions, mask, sound, goals = (
        part.to(model.device) for part in (batch.ids, batch.positions, batch.mask, batch.sound, batch.goals)
    )
    hidden = tree_hidden(model, ids, positions, mask)
    spots = [(row, node) for row, lesson in enumerate(lessons) for node in lesson.marks]
    rows, nodes = zip(*spots) if spots else ((), ())
    return model.lm_head(hidden[list(rows), list(nodes)]), hidden, sound, goals


def _apart(model: Any, lessons: Sequence[Lesson], pad: int) -> tuple[Tensor, ...]:
    """Branches as plain sequences, padded on the right, where causality hides it."""
    rows: list[list[int]] = []
    at: dict[tuple[int, int], tuple[int, int]] = {}
    for i, lesson in enumerate(lessons):
        for tokens, found in branches(lesson):
            at |= {(i, node): (len(rows), place) for node, place in found}
            rows.append(tokens)
    width = max(map(len, rows))
    ids, mask = (
        torch.tensor([[*one, *[fill] * (width - len(one))] for one in parts], device=model.device)
        for parts, fill in ((rows, pad), ([[1] * len(tokens) for tokens in rows], 0))
    )
    spots = [at[i, node] for i, lesson in enumerate(lessons) for node in lesson.marks]
    kept = sorted({place for _, place in spots})
    logits = model(
        input_ids=ids, attention_mask=mask, logits_to_keep=torch.tensor(kept, device=model.device), use_cache=False
    ).logits
    return (logits[[row for row, _ in spots], [kept.index(place) for _, place in spots]].float(),)


def branches(lesson: Lesson) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Token sequences from root to leaf that hold every mark once: each with its marks as (node, place in it)."""
    tree, left, found = lesson.tree, set(lesson.marks), []
    inner = set(tree.parents)
    for leaf in sorted(set(range(len(tree.tokens))) - inner, reverse=True):
        path, node = [], leaf
        while node >= 0:
            path.append(node)
            node = tree.parents[node]
        path.reverse()
        marks = [(node, place) for place, node in enumerate(path) if node in left]
        if marks:
            end = marks[-1][1] + 1
            found.append(([tree.tokens[node] for node in path[:end]], marks))
            left -= {node for node, _ in marks}
    return found


def sizes(lessons: Sequence[Lesson]) -> list[int]:
    """Where each lesson's marks begin among all of them, and their number at the end."""
    return [0, *accumulate(len(lesson.marks) for lesson in lessons)]
