"""Training examples: trees of tokens with a label wherever a reward format reads a score.

Solutions of one question share its tokens and their common beginnings. A network that can read a tree packed into one
sequence (`builtin/net.py`) computes each token once; any other reads the branches one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from ..builtin.data import StoryTree, StoryVocabulary, labelled_lines, pack
from ..builtin.net import tree_hidden
from ..builtin.stories import Story
from ..critics.reward_formats import RewardFormat
from .samplers import Solution


@dataclass
class LabelledTree:
    """Labelled solutions of one question.

    labels: by node where a score is read, the sum of the labels there and their number.
    """

    tree: StoryTree = field(default_factory=StoryTree)
    labels: dict[int, tuple[float, int]] = field(default_factory=dict)

    def add_solution(
        self, reward_format: RewardFormat, solution: Solution, labels: Sequence[float], most: int, first: int = 0
    ) -> list[int]:
        """Add a solution and the labels of its lines from `first` on, as far as `most` tokens reach.

        Returns the nodes at which the scores of these lines are read.
        """
        nodes = []
        prefixes = reward_format.score_prefixes(solution.question, solution.lines)[first:]
        for prefix, label in zip(prefixes, labels):
            if len(prefix) > most:
                break
            node = self.tree.add_path(-1, prefix)
            total, count = self.labels.get(node, (0.0, 0))
            self.labels[node] = (total + label, count + 1)
            nodes.append(node)
        return nodes

    def add_validity(self, story: Story, solution: Solution, vocab: StoryVocabulary) -> None:
        """Label each token of a story's solution with whether the text up to it can still become right."""
        node = self.tree.add_path(-1, vocab.encode(story.question + "\n"))
        for _, _, tokens, valid, _ in labelled_lines(story, [], solution.lines, vocab):
            node = self.tree.add_validity(node, tokens, valid)


@dataclass
class LabelLogits:
    """The network's outputs at M labels.

    logits: M x V. target, count: M, the mean label and the number of labels averaged. hidden: B x T x H; valid,
    targets: B x T, the token labels and targets of `StoryTree`. The last three are None where trees were not packed.
    """

    logits: Tensor
    target: Tensor
    count: Tensor
    hidden: Tensor | None = None
    valid: Tensor | None = None
    targets: Tensor | None = None


def can_pack(model: Any) -> bool:
    """Whether the model can read packed trees: a Llama with one key head per query head and default rotary angles."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    default = rope.get("rope_type", "default") == "default" and getattr(config, "hidden_act", "") == "silu"
    ungrouped = getattr(config, "num_key_value_heads", None) == config.num_attention_heads
    return type(model).__name__ == "LlamaForCausalLM" and ungrouped and default


def label_logits(
    model: Any, trees: Sequence[LabelledTree], pad: int, labels: tuple[int, int] | None = None
) -> LabelLogits:
    """The logits at all labels, in the order of the trees and their labels.

    labels: two token ids to keep the logits of; None keeps the whole vocabulary.
    """
    sums = [label for tree in trees for label in tree.labels.values()]
    target = torch.tensor([total / count for total, count in sums], device=model.device)
    count = torch.tensor([float(count) for _, count in sums], device=model.device)
    logits, *packed = (_read_packed if can_pack(model) else _read_branches)(model, trees, pad)
    return LabelLogits(logits if labels is None else logits[:, list(labels)], target, count, *packed)


def _read_packed(model: Any, trees: Sequence[LabelledTree], pad: int) -> tuple[Tensor, ...]:
    """Logits, hidden states, validity labels and targets of trees packed into one sequence each."""
    batch = pack([tree.tree for tree in trees], pad)
    ids, positions, mask, valid, targets = (
        part.to(model.device) for part in (batch.ids, batch.positions, batch.mask, batch.valid, batch.targets)
    )
    hidden = tree_hidden(model, ids, positions, mask)
    places = [(row, node) for row, tree in enumerate(trees) for node in tree.labels]
    rows, nodes = zip(*places) if places else ((), ())
    return model.lm_head(hidden[list(rows), list(nodes)]), hidden, valid, targets


def _read_branches(model: Any, trees: Sequence[LabelledTree], pad: int) -> tuple[Tensor, ...]:
    """Logits of branches as plain sequences, padded on the right, where the causal mask hides the padding."""
    rows: list[list[int]] = []
    place_of: dict[tuple[int, int], tuple[int, int]] = {}
    for i, tree in enumerate(trees):
        for tokens, found in branches(tree):
            place_of |= {(i, node): (len(rows), position) for node, position in found}
            rows.append(tokens)
    width = max(map(len, rows))
    ids, mask = (
        torch.tensor([[*one, *[fill] * (width - len(one))] for one in parts], device=model.device)
        for parts, fill in ((rows, pad), ([[1] * len(tokens) for tokens in rows], 0))
    )
    places = [place_of[i, node] for i, tree in enumerate(trees) for node in tree.labels]
    kept = sorted({position for _, position in places})
    logits = model(
        input_ids=ids, attention_mask=mask, logits_to_keep=torch.tensor(kept, device=model.device), use_cache=False
    ).logits
    return (logits[[row for row, _ in places], [kept.index(position) for _, position in places]].float(),)


def branches(tree: LabelledTree) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Token sequences from root to leaf that contain every label once, each with its labels as (node, position)."""
    tokens, parents, remaining, found = tree.tree.tokens, tree.tree.parents, set(tree.labels), []
    inner = set(parents)
    for leaf in sorted(set(range(len(tokens))) - inner, reverse=True):
        path, node = [], leaf
        while node >= 0:
            path.append(node)
            node = parents[node]
        path.reverse()
        labels = [(node, position) for position, node in enumerate(path) if node in remaining]
        if labels:
            end = labels[-1][1] + 1
            found.append(([tokens[node] for node in path[:end]], labels))
            remaining -= {node for node, _ in labels}
    return found


def label_offsets(trees: Sequence[LabelledTree]) -> list[int]:
    """The index of each tree's first label among all labels, and the number of all labels at the end."""
    return [0, *accumulate(len(tree.labels) for tree in trees)]
