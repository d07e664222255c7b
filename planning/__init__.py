"""The search core: planners, searches, trees and drivers that know nothing of any world."""

from .budget import Budget, Ledger
from .chained import WarmStarted, fixed_plan
from .driver import Outcome, aplan, first_actions, plan, receding_horizon
from .interface import (
    UNITS,
    AsyncModel,
    BoxActions,
    DiscreteActions,
    EdgeQuery,
    Expansion,
    Finished,
    IndexedActions,
    Model,
    ModelError,
    Plan,
    Planner,
    Returns,
    SampledActions,
    Search,
    SequenceQuery,
    Size,
)
from .noise import keys_of
from .policy_prior import PolicyPrior
from .shooting import CEM, ICEM, MPPI, BestOfN
from .shooting_settings import GaussianSettings, PathSettings
from .trajopt.gradient import GradientShooting
from .trajopt.ilqr import DDP, ILQR
from .trees.beam import BFS, Beam
from .trees.mcts import MCTS, GumbelSettings, WideningSettings
from .wrappers.constraints import Masked, Penalised
from .wrappers.disturbance import NoisyActions
from .wrappers.elite_actions import EliteActions, elites
from .wrappers.lambda_return import LambdaReturn

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
    "BoxActions",
    "Budget",
    "DiscreteActions",
    "EdgeQuery",
    "EliteActions",
    "Expansion",
    "Finished",
    "GaussianSettings",
    "GradientShooting",
    "GumbelSettings",
    "IndexedActions",
    "LambdaReturn",
    "Ledger",
    "Masked",
    "Model",
    "ModelError",
    "NoisyActions",
    "Outcome",
    "PathSettings",
    "Penalised",
    "Plan",
    "Planner",
    "PolicyPrior",
    "Returns",
    "SampledActions",
    "Search",
    "SequenceQuery",
    "Size",
    "WarmStarted",
    "WideningSettings",
    "aplan",
    "elites",
    "first_actions",
    "fixed_plan",
    "keys_of",
    "plan",
    "receding_horizon",
]
