"""The search core: planners, searches, trees and drivers that know nothing of any world."""

from .beam import BFS, Beam
from .driver import Outcome, aplan, first_actions, plan, receding_horizon
from .gradient import GradientShooting
from .ilqr import DDP, ILQR
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
from .polish import Polished
from .shooting import CEM, ICEM, MPPI, BestOfN

__all__ = [
    "BFS",
    "CEM",
    "DDP",
    "ICEM",
    "ILQR",
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
    "GradientShooting",
    "Leaves",
    "Ledger",
    "Model",
    "ModelError",
    "Outcome",
    "Plan",
    "Planner",
    "Polished",
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
