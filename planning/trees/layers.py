"""What searches share that go down a tree layer by layer (`beam.py`, `rebase.py`): how their plan is read off it.

Nothing is backed up: a state is judged by its path value, the return so far plus the discounted value there.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import njit
from ..interface import Expansion, IndexedActions, SampledActions, Size, action_count
from .base import TreeSearch, normalized
from .nodes import DEAD_END, EVALUATED, ONGOING, path_value, view_headers, view_nodes
from .tree import Tree


@njit
def last_action(block: Any, b: int) -> int:
    """The highest action of row b's root that leads to an evaluated node, -1 for none."""
    nodes, header = view_nodes(block)[b], view_headers(block)[b]
    last, child = -1, nodes[header.root].first_child
    while child >= 0:
        if nodes[child].status == EVALUATED:
            last = max(last, nodes[child].action)
        child = nodes[child].next_sibling
    return last


@njit
def count_below(block: Any, b: int, counts: Any) -> None:
    """Add to counts [A] the number of evaluated nodes below each action of row b's root."""
    nodes, header = view_nodes(block)[b], view_headers(block)[b]
    for n in range(header.next_id):
        if nodes[n].status != EVALUATED or n == header.root:
            continue
        node = n
        while nodes[node].parent != header.root:
            node = nodes[node].parent
        counts[nodes[node].action] += 1


@njit
def best_end(block: Any, b: int, layer: int) -> int:
    """The state of row b with the largest path value, ties to the lower id; -1 if there is none.

    Candidates are solutions, states without children or actions, and all states of depth `layer`.
    """
    nodes, header = view_nodes(block)[b], view_headers(block)[b]
    best, best_value = -1, -np.inf
    for n in range(header.next_id):
        node = nodes[n]
        if node.status != EVALUATED or node.event_index == 0 or node.terminal == DEAD_END:
            continue
        goes_on = node.terminal == ONGOING and (node.next_action >= 0 or node.first_child >= 0)
        value = path_value(node)
        if value > best_value and (not goes_on or node.depth == layer):
            best, best_value = n, value
    return best


class LayeredSearch(TreeSearch):
    """A search over B problems that has one layer of each row in flight at a time."""

    def __init__(self, root: Expansion, actions: IndexedActions, size: Size) -> None:
        self.actions = actions
        super().__init__(Tree(root, size.nodes + 1, action_count(actions)))

    @abstractmethod
    def _deepest(self, row: int) -> int:
        """The deepest layer of the row that was completed."""

    def _value(self, row: int, path: list[int]) -> float:
        """The path value of the plan's end."""
        return float(self.tree.path_value(row, path[-1]))

    def _best(self, row: int) -> int:
        """Of `SampledActions()` the best solution, else the best open state.

        Of `DiscreteActions(n)` the best of all ends and of the deepest complete layer, whose states have the same
        depth: where every step has a cost, a shallower state would always look better.
        """
        if isinstance(self.actions, SampledActions):
            return self.tree.best_answer(row)
        tree, layer = self.tree, self._deepest(row)
        if layer == 0:
            layer = int(tree.nodes["depth"][row].max())
        while (best := best_end(tree.block, row, layer)) < 0 and layer > 0:
            layer -= 1
        return best if best >= 0 else int(tree.root[row])

    def weights(self) -> NDArray[np.float32]:
        """[B, A] shares of the nodes below each action of the roots."""
        tree = self.tree
        wide = tree.n_actions or max([1, *(1 + last_action(tree.block, b) for b in range(self.rows))])
        weights = np.zeros((self.rows, wide), np.float32)
        for b in range(self.rows):
            count_below(tree.block, b, weights[b])
        return normalized(weights)
