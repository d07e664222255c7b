"""The kernel of reward balanced search, which opens the children of one state."""

from __future__ import annotations

from typing import Any

from ..compiled import njit
from .leaves import open_action
from .nodes import view_headers, view_nodes


@njit
def open_children(block: Any, priors: Any, b: int, node: int, width: int, out: Any) -> tuple[int, bool]:
    """Open the children that `node` of row b lacks of `width` distinct ones, with at most 2 width samples.

    Writes their actions and ids into out int32 [2, most]; returns their number, and whether `out` or the ids ran out.
    """
    nodes, header = view_nodes(block)[b], view_headers(block)[b]
    here, opened = nodes[node], 0
    while here.next_action >= 0 and here.children < width and here.samples < 2 * width:
        action = here.next_action
        child = open_action(nodes, header, priors[b], node, action) if opened < out.shape[1] else -1
        if child < 0:
            return opened, True
        out[0, opened], out[1, opened] = action, child
        opened += 1
    return opened, False
