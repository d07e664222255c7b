"""Planners by the names of the command line, with the settings that text wants; no model is called here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..planning import CEM, MCTS, MPPI, BestOfN, PathSettings
from ..planning.beam import Beam
from ..planning.rebase import Rebase
from .tasks.base import BadInput

UNITS_OF_BUDGET = {"nodes": "nodes", "calls": "model_calls", "tokens": "generated_tokens", "seconds": "seconds"}
"""The units of the command line and what the ledger calls them."""


@dataclass(frozen=True)
class Method:
    """A planner over text.

    vote: the answer is the most frequent one of all finished solutions, not the plan's. greedy: temperature 0.
    steady: its course does not depend on the budget in nodes, so that a smaller one can be read off a larger run.
    siblings: it asks for all children of a state at once, as a value that compares them wants it.
    """

    name: str
    planner: Any
    vote: bool = False
    greedy: bool = False
    steady: bool = False
    siblings: bool = False


def _greedy(width: int, steps: int) -> Method:
    return Method("greedy", BestOfN(population=1, paths=PathSettings(evaluate="none")), greedy=True, steady=True)


def _self_consistency(width: int, steps: int) -> Method:
    return Method("self_consistency", BestOfN(paths=PathSettings(evaluate="none")), vote=True, steady=True)


def _shooting(name: str) -> Callable[[int, int], Method]:
    def make(width: int, steps: int) -> Method:
        return Method(name, {"best_of_n": BestOfN, "cem": CEM, "mppi": MPPI}[name](), steady=name == "best_of_n")

    return make


def _mcts(name: str, **settings: Any) -> Callable[[int, int], Method]:
    def make(width: int, steps: int) -> Method:
        return Method(name, MCTS(width=width, **settings), steady=name != "gumbel")

    return make


def _bfs(width: int, steps: int) -> Method:
    return Method("bfs", Beam())


def _beam(width: int, steps: int) -> Method:
    return Method("beam", Beam(beam=width, children=width), siblings=True)


def _dvts(width: int, steps: int) -> Method:
    return Method("dvts", Beam(trees=width))


def _rebase(width: int, steps: int) -> Method:
    return Method("rebase", Rebase(), siblings=True)


METHODS: dict[str, Callable[[int, int], Method]] = {
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


def check_names(names: Sequence[str], known: Sequence[str], what: str) -> None:
    """BadInput that lists what exists, for the first name that does not, and for one given twice."""
    for name in names:
        if name not in known:
            raise BadInput(f"no {what} {name!r}; there are {', '.join(known)}")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise BadInput(f"{what} {twice[0]!r} is given twice")
