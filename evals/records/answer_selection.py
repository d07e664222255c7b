"""Which of a tree's finished solutions is the answer: rules that are applied to the same tree after the search.

    best      the solution with the largest return, which planners select (best-of-N, Tree of Thoughts)
    majority  the most frequent answer (self-consistency, Wang et al. 2023, section 2)
    weighted  the answer with the largest sum of returns (weighted best-of-N: Li et al. 2023, "Making language models
              better reasoners with step-aware verifier", section 3.3)
    visits    the solution reached by following the most visited child from the root (Reasoning via Planning, Hao et
              al. 2023, section 3.3; as AlphaZero selects a move, at every depth)

A finished solution is a mapping with node, answer (None where it holds no number), score (its return) and visits (how
often it was sampled). The earliest of equals is selected. Where a search evaluates nothing, returns are 0 and
`weighted` equals `majority`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...planning import records as words
from ...planning.tree import Tree
from ..planners import ANSWER_RULES

Solution = Mapping[str, Any]
Solutions = Sequence[Solution]


def select_answers(found: Solutions, tree: Tree, order: Sequence[int]) -> dict[str, Solution]:
    """The solution that each of `ANSWER_RULES` selects, of at least one.

    tree: of a one-problem search. order: ids of the nodes to count, in the order of their evaluation.
    """
    ends = {int(leaf["node"]): leaf for leaf in found}
    selected = (
        max(found, key=lambda leaf: _weight(leaf["score"])),
        weighted_majority(found, lambda leaf: 1.0),
        weighted_majority(found, lambda leaf: _weight(leaf["score"])),
        ends[most_visited(tree, order, ends)],
    )
    return dict(zip(ANSWER_RULES, selected))


def weighted_majority(found: Solutions, weight_of: Callable[[Solution], float]) -> Solution:
    """The first solution with the answer of the largest total weight.

    A solution counts once for each time it was sampled, and not at all where it holds no number. Where all weights are
    0, every sample counts 1.
    """
    votes: dict[str, tuple[float, int]] = {}
    for leaf in found:
        if leaf["answer"] is not None:
            weight, samples = votes.get(leaf["answer"], (0.0, 0))
            times = max(1, leaf["visits"])
            votes[leaf["answer"]] = weight + times * weight_of(leaf), samples + times
    if not votes:
        return found[0]
    weighed = any(weight for weight, _ in votes.values())
    winner = max(votes, key=lambda answer: votes[answer][0] if weighed else votes[answer][1])
    return next(leaf for leaf in found if leaf["answer"] == winner)


def most_visited(tree: Tree, order: Sequence[int], ends: Mapping[int, Any]) -> int:
    """The node of `ends` that is reached by following the most visited child among those that lead to one of them."""
    counts, leading = visit_counts(tree, order), {node for end in ends for node in tree.path(0, end)}
    node = int(tree.root[0])
    while node not in ends:
        node = max((child for child in tree.children(0, node) if child in leading), key=lambda n: counts.get(n, 0))
    return node


def visit_counts(tree: Tree, order: Sequence[int]) -> dict[int, int]:
    """Visits of each node after the nodes of `order` were evaluated: the size of its subtree, duplicates not counted.

    In text a finished state is never visited again, so these are the visits of Monte Carlo tree search, and they are
    defined for every other search too.
    """
    counts: dict[int, int] = {}
    for node in order:
        if tree.I[0, node, words.STATUS] != words.MERGED:
            for above in tree.path(0, node):
                counts[above] = counts.get(above, 0) + 1
    return counts


def _weight(score: float) -> float:
    """A return as a weight; an unknown return weighs 0."""
    return 0.0 if math.isnan(score) else float(score)
