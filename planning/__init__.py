"""The search core: planners, searches, trees and drivers that know nothing of any world."""

from .beam import BFS, Beam
from .driver import Outcome, aplan, first_actions, plan, receding_horizon
from .interface import (
    UNITS,
    AsyncModel,
    Box,
    Candidates,
    Expansion,
    Finished,
    Leaves,
    Model,
    ModelError,
    Plan,
    Planner,
    Returns,
    Search,
    Size,
    Slots,
)
from .keys import keys_of
from .ledger import Budget, Ledger
from .mcts import MCTS
from .shooting import CEM, MPPI, BestOfN

__all__ = [
    "BFS",
    "CEM",
    "MCTS",
    "MPPI",
    "UNITS",
    "AsyncModel",
    "Beam",
    "BestOfN",
    "Box",
    "Budget",
    "Candidates",
    "Expansion",
    "Finished",
    "Leaves",
    "Ledger",
    "Model",
    "ModelError",
    "Outcome",
    "Plan",
    "Planner",
    "Returns",
    "Search",
    "Size",
    "Slots",
    "aplan",
    "first_actions",
    "keys_of",
    "plan",
    "receding_horizon",
]
