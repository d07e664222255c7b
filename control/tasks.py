"""Control tasks: environments, and how each planner sees their models.

For each planner a task has a `View`: the number of values that a tree tries per action component, the action repeat,
and whether a terminal value is used. Reports name it. On Pendulum trees need a terminal value, since a value of 0 makes
shallow leaves look best. On CartPole every planner needs one, since within a short horizon all action sequences that
balance have the same return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from ..planning.interface import BoxActions, Model
from ..planning.shooting_settings import GaussianSettings
from ..planning.wrappers.action_repeat import ActionRepeat
from ..planning.wrappers.discretized_actions import DiscretizedActions
from ..planning.wrappers.terminal_value import TerminalValue, ValueFn
from .dynamics import Bouncer, CartPole, Dynamics, Pendulum, Reacher, SwingUp
from .envs import TIME_LIMITS
from .values.grid_value import pendulum_value
from .values.lqr_value import BalanceValue
from .world_models.analytic import AnalyticModel
from .world_models.ensemble.model import EnsembleModel
from .world_models.load import LearnedModel

WIDE = GaussianSettings(std=1.0)
"""CEM's initial deviation here is the whole half-range."""

WIDE_FIXED = GaussianSettings(std=1.0, adapt_std=False)
"""The same for best-of-N, which does not refit."""

PLANNERS = ("cem", "mppi", "mcts", "bfs", "best_of_n", "icem")
"""Planners for vectors and for discrete actions (trees plan vectors as `DiscretizedActions`)."""

DERIVATIVE_PLANNERS = ("ilqr", "ddp", "gradient", "lbfgs", "polished")
"""Planners for vectors only, through a model that can be differentiated."""


@dataclass(frozen=True)
class View:
    """How a planner sees a model.

    bins: values tried per component of an action vector, None for vectors as they are. action_repeat: steps that an
    action lasts. terminal_value: whether the task's value function gives the value of reached states.
    """

    bins: int | None = None
    action_repeat: int = 1
    terminal_value: bool = False


@dataclass(frozen=True)
class ControlTask:
    """An environment with its defaults.

    steps: the environment's time limit. horizon: steps that a shooting planner looks ahead.
    value: makes the value function of physical states or observations, None where there is none. value_name: its name
        in reports. value_from: makes it from a learned model instead, where that is possible, so that a planner with
        learned dynamics does not use the equations through its terminal value. gamma: the discount it is made for.
    views: by planner; planners that do not fit are absent. settings: by planner, keyword arguments for its class that
        suit this task; `polished` uses those of `cem` and `ilqr`.
    """

    name: str
    env_id: str
    dynamics: Dynamics
    steps: int
    horizon: int
    value: Callable[[], ValueFn] | None = None
    value_from: Callable[[LearnedModel], ValueFn] | None = None
    value_name: str = "none"
    gamma: float = 1.0
    views: Mapping[str, View] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def discrete(self) -> bool:
        return not isinstance(self.dynamics.actions, BoxActions)

    def analytic(self) -> AnalyticModel:
        """The equations as a model, undiscounted and without a terminal value, which a `View` adds."""
        return AnalyticModel(self.dynamics)


PENDULUM = ControlTask(
    name="pendulum",
    env_id=Pendulum.env_id,
    dynamics=Pendulum(),
    steps=200,
    horizon=20,
    value=cache(pendulum_value),
    value_name="GridValue (value iteration, 61 x 61)",
    gamma=0.99,
    views={
        name: View(bins=5, terminal_value=True) if name in ("mcts", "bfs") else View()
        for name in (*PLANNERS, *DERIVATIVE_PLANNERS)
    },
    settings={
        "cem": {"horizon": 20, "smoothing": 0.1, "vectors": WIDE},
        "mppi": {
            "horizon": 20,
            "vectors": GaussianSettings(std=0.75, adapt_std=False),
            "iterations": 3,
            "temperature": 0.5,
            "scale": "absolute",
        },
        "best_of_n": {"horizon": 20, "vectors": WIDE_FIXED},
        "mcts": {"leaves": 8},
        **{name: {"horizon": 20} for name in ("icem", "ilqr", "ddp", "gradient")},
        "lbfgs": {"horizon": 20, "optimiser": "lbfgs"},
    },
)
"""Gymnasium's Pendulum-v1: swing up and hold a pendulum with a torque in [-2, 2] N m."""

CARTPOLE = ControlTask(
    name="cartpole",
    env_id=CartPole.env_id,
    dynamics=CartPole(),
    steps=500,
    horizon=10,
    value=cache(lambda: BalanceValue(CartPole())),
    value_from=lambda model: BalanceValue(CartPole(), model=model),
    value_name="BalanceValue (LQR cost-to-go)",
    gamma=0.99,
    views={name: View(terminal_value=True) for name in PLANNERS},
    settings={name: {"horizon": 10} for name in ("cem", "mppi", "best_of_n", "icem")} | {"mcts": {"leaves": 8}},
)
"""Gymnasium's CartPole-v1: balance a pole by pushing the cart left or right."""


def task_of_dynamics(name: str, dynamics: Dynamics, horizon: int, bins: int) -> ControlTask:
    """A task of one of this package's environments (`envs.py`), without a terminal value.

    bins: values that trees try per action component.
    """
    shooting = {"horizon": horizon, "smoothing": 0.1, "vectors": WIDE}
    return ControlTask(
        name=name,
        env_id=dynamics.env_id,
        dynamics=dynamics,
        steps=TIME_LIMITS[dynamics.env_id],
        horizon=horizon,
        views={
            planner: View(bins=bins, action_repeat=2) if planner in ("mcts", "bfs") else View()
            for planner in (*PLANNERS, *DERIVATIVE_PLANNERS)
        },
        settings={
            "cem": shooting,
            "best_of_n": {"horizon": horizon, "vectors": WIDE_FIXED},
            "mcts": {"leaves": 8},
            **{name: {"horizon": horizon} for name in ("mppi", "icem", "ilqr", "ddp", "gradient")},
            "lbfgs": {"horizon": horizon, "optimiser": "lbfgs"},
        },
    )


BOUNCER = task_of_dynamics("bouncer", Bouncer(), 20, 3)
"""A pushed mass that bounces on a floor; contact makes its dynamics kink."""
SWINGUP = task_of_dynamics("swingup", SwingUp(), 25, 5)
"""A cart-pole that begins hanging and is to be swung up by a force."""
REACHER = task_of_dynamics("reacher", Reacher(), 15, 3)
"""An arm of two links whose tip is to reach a target by two torques."""

TASKS: dict[str, ControlTask] = {task.name: task for task in (PENDULUM, CARTPOLE, BOUNCER, SWINGUP, REACHER)}
"""The control tasks by name."""


def task_named(name: str) -> ControlTask:
    """The task of this name. Errors: ValueError that lists the names there are."""
    if name not in TASKS:
        raise ValueError(f"unknown control task {name!r}; there are {', '.join(TASKS)}")
    return TASKS[name]


def view(task: ControlTask, model: Model[Any], planner: str, **changes: Any) -> Model[Any]:
    """A model, analytic or learned, as `planner` sees it; `changes` are fields of `View` to set otherwise.

    The terminal value is the innermost wrapper, so that its gamma counts per step; the action repeat comes next, then
    the discretisation.

    Errors: ValueError for an unknown planner, or for bins where actions are discrete already.
    """
    settings = view_of(task, planner, **changes)
    if planner in DERIVATIVE_PLANNERS and isinstance(model, EnsembleModel):
        model = model.propagated("mean")  # the trajectories of several particles have no single feedback law
    if settings.terminal_value and task.value is not None:
        model = TerminalValue(model, terminal_value_for(task, task.value, model), task.gamma)
    if settings.action_repeat > 1:
        model = ActionRepeat(model, settings.action_repeat)
    return model if settings.bins is None else DiscretizedActions(model, settings.bins)


def terminal_value_for(task: ControlTask, value: Callable[[], ValueFn], model: Model[Any]) -> ValueFn:
    """The task's value function, made from the model where it is learned and the task can do so."""
    if task.value_from is not None and isinstance(model, LearnedModel):
        return task.value_from(model)
    return value()


def view_of(task: ControlTask, planner: str, **changes: Any) -> View:
    """The `View` of a planner, with `changes` to its fields.

    Errors: ValueError for an unknown planner, for a planner or bins that need vectors where actions are discrete, and
    for a terminal value where the task has none.
    """
    if planner in DERIVATIVE_PLANNERS and task.discrete:
        raise ValueError(
            f"{planner} plans vectors through derivatives, {task.name} has discrete actions; there are "
            f"{', '.join(task.views)}"
        )
    if planner not in task.views:
        raise ValueError(f"unknown planner {planner!r}; there are {', '.join(task.views)}")
    settings = replace(task.views[planner], **changes)
    if settings.terminal_value and task.value is None:
        raise ValueError(f"{task.name} has no terminal value")
    if task.discrete and settings.bins is not None:
        raise ValueError(f"{task.name} has discrete actions, bins cannot be set")
    return settings


def describe(task: ControlTask, planner: str, **changes: Any) -> str:
    """The view in words, for a report: "5 values a component, action repeat 4, terminal value GridValue (...)"."""
    settings = view_of(task, planner, **changes)
    words = ["vectors" if settings.bins is None else f"{settings.bins} values a component"]
    if task.discrete:
        words = ["the environment's actions"]
    if planner in DERIVATIVE_PLANNERS:
        words.append("through derivatives")
    if settings.action_repeat > 1:
        words.append(f"action repeat {settings.action_repeat}")
    words.append(f"terminal value {task.value_name}" if settings.terminal_value else "no terminal value")
    return ", ".join(words)
