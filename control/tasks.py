"""Control tasks: environments, and how each kind of planner sees their models.

For each kind of planner (trees, sequences, derivatives) a task has a `View`: the number of values that a tree tries per
action component, the action repeat, and whether a terminal value is used. Reports name it. On Pendulum trees need a
terminal value, since a value of 0 makes shallow leaves look best. On CartPole every planner needs one, since within a
short horizon all action sequences that balance have the same return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import gymnasium

from ..planning.interface import ActionSpace, BoxActions, Model
from ..planning.shooting_settings import GaussianSettings
from ..planning.wrappers.action_repeat import ActionRepeat
from ..planning.wrappers.discretized_actions import DiscretizedActions
from ..planning.wrappers.terminal_value import TerminalValue, ValueFn
from .dynamics import Bouncer, CartPole, Dynamics, Pendulum, Reacher, SwingUp
from .envs import TIME_LIMITS
from .recognition import known_dynamics
from .values.grid_value import pendulum_value
from .values.lqr_value import BalanceValue
from .world_models.analytic import AnalyticModel
from .world_models.config import MLPConfig
from .world_models.ensemble.model import EnsembleModel
from .world_models.load import LearnedModel
from .world_models.spaces import config_for

Kind = Literal["trees", "sequences", "derivatives"]
"""What a planner searches over: indexed actions one by one, which are `DiscretizedActions` where the environment takes
vectors; sequences of the environment's own actions; sequences of vectors, through a differentiable model."""

DEFAULT_STEPS, DEFAULT_HORIZON = 200, 20
"""For environments without a task here: steps of an episode where they set no limit, and steps to look ahead."""


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

    dynamics: its equations, None where they are not known; then `space` says what its actions are. steps: the time
        limit. horizon: steps that planners of sequences look ahead.
    value: makes the value function of physical states or observations, None where there is none. value_name: its name
        in reports. value_from: makes it from a learned model instead, where that is possible, so that a planner with
        learned dynamics does not use the equations through its terminal value. gamma: the discount it is made for.
    views: by kind of planner; kinds that do not fit are absent. tuned: by the name of a planner, the keyword arguments
        with which it does better on this task than with its own.
    """

    name: str
    env_id: str
    dynamics: Dynamics | None
    steps: int
    horizon: int
    value: Callable[[], ValueFn] | None = None
    value_from: Callable[[LearnedModel], ValueFn] | None = None
    value_name: str = "none"
    gamma: float = 1.0
    views: Mapping[Kind, View] = field(default_factory=dict)
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    space: ActionSpace | None = None

    @property
    def discrete(self) -> bool:
        actions = self.space if self.dynamics is None else self.dynamics.actions
        return not isinstance(actions, BoxActions)

    def analytic(self) -> AnalyticModel:
        """The equations as a model, undiscounted and without a terminal value, which a `View` adds.

        Errors: ValueError where the equations are not known.
        """
        if self.dynamics is None:
            raise ValueError(f"the equations of {self.env_id} are not known; train a model of it")
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
    views={"trees": View(bins=5, terminal_value=True), "sequences": View(), "derivatives": View()},
    tuned={
        "mppi": {
            "vectors": GaussianSettings(std=0.75, adapt_std=False),
            "iterations": 3,
            "temperature": 0.5,
            "scale": "absolute",
        },
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
    views={"trees": View(terminal_value=True), "sequences": View(terminal_value=True)},
)
"""Gymnasium's CartPole-v1: balance a pole by pushing the cart left or right."""


def task_of_dynamics(name: str, dynamics: Dynamics, horizon: int, bins: int) -> ControlTask:
    """A task of one of this package's environments (`envs.py`), without a terminal value.

    bins: values that trees try per action component.
    """
    return ControlTask(
        name=name,
        env_id=dynamics.env_id,
        dynamics=dynamics,
        steps=TIME_LIMITS[dynamics.env_id],
        horizon=horizon,
        views=views_of_vectors(bins, action_repeat=2),
    )


def views_of_vectors(bins: int, action_repeat: int = 1) -> dict[Kind, View]:
    """The views of a task whose actions are vectors, without a terminal value; action_repeat: of trees."""
    return {"trees": View(bins=bins, action_repeat=action_repeat), "sequences": View(), "derivatives": View()}


def task_of_env(env_id: str, name: str = "") -> ControlTask:
    """A task of any gymnasium environment: 20 steps ahead, no terminal value, trees on discretised actions.

    name: in reports; by default `env_id`. Trees try 5 values of an action vector with one component, 3 of each of
    several. Planners need a learned model unless the equations are known (`recognition.py`).

    Errors: ValueError for spaces that no model can be learned of (`config_for`); gymnasium's for an unknown id.
    """
    limit, config = gymnasium.spec(env_id).max_episode_steps, config_for(env_id, MLPConfig)
    space = config.actions
    views: dict[Kind, View] = {"trees": View(), "sequences": View()}
    if isinstance(space, BoxActions):
        views = views_of_vectors(5 if len(space.low) == 1 else 3)
    return ControlTask(
        name or env_id,
        env_id,
        known_dynamics(env_id),
        limit or DEFAULT_STEPS,
        DEFAULT_HORIZON,
        views=views,
        space=space,
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


def view(task: ControlTask, model: Model[Any], kind: Kind, **changes: Any) -> Model[Any]:
    """A model, analytic or learned, as planners of a kind see it; `changes` are fields of `View` to set otherwise.

    The terminal value is the innermost wrapper, so that its gamma counts per step; the action repeat comes next, then
    the discretisation.

    Errors: ValueError for a kind that does not fit, or for bins where actions are discrete already.
    """
    settings = view_of(task, kind, **changes)
    if kind == "derivatives" and isinstance(model, EnsembleModel):
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


def view_of(task: ControlTask, kind: Kind, **changes: Any) -> View:
    """The `View` of a kind of planner, with `changes` to its fields.

    Errors: ValueError for a kind that the task has no view for, for bins where actions are discrete, and for a terminal
    value where the task has none.
    """
    if kind not in task.views:
        what = "discrete actions" if task.discrete else "vector actions"
        raise ValueError(f"{task.name} has {what} and no view for planners of {kind}; it has {', '.join(task.views)}")
    settings = replace(task.views[kind], **changes)
    if settings.terminal_value and task.value is None:
        raise ValueError(f"{task.name} has no terminal value")
    if task.discrete and settings.bins is not None:
        raise ValueError(f"{task.name} has discrete actions, bins cannot be set")
    return settings


def describe(task: ControlTask, kind: Kind, **changes: Any) -> str:
    """The view in words, for a report: "5 values a component, action repeat 4, terminal value GridValue (...)"."""
    settings = view_of(task, kind, **changes)
    words = ["vectors" if settings.bins is None else f"{settings.bins} values a component"]
    if task.discrete:
        words = ["the environment's actions"]
    if kind == "derivatives":
        words.append("through derivatives")
    if settings.action_repeat > 1:
        words.append(f"action repeat {settings.action_repeat}")
    words.append(f"terminal value {task.value_name}" if settings.terminal_value else "no terminal value")
    return ", ".join(words)
