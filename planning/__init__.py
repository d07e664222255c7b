"""The search core: planners, searches and drivers, which know the contract of a model and no particular model.

interface.py     the contract between models, planners, searches and drivers; read it first
messages.py      queries, answers and plans
spaces.py        action spaces
usage.py         the units of cost
noise.py         random numbers as functions of a key and of counters
compiled.py      numba's compiler where it is installed
fingerprint.py   short hashes of models and data
exp2.py          powers of 2 in compiled loops
states.py        where states are stored
budget.py        budgets, and the ledger of what was reserved, charged and spent
rollout.py       stepping a model along action sequences
scoring.py       how candidates rank under a constraint
event_log.py     the compact log of a running tree search
journal.py       journals of searches: run again, saved and loaded
vectors/         what searches over sequences of action vectors share
sampling/        the Gaussian over sequences
trajopt/         planners that use derivatives
trees/           planners that search trees
settings_checks.py  checks of settings
shooting_settings.py  settings of the shooting planners by kind of action
shooting.py      best-of-N, CEM, iCEM and MPPI
chained.py       one planner warm-started by another's plan
policy_prior.py  a policy's plan to begin a search with
wrappers/        models that change one thing of another model
driver.py        `plan`, `aplan` and `receding_horizon`
testing/         conformance checks, and problems with known answers
"""

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
from .wrappers.action_repeat import ActionRepeat
from .wrappers.constraints import Masked, Penalised
from .wrappers.discretized_actions import DiscretizedActions
from .wrappers.disturbance import NoisyActions
from .wrappers.elite_actions import EliteActions, elites
from .wrappers.lambda_return import LambdaReturn
from .wrappers.rollout_value import RolloutValue
from .wrappers.terminal_value import TerminalValue

__all__ = [
    "BFS",
    "CEM",
    "DDP",
    "ICEM",
    "ILQR",
    "MCTS",
    "MPPI",
    "UNITS",
    "ActionRepeat",
    "AsyncModel",
    "Beam",
    "BestOfN",
    "BoxActions",
    "Budget",
    "DiscreteActions",
    "DiscretizedActions",
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
    "RolloutValue",
    "SampledActions",
    "Search",
    "SequenceQuery",
    "Size",
    "TerminalValue",
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
