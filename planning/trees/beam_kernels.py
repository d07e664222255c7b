"""The passes of beam search as kernels: open a layer, keep the best of what it reached, go on with the next.

A pass goes from the root to the deepest layer; the next one, with wider limits, starts at the root again. Layers that
an earlier pass has opened cost nothing. A row's arrays are those of `nodes.py` and its frontier, int32 [2, N]: its row
NODE_ID holds the ids of the states that the layer is opened from, its row SUBTREE the sub-beam that each belongs to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiled import inlined, njit, record_type
from .leaves import open_action
from .nodes import BUDGET, EVALUATED, EXHAUSTED, ONGOING, RUNNING, STALLED, path_value, view_headers, view_nodes

NODE_ID, SUBTREE = range(2)
"""Rows of a frontier."""

PASS = record_type(
    [
        ("beam", "i4"),  # most states that a layer keeps, of each sub-beam
        ("width", "i4"),  # most distinct children of a state
        ("layer", "i4"),  # depth of the frontier
        ("frontier_size", "i4"),  # number of states in the frontier
        ("beam_cut", "i4"),  # 1: in this pass a wider beam would have kept more states
        ("width_cut", "i4"),  # 1: in this pass a larger width would have opened more children
        ("deepest", "i4"),  # deepest layer that any pass has completed
    ]
)
"""How far a row's pass has come; Python passes int32 words."""

BEAM_SETTINGS = record_type(
    [
        ("grow_beam", "i8"),  # 1: the beam doubles from pass to pass
        ("grow_width", "i8"),  # 1: the width doubles from pass to pass
        ("horizon", "i8"),  # deepest layer, 0: no limit
        ("subtrees", "i8"),  # children of the root with a sub-beam of their own, 1: one beam for all
        ("limit", "i8"),  # largest beam or width
    ]
)
"""One record for all rows of a search; Python passes int64 words."""


@inlined
def restart(header: Any, state: Any, frontier: Any) -> None:
    """Begin a pass at the root."""
    state.layer, state.frontier_size, state.beam_cut, state.width_cut = 0, 1, 0, 0
    frontier[NODE_ID, 0], frontier[SUBTREE, 0] = header.root, 0


@njit
def start_passes(block: Any, passes: Any, frontiers: Any) -> None:
    """Begin a pass in every row: passes int32 [B * 7 words], frontiers [B, 2, N]."""
    headers, states = view_headers(block), passes.view(PASS)
    for b in range(len(headers)):
        restart(headers[b], states[b], frontiers[b])


@inlined
def open_layer(
    nodes: Any, header: Any, priors: Any, state: Any, settings: Any, frontier: Any, remaining: int, out: Any
) -> tuple[int, bool]:
    """Open the children that the frontier's states still lack, the best state first, with at most 2 width samples each.

    Writes parent, action and node of each into the last rows of out [4, ...]; returns their number, and whether the
    the remaining nodes or the ids ran out.
    """
    width = settings.subtrees if settings.subtrees > 1 and state.layer == 0 else state.width
    opened = 0
    for k in range(state.frontier_size):
        node = frontier[NODE_ID, k]
        here = nodes[node]
        while here.next_action >= 0 and here.children < width and here.samples < 2 * width:
            child = open_action(nodes, header, priors, node, here.next_action) if opened < remaining else -1
            if child < 0:
                return opened, True
            out[1, opened], out[2, opened], out[3, opened] = node, nodes[child].action, child
            opened += 1
    return opened, False


@inlined
def insert_by_action(nodes: Any, candidates: Any, start: int, found: int, child: int) -> None:
    """Insert `child` among the siblings candidates[NODE_ID, start:found], which are sorted by action."""
    at = found
    while at > start and nodes[candidates[NODE_ID, at - 1]].action > nodes[child].action:
        candidates[NODE_ID, at] = candidates[NODE_ID, at - 1]
        at -= 1
    candidates[NODE_ID, at] = child


@inlined
def gather_candidates(nodes: Any, state: Any, settings: Any, frontier: Any, candidates: Any, cost: Any) -> int:
    """Write the frontier's ongoing children into candidates [2, N], by parent and action; returns their number.

    cost [N] receives minus their path values.
    """
    splits = settings.subtrees > 1 and state.layer == 0
    found = 0
    for k in range(state.frontier_size):
        here, start = nodes[frontier[NODE_ID, k]], found
        if here.next_action >= 0 and not splits:
            state.width_cut = 1
        child = here.first_child
        while child >= 0:
            if nodes[child].status == EVALUATED and nodes[child].terminal == ONGOING:
                insert_by_action(nodes, candidates, start, found, child)
                found += 1
            child = nodes[child].next_sibling
        for at in range(start, found):
            candidates[SUBTREE, at] = at if splits else frontier[SUBTREE, k]
            cost[at] = -path_value(nodes[candidates[NODE_ID, at]])
    return found


@inlined
def keep_best(nodes: Any, header: Any, state: Any, settings: Any, frontier: Any) -> None:
    """Make the best ongoing states of the completed layer, at most `beam` of each sub-beam, the frontier.

    Ties go to the child of the better parent, then to the lower action, so that the result depends neither on the order
    of answers nor on drops.
    """
    candidates, cost = np.empty((2, header.next_id), np.int32), np.empty(header.next_id)
    found = gather_candidates(nodes, state, settings, frontier, candidates, cost)
    state.layer += 1
    state.deepest = max(state.deepest, state.layer)
    members = np.zeros(max(settings.subtrees, 1), np.int32)
    kept = 0
    for at in np.argsort(cost[:found], kind="mergesort"):
        subtree = candidates[SUBTREE, at]
        if members[subtree] < state.beam:
            members[subtree] += 1
            frontier[NODE_ID, kept], frontier[SUBTREE, kept] = candidates[NODE_ID, at], subtree
            kept += 1
    if kept < found:
        state.beam_cut = 1
    state.frontier_size = kept


@inlined
def increase_width(state: Any, settings: Any) -> int:
    """RUNNING with the next pair of beam and width, (1, 1) (1, 2) (2, 2) (2, 4) (4, 4) ..., or why the row stops.

    A pass that left nothing out has opened all there is, and one with given limits is the only one.
    """
    by_beam, by_width = settings.grow_beam > 0, settings.grow_width > 0
    if not ((by_beam and state.beam_cut == 1) or (by_width and state.width_cut == 1)):
        return EXHAUSTED
    widen = by_width and (not by_beam or state.width <= state.beam)
    if (state.width if widen else state.beam) >= settings.limit:
        return STALLED
    if widen:
        state.width = min(2 * state.width, settings.limit)
    else:
        state.beam = min(2 * state.beam, settings.limit)
    return RUNNING


@inlined
def open_next_layer(
    nodes: Any, header: Any, priors: Any, state: Any, settings: Any, frontier: Any, remaining: int, out: Any
) -> tuple[int, int]:
    """Go on in one row until a layer has something to open; how many leaves were opened and the row's stop code."""
    if nodes[header.root].terminal != ONGOING:
        return 0, EXHAUSTED
    while True:
        opened, cut = open_layer(nodes, header, priors, state, settings, frontier, remaining, out)
        if opened > 0:
            return opened, RUNNING
        if cut:
            return 0, BUDGET
        keep_best(nodes, header, state, settings, frontier)
        if state.frontier_size == 0 or state.layer == settings.horizon:
            code = increase_width(state, settings)
            restart(header, state, frontier)
            if code != RUNNING:
                return 0, code


@njit
def next_layers(
    block: Any, priors: Any, passes: Any, settings: Any, frontiers: Any, remaining: Any, stop_codes: Any, out: Any
) -> Any:
    """Open the next layer of every running row that waits for no answer; int32 [4, K] (row, parent, action, node).

    block [B, N + 1, WORDS], priors [B, N, A], passes int32 [B * 7], settings int64 [5], frontiers [B, 2, N], room and
    stop_codes [B]; out [4, B * N] is scratch memory.
    """
    nodes, headers, states = view_nodes(block), view_headers(block), passes.view(PASS)
    limits = settings.view(BEAM_SETTINGS)[0]
    count = 0
    for b in range(len(headers)):
        if stop_codes[b] == RUNNING and headers[b].in_flight == 0:
            opened, stop_codes[b] = open_next_layer(
                nodes[b], headers[b], priors[b], states[b], limits, frontiers[b], remaining[b], out[:, count:]
            )
            out[0, count : count + opened] = b
            count += opened
    return out[:, :count].copy()
