"""Results at smaller budgets read from a larger run: what the same search would have answered after n nodes.

This is valid for searches whose decisions do not depend on the budget and that have one leaf in flight: greedy,
best-of-N, majority voting, UCT and PUCT. One of the first n nodes has to be a solution: a run that stops without one
completes its best leaf, which the larger run never did, so that budget has to be run by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...planning.driver import Outcome
from ...planning.interface import UNITS, Finished
from ...planning.trees.nodes import DUPLICATE

NODES = UNITS.index("nodes")


@dataclass(frozen=True)
class TruncatedSearch:
    """A search cut off after its first nodes.

    finished: the solutions among these nodes, in the order in which they were evaluated. charged: [units] their cost.
    """

    finished: list[Finished]
    charged: NDArray[np.float64]


def truncate(outcome: Outcome[Any], nodes: int) -> TruncatedSearch | None:
    """The first `nodes` nodes of a one-problem outcome; None where no solution is among them."""
    order = outcome.tree.evaluated(0)
    if int(outcome.charged[0, NODES]) != len(order):
        return None
    first = order[:nodes]
    kept = set(first)
    found = [leaf for leaf in outcome.plan.finished[0] if leaf.node in kept]
    if not found:
        return None
    later = [outcome.node_usage[0, node] for node in order[nodes:]]
    charged = outcome.charged[0] - (np.sum(later, axis=0) if later else 0.0)
    return TruncatedSearch([_with_visits(outcome, leaf, first) for leaf in found], charged)


def _with_visits(outcome: Outcome[Any], leaf: Finished, first: Sequence[int]) -> Finished:
    """The leaf with its visits at that time: its own, and those of its duplicates in a search that counts them."""
    nodes = outcome.tree.nodes[0, first]
    duplicates = (nodes["status"] == DUPLICATE) & (nodes["duplicate_of"] == leaf.node)
    return Finished(leaf.node, leaf.value, min(leaf.visits, 1 + int(duplicates.sum())))


def best_node(finished: Sequence[Finished]) -> int:
    """The node that a planner itself selects: the largest return, the earliest of equals."""
    return max(finished, key=lambda leaf: leaf.value).node
