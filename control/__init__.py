"""Control: physical systems, learned models of them, and agents that plan with either."""

from .agents import MPCAgent
from .collect import collect, random_policy
from .dynamics import CartPole, Pendulum
from .episodes import Episodes, random_episodes, run_episodes
from .models import (
    AnalyticModel,
    EnsembleConfig,
    EnsembleModel,
    Fit,
    GridActions,
    Hold,
    MLPConfig,
    MLPModel,
    ResidualModel,
    WithValue,
    config_for,
    fit_ensemble,
    fit_mlp,
    fit_residual,
    load_model,
)
from .tasks import CARTPOLE, PENDULUM, TASKS, ControlTask, View, describe, task_named, view, view_of
from .transitions import Transitions, join
from .values import BalanceValue, GridValue, pendulum_value

__all__ = [
    "CARTPOLE",
    "PENDULUM",
    "TASKS",
    "AnalyticModel",
    "BalanceValue",
    "CartPole",
    "ControlTask",
    "EnsembleConfig",
    "EnsembleModel",
    "Episodes",
    "Fit",
    "GridActions",
    "GridValue",
    "Hold",
    "MLPConfig",
    "MLPModel",
    "MPCAgent",
    "Pendulum",
    "ResidualModel",
    "Transitions",
    "View",
    "WithValue",
    "collect",
    "config_for",
    "describe",
    "fit_ensemble",
    "fit_mlp",
    "fit_residual",
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
