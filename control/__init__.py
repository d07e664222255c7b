"""Control: physical systems, learned models of them, and agents that plan with either.

dynamics/: physical systems as batched torch functions.
nets/: building blocks of neural networks.
gym_spaces.py: observations, rewards and actions between planners and environments.
policies/: from observations to actions: random actions, model predictive control.
envs.py: gymnasium environments of the dynamics, and environments in lock step.
recognition.py: whether an environment is one whose equations are known.
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
from .dynamics import Bouncer, CartPole, Dynamics, Pendulum, Reacher, SwingUp
from .envs import BatchedEnv, DynamicsEnv
from .episodes import Decision, Episodes, iterate_decisions, random_episodes, run_episodes
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
    task_of_env,
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
    LearnedModel,
    MLPConfig,
    MLPModel,
    MujocoSimulator,
    ResidualModel,
    Simulator,
    SimulatorModel,
    config_for,
    fit_ensemble,
    fit_mlp,
    fit_residual,
    load_model,
)

__all__ = [  # noqa: RUF022, grouped by use
    # tasks and environments
    "TASKS",
    "PENDULUM",
    "CARTPOLE",
    "BOUNCER",
    "SWINGUP",
    "REACHER",
    "ControlTask",
    "task_named",
    "task_of_env",
    "View",
    "view",
    "view_of",
    "describe",
    "BatchedEnv",
    "DynamicsEnv",
    # equations of motion
    "Dynamics",
    "Pendulum",
    "CartPole",
    "Bouncer",
    "SwingUp",
    "Reacher",
    # models
    "AnalyticModel",
    "MLPModel",
    "EnsembleModel",
    "ResidualModel",
    "DisagreementPenalty",
    "SimulatorModel",
    "Simulator",
    "MujocoSimulator",
    "LearnedModel",
    "load_model",
    # learning models
    "Transitions",
    "collect",
    "join",
    "MLPConfig",
    "EnsembleConfig",
    "Fit",
    "config_for",
    "fit_mlp",
    "fit_ensemble",
    "fit_residual",
    "PETS",
    # terminal values
    "GridValue",
    "pendulum_value",
    "BalanceValue",
    # policies and episodes
    "Policy",
    "FunctionPolicy",
    "RandomPolicy",
    "random_policy",
    "MPCPolicy",
    "run_episodes",
    "random_episodes",
    "iterate_decisions",
    "Episodes",
    "Decision",
]
