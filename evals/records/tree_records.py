"""A search tree as plain data for the report's viewer and for later analysis: numbers and a text for each node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...llm.text.state import TextState
from ...planning import records as words
from ...planning.driver import Outcome
from ...planning.tree import Tree
from ...planning.tree_search import TreeSearch
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
    for node in tree.told(0):
        usage = outcome.node_usage.get((0, node))
        tokens = 0.0 if usage is None else float(usage[_TOKENS].sum())
        nodes.append(_node(tree, node, text_of(state_at(outcome, node)), tokens))
    return {"path": [int(node) for node in outcome.plan.path[0]], "columns": list(COLUMNS), "nodes": nodes}


def _node(tree: Tree, node: int, text: str, tokens: float) -> list[Any]:
    whole, real = tree.I[0, node], tree.F[0, node]
    merged = whole[words.STATUS] == words.MERGED
    return [
        node, int(whole[words.PARENT]), int(whole[words.SLOT]), int(whole[words.VISITS]),
        _short(real[words.RAW]), _short(real[words.MEAN]), _short(real[words.REWARD]), _short(real[words.DISCOUNT]),
        int(whole[words.ORDER]), text.strip("\n"), _short(tokens),
        int(whole[words.SAME_AS]) if merged else -1, int(whole[words.TERMINAL]),
    ]  # fmt: skip


def _short(number: float) -> float:
    """Rounded to the four significant digits that the viewer shows."""
    return float(f"{float(number):.4g}")
