"""A search's tree as a small record for the viewer and for later analysis: one line of numbers and a text per node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...planning import records as words
from ...planning.usage import GENERATED_TOKENS, PROMPT_TOKENS, VALUE_TOKENS

COLUMNS = (
    "node",
    "parent",
    "slot",
    "visits",
    "value",
    "mean",
    "reward",
    "discount",
    "order",
    "text",
    "tokens",
    "same",
    "end",
)
"""`value` is what the model said of the node, `mean` what the search made of it, `tokens` all that the node was charged
`same` the earlier sibling that it turned out to be, or -1, and `end` 1 for a solution, 2 for a dead end, else 0."""

_TOKENS = [GENERATED_TOKENS, PROMPT_TOKENS, VALUE_TOKENS]


def record(outcome: Any, text: Callable[[Any], str]) -> dict[str, Any] | None:
    """The tree of a one-problem outcome, None where the search has none. text: what is written at a state."""
    tree = getattr(outcome.search, "tree", None)
    if tree is None:
        return None
    root = int(tree.root[0])
    nodes = [_node(tree, root, "", 0.0)]
    for node in tree.told(0):
        usage = outcome.node_usage.get((0, node))
        tokens = 0.0 if usage is None else float(usage[_TOKENS].sum())
        nodes.append(_node(tree, node, text(outcome.states.states[0, node]), tokens))
    return {"path": [int(node) for node in outcome.plan.path[0]], "columns": list(COLUMNS), "nodes": nodes}


def _node(tree: Any, node: int, text: str, tokens: float) -> list[Any]:
    whole, real = tree.I[0, node], tree.F[0, node]
    merged = whole[words.STATUS] == words.MERGED
    return [
        node, int(whole[words.PARENT]), int(whole[words.SLOT]), int(whole[words.VISITS]),
        _short(real[words.RAW]), _short(real[words.MEAN]), _short(real[words.REWARD]), _short(real[words.DISCOUNT]),
        int(whole[words.ORDER]), text.strip("\n"), _short(tokens),
        int(whole[words.SAME_AS]) if merged else -1, int(whole[words.TERMINAL]),
    ]  # fmt: skip


def _short(number: Any) -> float:
    """Four significant digits are all a viewer shows."""
    return float(f"{float(number):.4g}")
