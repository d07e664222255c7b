"""The candidates of best-of-N, CEM and MPPI over indexed actions, as kernels.

A candidate is a path from the root that draws an action at each node (`categorical.py`), and waits where the node that
it has reached is not evaluated yet. What is asked, told and refitted when is in `paths.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiled import inlined, njit, record_type, uncounted
from .categorical import PATHS_SETTINGS, draw_edge, uniform
from .leaves import cancel, open_action
from .nodes import (
    AWAITED,
    BUDGET,
    DEAD_END,
    EVALUATED,
    EXHAUSTED,
    ONGOING,
    RUNNING,
    path_value,
    view_headers,
    view_nodes,
)

ITERATION = record_type(
    [
        ("goal", "i4"),  # candidates of this iteration
        ("started", "i4"),  # candidates of this iteration that have started
        ("active", "i4"),  # candidates that have started and not ended
        ("first_active", "i4"),  # place of the first candidate that may be active
        ("drawn", "i4"),  # candidates started in all iterations
        ("iteration", "i4"),  # iterations before this one
        ("opened", "i4"),  # edges opened in this iteration
        ("idle_iterations", "i4"),  # iterations in succession that opened no edge
        ("idle_candidates", "i4"),  # candidates in succession that opened no edge
        ("best", "i4"),  # leaf of the best candidate, -1: none
    ]
)
"""How far a row's iteration has come; Python passes int32 words."""

CANDIDATE = record_type(
    [
        ("node", "i4"),  # id of the node that the candidate has reached
        ("ended", "i4"),  # 1: the candidate has ended
        ("opened", "i4"),  # edges that the candidate has opened
    ]
)
"""One path that is being drawn; Python passes int32 words."""

PATIENCE = 64
"""After so many candidates in succession that opened no edge, if these are two whole iterations, a row has stalled."""


class Row(NamedTuple):
    """All arrays of one row of a search."""

    nodes: Any  # `NODE` [N + 1]
    header: Any  # one `HEADER`
    priors: Any  # float32 [N, A]
    counts: Any  # float64 [N], the counts of the categoricals
    state: Any  # one `ITERATION`
    candidates: Any  # `CANDIDATE` [K]
    scores: Any  # float64 [K], the returns of the candidates that have ended
    settings: Any  # one `PATHS_SETTINGS`
    key: Any  # uint64, the row's key


@njit
def path_return(node: Any) -> float:
    """The return of a candidate that ends at `node`: its path value, minus infinity for a dead end."""
    return -np.inf if node.terminal == DEAD_END else path_value(node)


@inlined
def end_candidate(row: Row, k: int) -> None:
    """Score candidate k, which has come to its end, and count it along its path."""
    nodes, state, scores = row.nodes, row.state, row.scores
    leaf = row.candidates[k].node
    row.candidates[k].ended = 1
    scores[k] = path_return(nodes[leaf])
    if scores[k] > -np.inf and (state.best < 0 or scores[k] > path_return(nodes[state.best])):
        state.best = leaf
    state.active -= 1
    state.idle_candidates = state.idle_candidates + 1 if row.candidates[k].opened == 0 else 0
    node = leaf
    while node >= 0:
        nodes[node].visits += 1
        node = nodes[node].parent


@inlined
def step_candidate(row: Row, k: int, remaining: int) -> int:
    """Move candidate k on until it waits for an answer or ends; the leaf if it opened one, else -1."""
    nodes, state, candidate, horizon = row.nodes, row.state, row.candidates[k], row.settings.horizon
    number = state.drawn - state.started + k
    while True:
        here = nodes[candidate.node]
        if here.status == AWAITED:
            return -1
        if here.duplicate_of >= 0:
            candidate.node = here.duplicate_of
            continue
        if here.terminal != ONGOING or here.depth == horizon > 0:
            end_candidate(row, k)
            return -1
        u = uniform(row.key, number, here.depth)
        child, action = draw_edge(nodes, row.priors, row.counts, row.settings, candidate.node, u)
        if child < 0 and action < 0:
            end_candidate(row, k)
            return -1
        if child < 0:
            child = open_action(nodes, row.header, row.priors, candidate.node, action) if remaining > 0 else -1
            if child < 0:
                return -1
            candidate.node = child
            candidate.opened += 1
            state.opened += 1
            return child
        candidate.node = child


@inlined
def steps_left(row: Row, k: int) -> int:
    """The most edges that candidate k may still open; 0 once it has ended or without a horizon."""
    if row.candidates[k].ended == 1 or row.settings.horizon == 0:
        return 0
    return row.settings.horizon - row.nodes[row.candidates[k].node].depth


@inlined
def start_candidate(row: Row, remaining: int, reserved: int) -> bool:
    """Start one more candidate at the root if the remaining nodes that are not reserved for others allow a whole path.

    A candidate that is alone starts with any remainder.
    """
    state, settings = row.state, row.settings
    if state.started >= state.goal or state.active >= settings.parallel or remaining <= 0:
        return False
    if state.active > 0 and remaining - reserved < max(settings.horizon, 1):
        return False
    if row.nodes[row.header.root].exhausted == 1:
        return False
    new = row.candidates[state.started]
    new.node, new.ended, new.opened = row.header.root, 0, 0
    state.started += 1
    state.active += 1
    state.drawn += 1
    return True


@inlined
def step_row(row: Row, remaining: int, out: Any) -> int:
    """Move the candidates of a row on until all wait, starting new ones where the budget allows.

    Writes parent, action and node of each leaf into the last rows of out [4, ...]; returns their number.
    """
    nodes, state = row.nodes, row.state
    opened, reserved = 0, -1
    k = state.first_active
    while True:
        if k == state.started:
            if reserved < 0:
                reserved = 0
                for other in range(state.first_active, state.started):
                    reserved += steps_left(row, other)
            if not start_candidate(row, remaining - opened, reserved):
                return opened
        if row.candidates[k].ended == 0:
            leaf = step_candidate(row, k, remaining - opened)
            if leaf >= 0:
                out[1, opened], out[2, opened], out[3, opened] = nodes[leaf].parent, nodes[leaf].action, leaf
                opened += 1
            if reserved >= 0:
                reserved += steps_left(row, k)
        if k == state.first_active and row.candidates[k].ended == 1:
            state.first_active += 1
        k += 1


@inlined
def iteration_over(state: Any) -> bool:
    """Whether all candidates of the iteration have ended."""
    return bool(state.active == 0 and state.started == state.goal)


@njit
def step_candidates(
    block: Any, priors: Any, counts: Any, iterations: Any, candidates: Any, scores: Any, settings: Any, keys: Any,
    remaining: Any, stop_codes: Any, out: Any, count: int,
) -> int:  # fmt: skip
    """Move the candidates of every running row on until they wait for answers or their iteration is over.

    block [B, N + 1, WORDS], priors [B, N, A], counts [B, N], iterations int32 [B * 10], candidates int32 [B, K * 3],
    scores [B, K], settings int64 [5], keys, remaining and stop_codes [B]. Writes the leaves (row, parent, action, node)
    into out [4, ...] from column `count` on; returns the next free column.
    """
    block, priors = uncounted(block, np.int32), uncounted(priors, np.float32)
    counts, scores = uncounted(counts, np.float64), uncounted(scores, np.float64)
    candidates = uncounted(candidates, np.int32)
    nodes, headers, states = view_nodes(block), view_headers(block), iterations.view(ITERATION)
    for b in range(len(headers)):
        if stop_codes[b] != RUNNING or iteration_over(states[b]):
            continue
        row = Row(
            nodes[b], headers[b], priors[b], counts[b], states[b], candidates[b].view(CANDIDATE), scores[b],
            settings.view(PATHS_SETTINGS)[0], keys[b],
        )  # fmt: skip
        opened = step_row(row, remaining[b], out[:, count:])
        out[0, count : count + opened] = b
        count += opened
        if nodes[b, headers[b].root].exhausted == 1 and states[b].active == 0:
            stop_codes[b] = EXHAUSTED
        elif opened == 0 and headers[b].in_flight == 0 and not iteration_over(states[b]):
            stop_codes[b] = BUDGET
    return count


@njit
def mark_exhausted(block: Any, settings: Any, row: Any, node: Any) -> None:
    """Mark what can be drawn no further after K answers (row [K], node [K]), and ancestors with nothing left.

    settings int64 [5]. The visits of the leaves, which here count candidates, are set to 0.
    """
    trees, horizon = view_nodes(block), settings.view(PATHS_SETTINGS)[0].horizon
    for k in range(len(node)):
        nodes, n = trees[row[k]], node[k]
        here = nodes[n]
        here.visits = 0
        if here.status == EVALUATED:
            if not (here.terminal != ONGOING or here.depth == horizon > 0 or here.next_action < 0):
                continue
            here.exhausted = 1
            nodes[here.parent].open_children -= 1
        n = here.parent
        while nodes[n].open_children == 0 and nodes[n].next_action < 0 and nodes[n].exhausted == 0:
            nodes[n].exhausted = 1
            if nodes[n].parent < 0:
                break
            n = nodes[n].parent
            nodes[n].open_children -= 1


@njit
def rewind(block: Any, priors: Any, iterations: Any, candidates: Any, b: int, leaf: int) -> bool:
    """Cancel a leaf of row b; candidates that waited for it go back to its parent, where they will draw it again.

    iterations int32 [B * 10], candidates int32 [B, K * 3]. False if the leaf is not awaited.
    """
    nodes, header, state = view_nodes(block)[b], view_headers(block)[b], iterations.view(ITERATION)[b]
    if leaf < 0 or leaf >= len(nodes) - 1 or nodes[leaf].status != AWAITED:
        return False
    of_row = candidates[b].view(CANDIDATE)
    for k in range(state.first_active, state.started):
        if of_row[k].ended == 0 and of_row[k].node == leaf:
            of_row[k].node = nodes[leaf].parent
    return cancel(nodes, header, priors[b], leaf)
