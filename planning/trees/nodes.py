"""The memory of search trees: the records of a node and of a row, and the elementary operations on them.

A tree over B problems (rows) is one int32 array `block` [B, N + 1, WORDS], N being the most nodes of a row. The first N
entries of a row are `NODE` records, the last one is its `HEADER`. A structured array costs four times as much to pass
from Python to a compiled function as an array of integers does, so kernels that Python calls take the block, view it
as records once (`view_nodes`, `view_headers`), and pass the records of one row on:

    nodes [N + 1]   the `NODE` records of the row; the last entry is the memory of the header and no node
    header          the `HEADER` record of the row
    priors [N, A]   softmaxed priors of each node's A actions, -1 where there is none; A = 0 for `SampledActions()`

Children are linked lists (`first_child`, `next_sibling`), so that a node costs the same however many actions it has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiled import inlined, njit, record_type

WORDS = 32
"""Size of a record in 32-bit words."""

NODE = record_type(
    [  # what a simulation reads at every step comes first, so that it shares a cache line
        ("next_sibling", "i4"),  # id of the next child of the same parent or the next unused node, -1: none
        ("action", "i4"),  # action of the parent that leads here
        ("status", "i4"),  # UNUSED, AWAITED, EVALUATED or DUPLICATE
        ("exhausted", "i4"),  # 1: nothing below is left to evaluate
        ("visits", "i4"),  # simulations backed up through the node, its own evaluation included
        ("pending", "i4"),  # leaves below that are in flight
        ("q", "f4"),  # value of the edge to the node: reward + discount * value
        ("prior", "f4"),  # prior of the edge to the node, those of its duplicates included
        ("first_child", "i4"),  # id of the child opened last, -1: none
        ("value", "f4"),  # backed-up value of the state: the mean or the largest return seen from here on
        ("next_action", "i4"),  # unopened action of the highest prior, -1: none
        ("next_prior", "f4"),  # prior of `next_action`
        ("parent", "i4"),  # id of the parent, -1 at the root
        ("reward", "f4"),  # reward of the step that leads here
        ("discount", "f4"),  # factor on all that follows this step, 0 where the episode ends
        ("open_children", "i4"),  # distinct children that are not exhausted
        ("children", "i4"),  # distinct children, those in flight included
        ("samples", "i4"),  # actions opened, those that led to duplicates included
        ("depth", "i4"),  # steps from the first root, also after `reroot`
        ("event_index", "i4"),  # place of the evaluation in the order of the row's evaluations, 0 at the first root
        ("multiplicity", "i4"),  # how many opened actions lead to this state: 1 + its duplicates
        ("opened_out_of_order", "i4"),  # 1: the opened actions are not those of the highest priors
        ("prior_value", "f4"),  # the model's own value of the state
        ("path_return", "f4"),  # discounted sum of rewards from the root to here
        ("path_discount", "f4"),  # product of discounts from the root to here
        ("terminal", "i4"),  # ONGOING, SOLVED or DEAD_END
        ("duplicate_of", "i4"),  # id of the earlier sibling that is the same state, -1: none
        ("padding", "i4", 5),
    ]
)
"""One node of a tree, 32 words."""

HEADER = record_type(
    [
        ("next_id", "i4"),  # smallest id that has never been used
        ("free_list", "i4"),  # id of the first node that was freed, -1: none; linked by `next_sibling`
        ("root", "i4"),  # id of the root, -1: the row starts anew
        ("event_count", "i4"),  # evaluations and duplicates so far
        ("in_flight", "i4"),  # leaves that wait for the model's answer
        ("simulations", "i4"),  # simulations so far
        ("q_min", "f4"),  # least edge value seen
        ("q_max", "f4"),  # largest edge value seen
        ("non_finite", "i4"),  # answers with a number that is not finite
        ("duplicates", "i4"),  # nodes that were the same state as a sibling
        ("solutions", "i4"),  # nodes evaluated as SOLVED
        ("padding", "i4", 21),
    ]
)
"""What is known of a row as a whole, 32 words."""

UNUSED, AWAITED, EVALUATED, DUPLICATE = range(4)
"""Status of a node: not in the tree, in flight, evaluated by the model, the same state as an earlier sibling."""

ONGOING, SOLVED, DEAD_END = range(3)
"""Values of `terminal`: the episode goes on, ends in a solution, ends without one."""

RUNNING, BUDGET, EXHAUSTED, CONVERGED, STALLED, INVALID = range(6)
STOP_REASONS = ("", "budget", "exhausted", "converged", "stalled", "invalid")
"""Why the search of a row has ended, as a stop code and as the word for it."""


@inlined
def view_nodes(block: Any) -> Any:
    """The records [B, N + 1] of a block, the last of each row being no node."""
    return block.reshape(-1).view(NODE).reshape(block.shape[:2])


@inlined
def view_headers(block: Any) -> Any:
    """The headers [B] of a block."""
    return block.reshape(-1).view(HEADER).reshape(block.shape[:2])[:, block.shape[1] - 1]


@inlined
def find_next_action(nodes: Any, priors: Any, node: int) -> None:
    """Set `next_action` to the unopened action of the highest prior (ties: the lowest), -1 where there is none.

    Of `SampledActions()` it is the lowest unopened one.
    """
    here = nodes[node]
    unordered = here.opened_out_of_order == 1
    if priors.shape[1] == 0:
        action = here.samples
        if unordered:
            action = 0
            while child_at(nodes, node, action) >= 0:
                action += 1
        here.next_action = action
        return
    last = here.next_action
    ceiling = here.next_prior if last >= 0 else np.float32(np.inf)
    best = -1
    best_prior = np.float32(-1.0)
    for action in range(priors.shape[1]):
        prior = priors[node, action]
        if prior <= best_prior or prior < 0:
            continue
        if unordered:
            if child_at(nodes, node, action) >= 0:
                continue
        elif prior > ceiling or (prior == ceiling and action <= last):
            continue  # opened already, since actions are opened in this order
        best_prior = prior
        best = action
    here.next_action = best
    here.next_prior = best_prior


@njit
def child_at(nodes: Any, node: int, action: int) -> int:
    """The child that `action` leads to, for a duplicate the node it duplicates; -1 if the action is unopened."""
    child = nodes[node].first_child
    while child >= 0:
        if nodes[child].action == action:
            return nodes[child].duplicate_of if nodes[child].status == DUPLICATE else child
        child = nodes[child].next_sibling
    return -1


@inlined
def allocate(nodes: Any, header: Any) -> int:
    """The id of an unused node, -1 if there is none."""
    node = header.free_list
    if node >= 0:
        header.free_list = nodes[node].next_sibling
        return node
    node = header.next_id
    if node >= len(nodes) - 1:
        return -1
    header.next_id = node + 1
    return node


@inlined
def free(nodes: Any, header: Any, node: int) -> None:
    """Make the id of a node that nothing links to available again."""
    nodes[node].status = UNUSED
    nodes[node].next_sibling = header.free_list
    header.free_list = node


@inlined
def add_virtual_visits(nodes: Any, node: int, count: int) -> None:
    """Add `count` pending visits to `node` and all its ancestors (WU-UCT, Liu et al. 2020)."""
    while node >= 0:
        nodes[node].pending += count
        node = nodes[node].parent


@inlined
def resolve(nodes: Any, header: Any, node: int) -> None:
    """Remove the pending visits of a leaf that was answered or cancelled."""
    add_virtual_visits(nodes, nodes[node].parent, -1)
    header.in_flight -= 1


@inlined
def update_min_max(header: Any, q: float) -> None:
    """Widen the range of edge values seen in the row to include `q` (MuZero, appendix B: MinMaxStats)."""
    if q < header.q_min:
        header.q_min = q
    if q > header.q_max:
        header.q_max = q


@inlined
def set_path(node: Any, above: Any) -> None:
    """Set path return and path discount of a node from those of its parent `above`."""
    node.path_return = above.path_return + above.path_discount * node.reward
    node.path_discount = above.path_discount * node.discount


@inlined
def path_value(node: Any) -> float:
    """Return from the root to a node plus the discounted value there."""
    return node.path_return + node.path_discount * node.prior_value
