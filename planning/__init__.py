"""The search core: planners, searches and drivers, which know the contract of a model and no particular model.

interface.py     the contract between models, planners, searches and drivers; read it first
messages.py      queries, answers and plans
spaces.py        action spaces
usage.py         the units of cost
noise.py         random numbers as functions of a key and of counters
compiled.py      numba's compiler where it is installed
files.py         files that are written whole or not at all
tensor_file.py   tensors and settings in one file
differences.py   how two sets of settings differ
redaction.py     secrets taken out of texts
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
from .driver import Outcome, advance_search, aplan, first_actions, plan, receding_horizon
from .interface import (
    UNITS,
    Actions,
    AsyncModel,
    BoxActions,
    Constrained,
    DiscreteActions,
    EdgeQuery,
    Expansion,
    Finished,
    IndexedActions,
    Model,
    ModelError,
    Observed,
    Offering,
    Plan,
    Planner,
    Propagated,
    Remembering,
    Returns,
    SampledActions,
    Search,
    SelfAnswering,
    SequenceQuery,
    Size,
    Steppable,
    Stochastic,
    Usage,
    Valued,
    Vectorised,
    WarmStartable,
    offered,
)
from .noise import keys_of
from .policy_prior import PolicyPrior
from .rollout import rollout
from .shooting import CEM, ICEM, MPPI, BestOfN, Shooting
from .shooting_settings import GaussianSettings, PathSettings
from .testing.check_model import check_model
from .testing.check_search import SearchError, check_search
from .trajopt.gradient import GradientShooting
from .trajopt.ilqr import DDP, ILQR
from .trajopt.lqr import Regulator, dare, lqr
from .trees.beam import BFS, Beam
from .trees.mcts import MCTS, GumbelSettings, WideningSettings
from .trees.rebase import Rebase
from .trees.tree import Tree
from .wrappers.action_repeat import ActionRepeat
from .wrappers.base import ModelWrapper
from .wrappers.constraints import Masked, Penalised
from .wrappers.discretized_actions import DiscretizedActions
from .wrappers.disturbance import NoisyActions
from .wrappers.elite_actions import EliteActions, elites
from .wrappers.lambda_return import LambdaReturn
from .wrappers.rollout_value import RolloutValue, rollout_value
from .wrappers.terminal_value import TerminalValue

__all__ = [  # noqa: RUF022, grouped by use
    # to plan
    "plan",
    "aplan",
    "receding_horizon",
    "Budget",
    "Outcome",
    "Plan",
    "Finished",
    "Ledger",
    "Usage",
    "UNITS",
    "Tree",
    "first_actions",
    "advance_search",
    "keys_of",
    # planners
    "MCTS",
    "GumbelSettings",
    "WideningSettings",
    "BFS",
    "Beam",
    "Rebase",
    "BestOfN",
    "CEM",
    "ICEM",
    "MPPI",
    "Shooting",
    "GaussianSettings",
    "PathSettings",
    "ILQR",
    "DDP",
    "GradientShooting",
    "PolicyPrior",
    "WarmStarted",
    "fixed_plan",
    # the model interface
    "Model",
    "AsyncModel",
    "Expansion",
    "Actions",
    "DiscreteActions",
    "SampledActions",
    "BoxActions",
    "IndexedActions",
    "ModelError",
    "check_model",
    "rollout",
    # what a model may offer besides
    "Offering",
    "offered",
    "Steppable",
    "Vectorised",
    "Stochastic",
    "Constrained",
    "Propagated",
    "Remembering",
    "Valued",
    "Observed",
    # wrappers of models
    "ModelWrapper",
    "ActionRepeat",
    "DiscretizedActions",
    "TerminalValue",
    "RolloutValue",
    "rollout_value",
    "LambdaReturn",
    "Penalised",
    "Masked",
    "NoisyActions",
    "EliteActions",
    "elites",
    # the search interface
    "Planner",
    "Search",
    "EdgeQuery",
    "SequenceQuery",
    "Returns",
    "SelfAnswering",
    "Size",
    "WarmStartable",
    "check_search",
    "SearchError",
    # linear and quadratic control
    "lqr",
    "dare",
    "Regulator",
]
