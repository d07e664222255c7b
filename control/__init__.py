"""Control: physical systems, learned models of them, and agents that plan with either.

dynamics/: physical systems as batched torch functions.
nets/: building blocks of neural networks.
policies/: from observations to actions: random actions, model predictive control.
envs.py: gymnasium environments of the dynamics, and environments in lock step.
data/: experience from environments and its collector.
world_models/: models that planners ask, analytic and learned.
values/: value functions for terminal values.
tasks.py: the control tasks and how each planner sees their models.
episodes.py: whole episodes under model predictive control.
agents/: trainings that collect, learn and plan in turn.

Imports go down this list only, from each entry to those above it; `dynamics`, `nets` and `policies` do not import each
other.
"""

from .agents.pets import PETS
from .data.collector import collect
from .data.transitions import Transitions, join
from .dynamics import Bouncer, CartPole, Pendulum, Reacher, SwingUp
from .envs import BatchedEnv, DynamicsEnv
from .episodes import Episodes, iterate_decisions, random_episodes, run_episodes
from .policies.base import FunctionPolicy, Policy
from .policies.mpc import MPCPolicy
from .policies.random import RandomPolicy, random_policy
from .tasks import (
    BOUNCER,
    CARTPOLE,
    PENDULUM,
    REACHER,
    SWINGUP,
    TASKS,
    ControlTask,
    View,
    describe,
    task_named,
    view,
    view_of,
)
from .values.grid_value import GridValue, pendulum_value
from .values.lqr_value import BalanceValue
from .world_models import (
    AnalyticModel,
    DisagreementPenalty,
    EnsembleConfig,
    EnsembleModel,
    Fit,
    MLPConfig,
    MLPModel,
    ResidualModel,
    config_for,
    fit_ensemble,
    fit_mlp,
    fit_residual,
    load_model,
)

__all__ = [
    "BOUNCER",
    "CARTPOLE",
    "PENDULUM",
    "PETS",
    "REACHER",
    "SWINGUP",
    "TASKS",
    "AnalyticModel",
    "BalanceValue",
    "BatchedEnv",
    "Bouncer",
    "CartPole",
    "ControlTask",
    "DisagreementPenalty",
    "DynamicsEnv",
    "EnsembleConfig",
    "EnsembleModel",
    "Episodes",
    "Fit",
    "FunctionPolicy",
    "GridValue",
    "MLPConfig",
    "MLPModel",
    "MPCPolicy",
    "Pendulum",
    "Policy",
    "RandomPolicy",
    "Reacher",
    "ResidualModel",
    "SwingUp",
    "Transitions",
    "View",
    "collect",
    "config_for",
    "describe",
    "fit_ensemble",
    "fit_mlp",
    "fit_residual",
    "iterate_decisions",
    "join",
    "load_model",
    "pendulum_value",
    "random_episodes",
    "random_policy",
    "run_episodes",
    "task_named",
    "view",
    "view_of",
]
