"""Which of a tree's finished solutions is the answer: rules that are applied after the search, all to the same tree.

    best      the largest return, the planners' own choice (best-of-N, Tree of Thoughts)
    majority  the most frequent answer (self-consistency, Wang et al. 2023, section 2)
    weighted  the answer with the largest sum of returns (weighted best-of-N: Li et al. 2023, "Making language models
              better reasoners with step-aware verifier", section 3.3)
    visits    the solution at the end of the way with the most visits (Reasoning via Planning, Hao et al. 2023,
              section 3.3; AlphaZero's choice of a move, all the way down)

A finished solution is a mapping with node, answer (None: no number in it), score (its return) and visits (how often it
was drawn). Of equals the earliest wins. A search that judged nothing has returns of 0: its `weighted` is its majority.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...planning import records as words

Found = Sequence[Mapping[str, Any]]
RULES = ("best", "majority", "weighted", "visits")


def chosen(found: Found, tree: Any, order: Sequence[int]) -> dict[str, Mapping[str, Any]]:
    """Per rule the solution it takes, of at least one.

    tree: that of a one-problem search. order: the ids of the nodes that count, as told (`Tree.told`).
    """
    ends = {int(leaf["node"]): leaf for leaf in found}
    return {
        "best": max(found, key=lambda leaf: _weight(leaf["score"])),
        "majority": elected(found, lambda leaf: 1.0),
        "weighted": elected(found, lambda leaf: _weight(leaf["score"])),
        "visits": ends[most_visited(tree, order, ends)],
    }


def elected(found: Found, weigh: Callable[[Mapping[str, Any]], float]) -> Mapping[str, Any]:
    """The first solution with the answer of the largest weight; one drawn several times weighs as often, one without a
    number nothing, and where nothing weighs anything each draw counts alike."""
    votes: dict[str, tuple[float, int]] = {}
    for leaf in found:
        if leaf["answer"] is not None:
            weight, draws = votes.get(leaf["answer"], (0.0, 0))
            times = max(1, leaf["visits"])
            votes[leaf["answer"]] = weight + times * weigh(leaf), draws + times
    if not votes:
        return found[0]
    weighed = any(weight for weight, _ in votes.values())
    winner = max(votes, key=lambda answer: votes[answer][0] if weighed else votes[answer][1])
    return next(leaf for leaf in found if leaf["answer"] == winner)


def most_visited(tree: Any, order: Sequence[int], ends: Mapping[int, Any]) -> int:
    """From the root to the child with the most visits, again and again, among those that lead to one of `ends`."""
    counts, leading = visits_of(tree, order), {node for end in ends for node in tree.path(0, end)}
    node = int(tree.root[0])
    while node not in ends:
        node = max((child for child in tree.children(0, node) if child in leading), key=lambda n: counts.get(n, 0))
    return node


def visits_of(tree: Any, order: Sequence[int]) -> dict[int, int]:
    """How often each node was visited when those of `order` had been told: once for every node below it, itself
    included, repeated draws aside. In text, where a finished state is never visited again, these are the visits that
    Monte Carlo tree search counts, and they say the same of every other search."""
    counts: dict[int, int] = {}
    for node in order:
        if tree.I[0, node, words.STATUS] != words.MERGED:
            for above in tree.path(0, node):
                counts[above] = counts.get(above, 0) + 1
    return counts


def _weight(score: float) -> float:
    """A return as a weight: one that is not known is the worst."""
    return 0.0 if math.isnan(score) else float(score)
