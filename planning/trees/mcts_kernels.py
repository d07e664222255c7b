"""The simulations of Monte Carlo tree search as kernels: select leaves, expand them, back their values up.

Which edge a simulation follows is computed in `selection.py`; the records are described in `nodes.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiled import inlined, njit
from ..event_log import ACTION, NODE_ID, PARENT, REMAINING, ROW
from .leaves import link_leaf, write_answers
from .nodes import (
    AWAITED,
    BUDGET,
    DUPLICATE,
    EVALUATED,
    EXHAUSTED,
    ONGOING,
    RUNNING,
    add_virtual_visits,
    child_at,
    find_next_action,
    free,
    resolve,
    set_path,
    view_headers,
    view_nodes,
)
from .selection import GUMBEL, best_edge, can_expand, gumbel_edge

MAX_REMAINING = 2**31 - 1
"""Larger rooms are logged as this number, which exceeds the size of any tree."""

WAIT, REVISITED = -1, -2
"""Results of a simulation that opened no leaf: the next one must wait for answers, or it was backed up already."""


class Batch(NamedTuple):
    """All arrays of a search over B rows."""

    nodes: Any  # `NODE` [B, N + 1], the last of each row being no node
    headers: Any  # `HEADER` [B]
    priors: Any  # float32 [B, N, A]
    settings: Any  # `MCTS_SETTINGS` [1]
    bonus: Any  # float64 [most visits + 1], `exploration_bonus`
    noise: Any  # float64 [B, A], Gumbel noise of the roots; [B, 0] without
    halving: Any  # int32 [B, simulations], `halving_visits`; [B, 1] without
    edges: Any  # `EDGE` [A], scratch memory of Gumbel
    stop_codes: Any  # int32 [B], why each row has ended


@inlined
def mark_exhausted(nodes: Any, header: Any, settings: Any, node: int) -> None:
    """Mark `node` as exhausted, and every ancestor up to the root that has nothing else left to visit."""
    while nodes[node].exhausted == 0:
        nodes[node].exhausted = 1
        if node == header.root:
            return
        node = nodes[node].parent
        nodes[node].open_children -= 1
        if nodes[node].open_children > 0 or can_expand(nodes, settings, node):
            return


@inlined
def backpropagate(nodes: Any, header: Any, settings: Any, node: int, value: float, landed: int) -> None:
    """Add a visit with return `value` from `node` on to all its ancestors (MuZero, equation 3).

    landed: pending visits to remove on the way, 0 or 1.
    """
    root, by_max = header.root, settings.max_backup > 0
    low, high = header.q_min, header.q_max
    while node != root:
        here = nodes[node]
        q = here.reward + here.discount * here.value
        here.q = q
        low, high = min(low, q), max(high, q)
        value = here.reward + here.discount * value
        node = here.parent
        above = nodes[node]
        visits = above.visits + 1
        above.visits = visits
        above.pending -= landed
        if by_max:
            above.value = max_q(nodes, node)
        else:
            above.value += (value - above.value) / visits
    header.q_min, header.q_max = low, high


@njit
def max_q(nodes: Any, node: int) -> float:
    """The largest value among the evaluated edges of a node."""
    best = -np.inf
    child = nodes[node].first_child
    while child >= 0:
        if nodes[child].status == EVALUATED:
            best = max(best, nodes[child].q)
        child = nodes[child].next_sibling
    return best


@inlined
def simulate(batch: Batch, b: int) -> int:
    """Descend from the root of row b to an unopened action and open it; the leaf's id, WAIT or REVISITED.

    REVISITED: a terminal state, or one with nothing to select, was visited once more and backed up.
    """
    nodes, header, priors, settings = batch.nodes[b], batch.headers[b], batch.priors[b], batch.settings[0]
    node = header.root
    while nodes[node].terminal == ONGOING and nodes[node].status != AWAITED:
        if settings.selection == GUMBEL:
            noise, halving = batch.noise[b], batch.halving[b]
            child, action = gumbel_edge(nodes, header, priors, settings, noise, halving, batch.edges, node)
        else:
            child, action = best_edge(nodes, header, priors, settings, batch.bonus, node)
        if action < 0 and child < 0:
            break
        nodes[node].pending += 1
        if action >= 0:
            leaf = link_leaf(nodes, header, priors, node, action)
            if leaf < 0:
                add_virtual_visits(nodes, node, -1)
            return leaf
        node = child
    add_virtual_visits(nodes, nodes[node].parent, -1)
    if nodes[node].status == AWAITED:
        return WAIT
    nodes[node].visits += 1
    backpropagate(nodes, header, settings, node, nodes[node].prior_value, 0)
    return REVISITED


@inlined
def select_in_row(batch: Batch, b: int, remaining: int, entry: Any, count: int) -> int:
    """Simulate in row b until `max_in_flight` leaves are in flight or the row must stop.

    Writes its leaves into `entry` from column `count` on and returns the next free column.
    """
    nodes, header, settings = batch.nodes[b], batch.headers[b], batch.settings[0]
    root = nodes[header.root]
    code = RUNNING
    while header.in_flight < settings.max_in_flight:
        if root.exhausted == 1 or root.terminal != ONGOING:
            code = EXHAUSTED
            break
        if remaining <= 0 or header.simulations >= settings.max_simulations:
            code = BUDGET
            break
        leaf = simulate(batch, b)
        if leaf == WAIT:
            if header.in_flight == 0:
                code = BUDGET
            break
        header.simulations += 1
        if leaf >= 0:
            entry[ROW, count], entry[PARENT, count] = b, nodes[leaf].parent
            entry[ACTION, count], entry[NODE_ID, count] = nodes[leaf].action, leaf
            count += 1
            remaining -= 1
    if header.in_flight == 0:
        batch.stop_codes[b] = code
    return count


@inlined
def select_leaves(batch: Batch, remaining: Any, entry: Any) -> int:
    """Select leaves in every running row; returns their number K.

    remaining [B]: how many leaves each row may open. entry int32 [5, most]: an entry of the `EventLog`, whose first K
    columns receive row, parent, action and node of each leaf, and its last row the remaining.
    """
    count = 0
    for b in range(len(batch.headers)):
        entry[REMAINING, b] = min(remaining[b], MAX_REMAINING)
        if batch.stop_codes[b] == RUNNING:
            count = select_in_row(batch, b, remaining[b], entry, count)
    return count


@inlined
def expand_and_backpropagate(batch: Batch, row: Any, node: Any, *numbers: Any) -> int:
    """Write K answers and back them up; arguments and result are those of `write_answers`."""
    bad = write_answers(batch.nodes, batch.headers, batch.priors, row, node, *numbers)
    closing = batch.settings[0].close_terminal > 0
    for k in range(len(node) if bad < 0 else bad):
        leaf = node[k]
        nodes, header, settings = batch.nodes[row[k]], batch.headers[row[k]], batch.settings[0]
        if nodes[leaf].status == DUPLICATE:
            resolve(nodes, header, leaf)
            parent = nodes[leaf].parent
            if closing and nodes[parent].open_children == 0 and not can_expand(nodes, settings, parent):
                mark_exhausted(nodes, header, settings, parent)
            continue
        header.in_flight -= 1
        backpropagate(nodes, header, settings, leaf, nodes[leaf].prior_value, 1)
        if closing and (nodes[leaf].terminal != ONGOING or nodes[leaf].next_action < 0):
            mark_exhausted(nodes, header, settings, leaf)
    return bad


@njit
def principal_variation(block: Any, b: int, node: int, by_value: bool) -> int:
    """The last node of the principal variation of row b from `node` on.

    Each step takes the most visited child (ties: the larger Q, the lower action), or by value that of the largest Q.
    """
    nodes = view_nodes(block)[b]
    while True:
        best = -1
        child = nodes[node].first_child
        while child >= 0:
            if nodes[child].status == EVALUATED and (best < 0 or preferred(nodes[child], nodes[best], by_value)):
                best = child
            child = nodes[child].next_sibling
        if best < 0:
            return node
        node = best


@njit
def preferred(child: Any, other: Any, by_value: bool) -> bool:
    """Whether the principal variation goes to `child` rather than to its sibling `other`."""
    if not by_value and child.visits != other.visits:
        return bool(child.visits > other.visits)
    if child.q != other.q:
        return bool(child.q > other.q)
    return bool(child.action < other.action)


@njit
def root_visits(block: Any, visits: Any) -> None:
    """Write the visits of the roots' children into `visits` [B, A] by action."""
    nodes, headers = view_nodes(block), view_headers(block)
    for b in range(len(headers)):
        child = nodes[b, headers[b].root].first_child
        while child >= 0:
            here = nodes[b, child]
            if here.status == EVALUATED:
                visits[b, here.action] = here.visits
            child = here.next_sibling


@njit
def set_root_prior(block: Any, priors: Any, b: int) -> None:
    """Write the changed priors of row b's root into its children, and find its next action by them."""
    nodes, header = view_nodes(block)[b], view_headers(block)[b]
    root = nodes[header.root]
    child = root.first_child
    while child >= 0:
        if nodes[child].status == EVALUATED:
            nodes[child].prior = priors[b, header.root, nodes[child].action]
        child = nodes[child].next_sibling
    root.next_action, root.opened_out_of_order = -1, 1
    find_next_action(nodes, priors[b], header.root)


@njit
def advance_root(block: Any, b: int, action: int) -> None:
    """Make the child of row b's root by `action` its root; -1 where it was never evaluated or is terminal."""
    nodes, header = view_nodes(block)[b], view_headers(block)[b]
    child = child_at(nodes, header.root, action)
    if child < 0 or nodes[child].terminal != ONGOING:
        header.root = -1
    else:
        reroot(nodes, header, child)


@njit
def reroot(nodes: Any, header: Any, child: int) -> None:
    """Make `child` the root and free all nodes that are not below it; no id changes.

    Path returns and path discounts are computed anew from this root: relative to the first one their differences would
    lose all digits after many decisions.
    """
    header.root = child
    nodes[child].parent, nodes[child].next_sibling = -1, -1
    nodes[child].path_return, nodes[child].path_discount = 0.0, 1.0
    keep = subtree(nodes, child)
    header.free_list = -1
    for node in range(header.next_id - 1, -1, -1):
        if not keep[node]:
            free(nodes, header, node)


@njit
def subtree(nodes: Any, top: int) -> Any:
    """Which nodes of a row are `top` or below it, bool [N]; sets path return and path discount of those below."""
    below = np.zeros(len(nodes) - 1, np.bool_)
    below[top] = True
    node = top
    while True:
        if nodes[node].first_child >= 0:
            node = nodes[node].first_child
        else:
            while node != top and nodes[node].next_sibling < 0:
                node = nodes[node].parent
            if node == top:
                return below
            node = nodes[node].next_sibling
        below[node] = True
        set_path(nodes[node], nodes[nodes[node].parent])
