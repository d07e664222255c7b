"""The distribution that candidates over indexed actions are drawn from: a categorical at each node of a tree.

| | an edge is drawn with mass |
|---|---|
| `DiscreteActions(n)` | prior x softmax(logits) + count; without counts softmax(logits) alone |
| `SampledActions()` | count; prior on a fresh sample (the next action never drawn); without counts a fresh sample |

Counts are the candidates' weights, scaled by 1 / (sum of squared weights) so that k equal elites count k, and added up
along their paths. So candidate i of a best-of-N over text takes action i of the root and action 0 from there on; one
that is led to a state that others have left (`duplicate_of`) takes its next action, so that samples stay independent.

The random number of a draw is a function of the row's key, the candidate's number and the depth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiled import njit, record_type
from ..noise import GOLDEN, mixed
from .nodes import EVALUATED, child_at, view_headers, view_nodes

PATHS_SETTINGS = record_type(
    [
        ("horizon", "i8"),  # longest path, 0: to its end
        ("parallel", "i8"),  # most active candidates of a row
        ("width", "i8"),  # most distinct children of a node, 0: no limit
        ("refits", "i8"),  # 1: counts are refitted
        ("prior", "f8"),  # mass of the prior beside the counts
    ]
)
"""One record for all rows of a search; Python passes int64 words."""


@njit
def uniform(key: Any, candidate: int, depth: int) -> float:
    """The number in [0, 1) that `noise.uniforms(key, candidate, depth, dtype=float64)` returns."""
    golden = np.uint64(GOLDEN)
    x = mixed(key + np.uint64(candidate + 1) * golden)
    x = mixed(x + np.uint64(depth + 1) * golden)
    return float(x >> np.uint64(11)) * 2.0**-53


@njit
def sample_action(priors: Any, node: int, u: float) -> int:
    """The action that u in [0, 1) falls on under the node's priors; -1 where it has no actions."""
    total, last = 0.0, -1
    for action in range(priors.shape[1]):
        if priors[node, action] >= 0:
            total += priors[node, action]
            last = action
    u *= total
    for action in range(priors.shape[1]):
        if priors[node, action] >= 0:
            u -= priors[node, action]
            if u < 0:
                return action
    return last


@njit
def sample_child(nodes: Any, counts: Any, node: int, u: float, even: bool) -> int:
    """The evaluated child that u in [0, total) falls on, in order of actions, by counts [N]; even: by 1 each."""
    last, chosen = -1, -1
    while True:
        following, child = -1, nodes[node].first_child
        while child >= 0:
            here = nodes[child]
            drawable = here.status == EVALUATED and (even or counts[child] > 0) and here.action > last
            if drawable and (following < 0 or here.action < nodes[following].action):
                following = child
            child = here.next_sibling
        if following < 0:
            return chosen
        chosen, last = following, nodes[following].action
        u -= 1.0 if even else counts[following]
        if u < 0:
            return chosen


@njit
def draw_edge(nodes: Any, priors: Any, counts: Any, settings: Any, node: int, u: float) -> tuple[int, int]:
    """How a candidate goes on from `node` by u in [0, 1).

    (child, -1) along an edge that is opened, (-1, action) to open one, (-1, -1) where the node offers none.
    """
    here, unbounded = nodes[node], priors.shape[1] == 0
    mass_of_counts, evaluated = 0.0, 0
    child = here.first_child
    while child >= 0:
        if nodes[child].status == EVALUATED:
            mass_of_counts += counts[child]
            evaluated += 1
        child = nodes[child].next_sibling
    mass, width = settings.prior, settings.width
    if unbounded and width > 0 and (here.children >= width or here.samples >= 2 * width):
        mass = 0.0
        if mass_of_counts <= 0 and evaluated > 0:
            return sample_child(nodes, counts, node, u * evaluated, True), -1
    if mass_of_counts <= 0:
        mass = 1.0
    u *= mass + mass_of_counts
    if u >= mass:
        return sample_child(nodes, counts, node, u - mass, False), -1
    if unbounded:
        return -1, here.next_action
    action = sample_action(priors, node, u / mass)
    child = child_at(nodes, node, action)
    return (child, -1) if child >= 0 else (-1, action)


@njit
def refit(block: Any, counts: Any, b: int, leaves: Any, weights: Any, smoothing: float) -> None:
    """Refit the counts [B, N] of row b to candidates that end at `leaves` [K] with `weights` [K].

    Old counts are multiplied by `smoothing`; (1 - smoothing) weights / (sum of squared weights) is added along the
    paths.
    """
    nodes, header = view_nodes(block)[b], view_headers(block)[b]
    squares = 0.0
    for k in range(len(leaves)):
        squares += weights[k] ** 2
    if squares <= 0:
        return
    for n in range(header.next_id):
        counts[b, n] *= smoothing
    for k in range(len(leaves)):
        node = leaves[k]
        while node >= 0 and weights[k] > 0:
            counts[b, node] += (1 - smoothing) * weights[k] / squares
            node = nodes[node].parent
