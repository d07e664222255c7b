"""Which edge a simulation of Monte Carlo tree search follows: UCT, PUCT, Gumbel. Each convention changes visit counts.

| question | here | source |
|---|---|---|
| does a node's own evaluation count? | yes, it is visit 1, at the root too | MuZero pseudocode, mctx |
| PUCT | Q + P sqrt(N) / (1 + n) (c_init + log((N + c_base + 1) / c_base)) | MuZero, appendix B |
| UCT | Q + c sqrt(log N / n); an unopened action first, in order of falling prior | Kocsis and Szepesvari 2006 |
| Gumbel, root | argmax of g + logits + sigma(q) among edges with the visits of the halving | Danihelka et al. 2022 |
| Gumbel, below | argmax of softmax(logits + sigma(q)) - n / (1 + sum n) | ibid., equation 14 |
| Q of an edge | reward + discount x value of the child | MuZero, equation 3 |
| what normalises Q? | the range of edge values seen, of parent and siblings, or bounds; 0 if empty | MuZero B; mctx |
| an unvisited edge | its parent's value; "lowest" (`DiscreteActions` only): 0 normalised | Gelly, Wang 2006; MuZero |
| pending visits | count in N and n, not in Q | WU-UCT, Liu et al. 2020 |
| ties | the lower action | - |
| priors of `SampledActions()` | the share of samples that led to the child; 1 / width for the next sample | - |
| when is a new sample drawn? | while children < C N^alpha, or all children are exhausted | Couetoux et al. 2011 |
| a terminal state | exhausted and never visited again (`close`), or visited again with value 0 (`absorb`) | - |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import inlined, njit, record_type
from .nodes import AWAITED, DUPLICATE

UCT, PUCT, GUMBEL = range(3)
"""Selection rules."""

BY_TREE, BY_SIBLINGS, BY_BOUNDS = range(3)
"""What edge values are normalised by: those of the tree, those of the parent and its children, given bounds."""

MCTS_SETTINGS = record_type(
    [
        ("selection", "i8"),  # UCT, PUCT or GUMBEL
        ("c_uct", "f8"),  # UCT's exploration constant c
        ("c_init", "f8"),  # PUCT's constant c1
        ("c_base", "f8"),  # PUCT's constant c2
        ("normalisation", "i8"),  # BY_TREE, BY_SIBLINGS or BY_BOUNDS
        ("q_low", "f8"),  # lower bound of edge values for BY_BOUNDS
        ("q_high", "f8"),  # upper bound of edge values for BY_BOUNDS
        ("first_play_parent", "i8"),  # 1: an unvisited edge has its parent's value, 0: the lowest
        ("close_terminal", "i8"),  # 1: exhausted nodes are never visited again
        ("max_backup", "i8"),  # 1: a node's value is the largest of its edges, 0: the mean return
        ("width", "i8"),  # most distinct children of a node
        ("max_samples", "i8"),  # most opened actions of a node, duplicates included
        ("widening", "i8"),  # 1: progressive widening
        ("widening_c", "f8"),  # C of children < C N^alpha
        ("widening_alpha", "f8"),  # alpha of children < C N^alpha
        ("max_simulations", "i8"),  # most simulations of a row
        ("max_in_flight", "i8"),  # most leaves of a row in flight at once
        ("value_scale", "f8"),  # Gumbel's c_scale
        ("maxvisit_init", "f8"),  # Gumbel's c_visit
    ]
)
"""One record for all rows of a search."""

EDGE = record_type(
    [
        ("child", "i8"),  # id of the child, -1: unopened
        ("visits", "f8"),  # visits of the child, those in flight included
        ("log_prior", "f8"),  # log of the prior, -inf: not to be selected
        ("q", "f8"),  # completed Q: that of the edge if visited, else the mixed value
        ("sigma", "f8"),  # sigma(q), the completed Q on the scale of the logits
    ]
)
"""What Gumbel computes of one of a node's A actions; five 64-bit words."""


@inlined
def can_expand(nodes: Any, settings: Any, node: int) -> bool:
    """Whether a node has an unopened action that its limits let it open."""
    here = nodes[node]
    return here.next_action >= 0 and here.children < settings.width and here.samples < settings.max_samples


@inlined
def selectable(child: Any, settings: Any) -> bool:
    """Whether a simulation may go through the edge to this child."""
    return child.status != DUPLICATE and not (settings.close_terminal > 0 and child.exhausted == 1)


@inlined
def visits_with_pending(child: Any) -> int:
    """Visits of the edge to this child, those in flight included."""
    return child.visits + child.pending + (child.status == AWAITED)


@inlined
def q_range(nodes: Any, header: Any, settings: Any, node: int) -> tuple[float, float]:
    """The least and the largest value by which the edges of `node` are normalised."""
    if settings.normalisation == BY_BOUNDS:
        return settings.q_low, settings.q_high
    if settings.normalisation == BY_TREE:
        return header.q_min, header.q_max
    low = nodes[node].value
    high = low
    child = nodes[node].first_child
    while child >= 0:
        if nodes[child].visits > 0:
            low = min(low, nodes[child].q)
            high = max(high, nodes[child].q)
        child = nodes[child].next_sibling
    return low, high


@inlined
def may_widen(nodes: Any, settings: Any, node: int, total: int) -> bool:
    """Whether `node`, with `total` visits, can expand and progressive widening, if used, lets it."""
    expandable = can_expand(nodes, settings, node)
    if expandable and settings.widening > 0 and nodes[node].open_children > 0:
        return nodes[node].children < max(1.0, settings.widening_c * total**settings.widening_alpha)
    return expandable


@inlined
def best_edge(nodes: Any, header: Any, priors: Any, settings: Any, bonus: Any, node: int) -> tuple[int, int]:
    """UCT and PUCT: (child, -1) to go on, (-1, action) to open an action, (-1, -1) where nothing is selectable.

    bonus [most visits + 1] is `exploration_bonus`.
    """
    here = nodes[node]
    total = here.visits + here.pending
    expandable = may_widen(nodes, settings, node, total)
    uct, unbounded = settings.selection == UCT, priors.shape[1] == 0
    if expandable and (settings.widening > 0 or uct or here.open_children == 0):
        return -1, here.next_action
    low, high = q_range(nodes, header, settings, node)
    inv_range = 1.0 / (high - low) if high > low else 0.0
    fpu_value = (here.value - low) * inv_range if settings.first_play_parent > 0 and inv_range > 0 else 0.0
    scale = bonus[total]
    best, best_action, best_score = -1, -1, -np.inf
    child = here.first_child
    while child >= 0:
        edge = nodes[child]
        if selectable(edge, settings):
            n = visits_with_pending(edge)
            score = fpu_value
            if edge.visits > 0:
                score = (edge.q - low) * inv_range if inv_range > 0 else 0.0
            if uct:
                score += scale / np.sqrt(n)
            else:
                prior = edge.multiplicity / here.samples if unbounded else edge.prior
                score += scale * prior / (1 + n)
            if score > best_score or (score == best_score and edge.action < best_action):
                best, best_action, best_score = child, edge.action, score
        child = edge.next_sibling
    if expandable:
        prior = 1.0 / settings.width if unbounded else here.next_prior
        score = fpu_value + scale * prior
        if score > best_score or (score == best_score and here.next_action < best_action):
            return -1, here.next_action
    return best, -1


def exploration_bonus(settings: Any, most: int) -> NDArray[np.float64]:
    """The factor of the bonus that depends on a parent's visits N alone, for N = 0 .. most."""
    n = np.arange(most + 1)
    if settings.selection == UCT:
        return np.asarray(settings.c_uct * np.sqrt(np.log(np.maximum(n, 1))))
    c_init, c_base = settings.c_init, settings.c_base
    return np.asarray(np.sqrt(n) * (c_init + np.log((n + c_base + 1) / c_base)))


@njit
def completed_q_values(nodes: Any, priors: Any, settings: Any, node: int, edges: Any) -> None:
    """Fill `edges` [A] (`EDGE`) for Gumbel (Danihelka et al. 2022, equations 8 and 10, appendix D).

    The Q of unvisited edges is the mixed value, and sigma(q) = (maxvisit_init + max n) value_scale q.
    """
    for action in range(len(edges)):
        edge, prior = edges[action], priors[node, action]
        edge.child, edge.visits, edge.q = -1, 0.0, np.nan
        edge.log_prior = np.log(max(prior, np.float32(1e-38))) if prior >= 0 else -np.inf
    most, weight, mass, total = 0.0, 0.0, 0.0, 0.0
    child = nodes[node].first_child
    while child >= 0:
        here = nodes[child]
        edge, n = edges[here.action], visits_with_pending(here)
        edge.child, edge.visits = child, n
        if not selectable(here, settings):
            edge.log_prior = -np.inf
        if here.visits > 0:
            edge.q = here.q
            prior = max(priors[node, here.action], np.float32(1e-38))
            weight += prior * here.q
            mass += prior
        total += n
        most = max(most, n)
        child = here.next_sibling
    mixed = nodes[node].prior_value
    if mass > 0:
        mixed = (mixed + total * weight / mass) / (1 + total)
    scale_completed(edges, mixed, (settings.maxvisit_init + most) * settings.value_scale)


@inlined
def scale_completed(edges: Any, mixed: float, scale: float) -> None:
    """Give unvisited edges the value `mixed`, and set sigma(q) to q, normalised to [0, 1], times `scale`."""
    low, high = np.inf, -np.inf
    for action in range(len(edges)):
        edge = edges[action]
        if np.isnan(edge.q):
            edge.q = mixed
        low = min(low, edge.q)
        high = max(high, edge.q)
    span = high - low if high > low else 1.0
    for action in range(len(edges)):
        edges[action].sigma = scale * (edges[action].q - low) / span


@njit
def gumbel_edge(
    nodes: Any, header: Any, priors: Any, settings: Any, noise: Any, halving: Any, edges: Any, node: int
) -> tuple[int, int]:
    """Gumbel's selection, with the result of `best_edge`.

    noise [A] is the Gumbel noise of the root, halving [simulations] the visits of `halving_visits`, edges [A] scratch.
    """
    completed_q_values(nodes, priors, settings, node, edges)
    if node == header.root:
        simulation = min(nodes[node].visits + nodes[node].pending - 1, len(halving) - 1)
        best = best_of_root(edges, noise, halving[simulation])
    else:
        best = best_below_root(edges)
    if best < 0:
        return -1, -1
    child = edges[best].child
    return (child, -1) if child >= 0 else (-1, best)


@inlined
def best_of_root(edges: Any, noise: Any, visits: int) -> int:
    """The action of the largest g + logits + sigma(q) among those with `visits` visits, among all if there is none."""
    best, best_score = -1, -np.inf
    for strict in range(2):
        for action in range(len(edges)):
            edge = edges[action]
            score = noise[action] + edge.log_prior + edge.sigma
            if score > best_score and (strict == 1 or edge.visits == visits):
                best, best_score = action, score
        if best >= 0:
            break
    return best


@inlined
def best_below_root(edges: Any) -> int:
    """The action whose share of the visits falls short of the improved policy the most; -1 for none."""
    top, mass, total = -np.inf, 0.0, 0.0
    for action in range(len(edges)):
        top = max(top, edges[action].log_prior + edges[action].sigma)
        total += edges[action].visits
    for action in range(len(edges)):
        mass += np.exp(edges[action].log_prior + edges[action].sigma - top)
    best, best_score = -1, -np.inf
    for action in range(len(edges)):
        edge = edges[action]
        score = np.exp(edge.log_prior + edge.sigma - top) / mass - edge.visits / (1 + total)
        if score > best_score and edge.log_prior > -np.inf:
            best, best_score = action, score
    return best


def halving_visits(considered: int, simulations: int) -> list[int]:
    """The visits that an edge of the root must have to be selected, for each of `simulations` simulations.

    Sequential halving over `considered` actions (Danihelka et al. 2022, algorithm 2; mctx `seq_halving.py`).
    """
    if considered <= 1:
        return list(range(simulations))
    rounds = int(np.ceil(np.log2(considered)))
    sequence: list[int] = []
    visits, left = [0] * considered, considered
    while len(sequence) < simulations:
        for _ in range(max(1, int(simulations / (rounds * left)))):
            sequence.extend(visits[:left])
            visits[:left] = [v + 1 for v in visits[:left]]
        left = max(2, left // 2)
    return sequence[:simulations]
