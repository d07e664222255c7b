"""The search core: planners, searches, trees and drivers that know nothing of any world."""

from .beam import BFS, Beam
from .constraints import Masked, Penalised
from .disturbance import Disturbed
from .driver import Outcome, aplan, first_actions, plan, receding_horizon
from .elites import EliteActions, elites
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
from .mixing import ValueMixing
from .policy_prior import PolicyPrior
from .polish import Given, Polished
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
    "Disturbed",
    "EliteActions",
    "Expansion",
    "Finished",
    "Given",
    "GradientShooting",
    "Leaves",
    "Ledger",
    "Masked",
    "Model",
    "ModelError",
    "Outcome",
    "Penalised",
    "Plan",
    "Planner",
    "PolicyPrior",
    "Polished",
    "Returns",
    "Search",
    "Size",
    "Slots",
    "ValueMixing",
    "aplan",
    "elites",
    "first_actions",
    "keys_of",
    "plan",
    "receding_horizon",
]
