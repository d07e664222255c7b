"""Planners over text by their command-line names, and the names of budget units and answer rules; calls no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..planning import CEM, MCTS, MPPI, BestOfN, PathSettings, Planner
from ..planning.beam import Beam
from ..planning.rebase import Rebase
from .tasks.base import BadInput

UNITS_OF_BUDGET = {"nodes": "nodes", "calls": "model_calls", "tokens": "generated_tokens", "seconds": "seconds"}
"""The units of `--unit` and their names in a usage ledger."""

ANSWER_RULES = ("best", "majority", "weighted", "visits")
"""The values of `--answer-by`; `records/answer_selection.py` defines what each of them selects."""


@dataclass(frozen=True)
class TextPlanner:
    """A planner over text with what the runner has to know about it.

    majority_vote: the answer is the most frequent one among all finished solutions, not the plan's.
    greedy: the model samples at temperature 0.
    anytime: decisions do not depend on the node budget, so results at smaller budgets can be read from a larger run.
    expands_siblings: it asks for all children of a state at once, as values that compare siblings require.
    """

    name: str
    planner: Planner
    majority_vote: bool = False
    greedy: bool = False
    anytime: bool = False
    expands_siblings: bool = False


def _greedy(width: int, steps: int) -> TextPlanner:
    return TextPlanner("greedy", BestOfN(population=1, paths=PathSettings(evaluate="none")), greedy=True, anytime=True)


def _self_consistency(width: int, steps: int) -> TextPlanner:
    return TextPlanner(
        "self_consistency", BestOfN(paths=PathSettings(evaluate="none")), majority_vote=True, anytime=True
    )


def _shooting(name: str) -> Callable[[int, int], TextPlanner]:
    def make(width: int, steps: int) -> TextPlanner:
        return TextPlanner(name, {"best_of_n": BestOfN, "cem": CEM, "mppi": MPPI}[name](), anytime=name == "best_of_n")

    return make


def _mcts(name: str, **settings: Any) -> Callable[[int, int], TextPlanner]:
    def make(width: int, steps: int) -> TextPlanner:
        return TextPlanner(name, MCTS(width=width, **settings), anytime=name != "gumbel")

    return make


def _bfs(width: int, steps: int) -> TextPlanner:
    return TextPlanner("bfs", Beam())


def _beam(width: int, steps: int) -> TextPlanner:
    return TextPlanner("beam", Beam(beam=width, children=width), expands_siblings=True)


def _dvts(width: int, steps: int) -> TextPlanner:
    return TextPlanner("dvts", Beam(trees=width))


def _rebase(width: int, steps: int) -> TextPlanner:
    return TextPlanner("rebase", Rebase(), expands_siblings=True)


TEXT_PLANNERS: dict[str, Callable[[int, int], TextPlanner]] = {
    "greedy": _greedy,
    "self_consistency": _self_consistency,
    "best_of_n": _shooting("best_of_n"),
    "bfs": _bfs,
    "beam": _beam,
    "dvts": _dvts,
    "rebase": _rebase,
    "mcts": _mcts("mcts"),
    "uct": _mcts("uct", selection="uct"),
    "puct": _mcts("puct", selection="puct"),
    "gumbel": _mcts("gumbel", selection="gumbel"),
    "cem": _shooting("cem"),
    "mppi": _shooting("mppi"),
}
"""Each makes its planner from the width of a tree search and the most steps of a solution."""


def check_names(names: Sequence[str], known: Sequence[str], what: str) -> None:
    """Errors: BadInput for the first name that is not known, listing those that are, and for a repeated name."""
    for name in names:
        if name not in known:
            raise BadInput(f"no {what} {name!r}; there are {', '.join(known)}")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise BadInput(f"{what} {twice[0]!r} is given twice")
