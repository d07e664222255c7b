"""How leaves come and go: an action is opened, its leaf evaluated, found to be a duplicate, or cancelled.

The first functions work on one row, those from `first_not_awaited` on take K answers at once. The row's arrays are
described in `nodes.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiled import inlined, njit
from .nodes import (
    AWAITED,
    DEAD_END,
    DUPLICATE,
    EVALUATED,
    ONGOING,
    SOLVED,
    add_virtual_visits,
    allocate,
    find_next_action,
    free,
    resolve,
    set_path,
    update_min_max,
    view_headers,
    view_nodes,
)

NEGATIVE_DISCOUNT = -2
"""The result of `answer_leaves` for answers that a search without an opponent cannot take."""


@njit
def open_action(nodes: Any, header: Any, priors: Any, parent: int, action: int) -> int:
    """Open `action` of `parent` and count its leaf as in flight; the leaf's id, -1 if all ids are in use."""
    leaf = link_leaf(nodes, header, priors, parent, action)
    if leaf >= 0:
        add_virtual_visits(nodes, parent, 1)
    return leaf


@inlined
def link_leaf(nodes: Any, header: Any, priors: Any, parent: int, action: int) -> int:
    """`open_action` for a caller that has added the virtual visits of the leaf already."""
    leaf = allocate(nodes, header)
    if leaf < 0:
        return -1
    new, above = nodes[leaf], nodes[parent]
    clear(new)
    new.parent, new.action, new.status = parent, action, AWAITED
    new.depth = above.depth + 1
    new.multiplicity = 1
    new.prior = priors[parent, action] if priors.shape[1] > 0 else 1.0
    new.next_sibling = above.first_child
    above.first_child = leaf
    above.samples += 1
    above.children += 1
    above.open_children += 1
    if action == above.next_action:
        find_next_action(nodes, priors, parent)
    else:
        above.opened_out_of_order = 1
    header.in_flight += 1
    return leaf


@inlined
def clear(node: Any) -> None:
    """Set all fields to those of a node without evaluation and children."""
    node.exhausted, node.visits, node.pending, node.event_index, node.terminal = 0, 0, 0, 0, 0
    node.open_children, node.children, node.samples, node.opened_out_of_order = 0, 0, 0, 0
    node.first_child, node.duplicate_of, node.next_action = -1, -1, -1
    node.reward, node.discount, node.value, node.prior_value = 0.0, 0.0, 0.0, 0.0
    node.q, node.next_prior, node.path_return, node.path_discount = 0.0, 0.0, 0.0, 0.0


@inlined
def unlink(nodes: Any, leaf: int) -> None:
    """Take a leaf out of its parent's list of children."""
    following, parent = nodes[leaf].next_sibling, nodes[leaf].parent
    if nodes[parent].first_child == leaf:
        nodes[parent].first_child = following
        return
    child = nodes[parent].first_child
    while nodes[child].next_sibling != leaf:
        child = nodes[child].next_sibling
    nodes[child].next_sibling = following


@njit
def cancel(nodes: Any, header: Any, priors: Any, leaf: int) -> bool:
    """Undo `open_action` and free the leaf's id; False if the leaf is not awaited."""
    if leaf < 0 or leaf >= len(nodes) - 1 or nodes[leaf].status != AWAITED:
        return False
    resolve(nodes, header, leaf)
    unlink(nodes, leaf)
    parent = nodes[leaf].parent
    above = nodes[parent]
    above.samples -= 1
    above.children -= 1
    above.open_children -= 1
    above.opened_out_of_order = 1
    find_next_action(nodes, priors, parent)
    free(nodes, header, leaf)
    return True


@njit
def cancel_leaf(block: Any, priors: Any, b: int, leaf: int) -> bool:
    """`cancel` in row b of a block [B, N + 1, WORDS] with priors [B, N, A]."""
    return cancel(view_nodes(block)[b], view_headers(block)[b], priors[b], leaf)


@inlined
def set_priors(priors: Any, node: int, logits: Any, k: int) -> None:
    """Set a node's priors [A] to the softmax of logits [k], -1 where a logit is not finite; uniform without logits."""
    actions = priors.shape[1]
    if logits.shape[1] == 0:
        for action in range(actions):
            priors[node, action] = np.float32(1.0) / np.float32(actions)
        return
    top = np.float32(-np.inf)
    for action in range(actions):
        if logits[k, action] > top and logits[k, action] < np.inf:
            top = logits[k, action]
    total = np.float32(0.0)
    for action in range(actions):
        logit = logits[k, action]
        if logit > -np.inf and logit < np.inf:
            mass = np.exp(logit - top)
            priors[node, action] = mass
            total += mass
        else:
            priors[node, action] = -1.0
    for action in range(actions):
        if priors[node, action] >= 0:
            priors[node, action] /= total


@inlined
def evaluate_node(
    nodes: Any, header: Any, node: int, reward: float, discount: float, value: float, dead_end: bool
) -> None:
    """Write the model's numbers of an awaited node.

    A node with a number that is not finite becomes a dead end whose reward is the least edge value seen, so that one
    faulty answer can neither attract the search nor spread through the tree.
    """
    finite = np.isfinite(reward) and np.isfinite(discount) and np.isfinite(value)
    if not finite:
        header.non_finite += 1
        low = header.q_min
        reward = low if np.isfinite(low) else min(nodes[header.root].prior_value, 0.0)
        discount = 0.0
    terminal = discount == 0
    if terminal:
        value = 0.0
    here, above = nodes[node], nodes[nodes[node].parent]
    here.status = EVALUATED
    here.terminal = (DEAD_END if dead_end or not finite else SOLVED) if terminal else ONGOING
    header.solutions += here.terminal == SOLVED
    header.event_count += 1
    here.event_index = header.event_count
    here.reward, here.discount = reward, discount
    here.prior_value, here.value = value, value
    here.q = here.reward + here.discount * here.value  # from the stored float32 numbers, as `backpropagate` computes it
    set_path(here, above)
    here.visits = 1
    update_min_max(header, here.q)


@inlined
def mark_duplicate(nodes: Any, header: Any, node: int, original: int) -> None:
    """Record that `node` is the same state as its earlier sibling `original`, which takes over its prior."""
    here, kept, above = nodes[node], nodes[original], nodes[nodes[node].parent]
    here.status = DUPLICATE
    here.duplicate_of = original
    here.exhausted = 1
    kept.multiplicity += 1
    kept.prior += here.prior
    above.children -= 1
    above.open_children -= 1
    header.duplicates += 1
    header.event_count += 1
    here.event_index = header.event_count


@inlined
def first_not_awaited(nodes: Any, row: Any, node: Any) -> int:
    """Position of the first of the leaves (row [K], node [K]) that is not awaited, -1 if all are."""
    for k in range(len(node)):
        b, n = row[k], node[k]
        if b < 0 or b >= nodes.shape[0] or n < 0 or n >= nodes.shape[1] - 1 or nodes[b, n].status != AWAITED:
            return k
    return -1


@inlined
def write_answers(
    nodes: Any, headers: Any, priors: Any, row: Any, node: Any, reward: Any, discount: Any, value: Any, logits: Any,
    duplicate_of: Any, dead_end: Any,
) -> int:  # fmt: skip
    """Evaluate K awaited leaves or mark them as duplicates; their pending visits stay for the caller to remove.

    nodes [B, N + 1], headers [B], priors [B, N, A]; row, node, reward, discount, value [K]; logits [K, A] or [0, 0];
    duplicate_of and dead_end [K] or [0]. Returns the position of the first leaf that is not awaited, before any is
    written, or of a leaf's second occurrence; -1 if all were written.
    """
    bad = first_not_awaited(nodes, row, node)
    if bad >= 0:
        return bad
    for k in range(len(node)):
        b, n = row[k], node[k]
        if nodes[b, n].status != AWAITED:
            return k
        if len(duplicate_of) > 0 and duplicate_of[k] >= 0:
            mark_duplicate(nodes[b], headers[b], n, duplicate_of[k])
            continue
        set_priors(priors[b], n, logits, k)
        evaluate_node(nodes[b], headers[b], n, reward[k], discount[k], value[k], len(dead_end) > 0 and dead_end[k])
        find_next_action(nodes[b], priors[b], n)
    return -1


@njit
def answer_leaves(block: Any, priors: Any, row: Any, node: Any, *numbers: Any) -> int:
    """`write_answers` for searches that back nothing up; also removes the leaves' pending visits.

    Returns NEGATIVE_DISCOUNT, and writes nothing, where a discount is negative: the next move is an opponent's.
    """
    nodes, headers = view_nodes(block), view_headers(block)
    for discount in numbers[1]:
        if discount < 0:
            return NEGATIVE_DISCOUNT
    bad = write_answers(nodes, headers, priors, row, node, *numbers)
    for k in range(len(node) if bad < 0 else bad):
        resolve(nodes[row[k]], headers[row[k]], node[k])
    return bad


@inlined
def init_root(nodes: Any, header: Any, priors: Any, discount: float, value: float) -> None:
    """Make node 0 the root of an empty row; a value that is not finite counts as 0."""
    header.next_id, header.free_list = 1, -1
    header.q_min, header.q_max = np.inf, -np.inf
    root = nodes[0]
    root.parent, root.first_child, root.next_sibling, root.next_action = -1, -1, -1, -1
    root.status, root.visits, root.multiplicity, root.duplicate_of = EVALUATED, 1, 1, -1
    root.terminal = SOLVED if discount == 0 else ONGOING
    if np.isfinite(value):
        root.prior_value, root.value = value, value
    root.discount = discount
    root.path_discount, root.prior = 1.0, 1.0
    find_next_action(nodes, priors, 0)


@njit
def init_roots(block: Any, priors: Any, discount: Any, value: Any, logits: Any) -> int:
    """`init_root` in every row, from discount and value [B] and logits [B, A] or [0, 0].

    Returns how many values are finite.
    """
    nodes, headers = view_nodes(block), view_headers(block)
    finite = 0
    for b in range(len(headers)):
        set_priors(priors[b], 0, logits, b)
        init_root(nodes[b], headers[b], priors[b], discount[b], value[b])
        finite += np.isfinite(value[b])
    return finite
