"""Smaller budgets read off a larger run: what the same search would have answered, had it stopped after n nodes.

This holds for searches whose course does not depend on the budget and that have one leaf in flight: greedy, best-of-N,
majority voting, UCT and PUCT. A solution has to be among the first n nodes; without one the run that stops there would
have completed its best leaf, which nobody has recorded, so that it has to be run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...planning import records as words
from ...planning.interface import Finished
from ...planning.usage import NODES


@dataclass(frozen=True)
class Prefix:
    """finished: solutions among the first nodes, in the order told. charged: [units], what these nodes cost."""

    finished: list[Finished]
    charged: Any


def prefix(outcome: Any, nodes: int) -> Prefix | None:
    """The first `nodes` nodes of a one-problem outcome; None where they hold no solution."""
    order = outcome.tree.told(0)
    if int(outcome.charged[0, NODES]) != len(order):
        return None
    first = order[:nodes]
    seen = set(first)
    found = [leaf for leaf in outcome.plan.finished[0] if leaf.node in seen]
    if not found:
        return None
    later = [outcome.node_usage[0, node] for node in order[nodes:]]
    charged = outcome.charged[0] - (np.sum(later, axis=0) if later else 0.0)
    return Prefix([_visited(outcome, leaf, first) for leaf in found], charged)


def _visited(outcome: Any, leaf: Finished, first: Sequence[int]) -> Finished:
    """The leaf with the visits it had by then: its own and, in a search that counts them, those of its twins."""
    merged = outcome.tree.I[0, first, words.STATUS] == words.MERGED
    twins = outcome.tree.I[0, first, words.SAME_AS] == leaf.node
    return Finished(leaf.node, leaf.value, min(leaf.visits, 1 + int((merged & twins).sum())))


def best(finished: Sequence[Finished]) -> int:
    """The planners' own choice among solutions: the largest return, the earliest of equals."""
    return max(finished, key=lambda leaf: leaf.value).node
