"""A search tree as plain data for the report's viewer and for later analysis: numbers and a text for each node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...llm.text.state import TextState
from ...planning.driver import Outcome
from ...planning.trees.base import TreeSearch
from ...planning.trees.nodes import DUPLICATE
from ...planning.trees.tree import Tree
from ...planning.usage import GENERATED_TOKENS, PROMPT_TOKENS, VALUE_TOKENS

COLUMNS = (
    "node",
    "parent",
    "slot",
    "visits",
    "prior_value",
    "value",
    "reward",
    "discount",
    "order",
    "text",
    "tokens",
    "duplicate_of",
    "terminal",
)
"""The columns of a node.

`prior_value` is the model's value of the state, `value` the search's mean return from it; `order` counts evaluations;
`tokens` is all that was charged to the node; `duplicate_of` is the earlier sibling with the same text, -1 where there
is none; `terminal` is 1 for a solution, 2 for a dead end and 0 otherwise.
"""

_TOKENS = [GENERATED_TOKENS, PROMPT_TOKENS, VALUE_TOKENS]


def state_at(outcome: Outcome[list[TextState]], node: int) -> TextState:
    """The state of a node of a one-problem outcome over text."""
    (state,) = outcome.states.get(np.zeros(1, np.int32), np.array([node], np.int32))
    return state


def tree_record(outcome: Outcome[list[TextState]], text_of: Callable[[Any], str]) -> dict[str, Any] | None:
    """The tree of a one-problem outcome, None for a search without one. text_of: the step that leads to a state."""
    if not isinstance(outcome.search, TreeSearch):
        return None
    tree = outcome.tree
    nodes = [_node(tree, int(tree.root[0]), "", 0.0)]
    for node in tree.evaluated(0):
        usage = outcome.node_usage.get((0, node))
        tokens = 0.0 if usage is None else float(usage[_TOKENS].sum())
        nodes.append(_node(tree, node, text_of(state_at(outcome, node)), tokens))
    return {"path": [int(node) for node in outcome.plan.path[0]], "columns": list(COLUMNS), "nodes": nodes}


def _node(tree: Tree, node: int, text: str, tokens: float) -> list[Any]:
    here = tree.nodes[0, node]
    return [
        node, int(here.parent), int(here.action), int(here.visits),
        _short(here.prior_value), _short(here.value), _short(here.reward), _short(here.discount),
        int(here.event_index), text.strip("\n"), _short(tokens),
        int(here.duplicate_of) if here.status == DUPLICATE else -1, int(here.terminal),
    ]  # fmt: skip


def _short(number: float) -> float:
    """Rounded to the four significant digits that the viewer shows."""
    return float(f"{float(number):.4g}")
