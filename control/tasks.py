"""Control tasks: which environment, and how each planner is to see its models.

A task says for each planner a `View`: the torques a tree is offered, the steps an action is held, the leaf value.
Reports name it. Trees need a leaf value on Pendulum, where a value of 0 flatters shallow leaves, and everything needs
one on CartPole, where within a short horizon all sequences that stand are worth the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from ..planning.interface import BoxActions
from ..planning.shooting_settings import GaussianSettings
from ..planning.wrappers.action_repeat import ActionRepeat
from ..planning.wrappers.discretized_actions import DiscretizedActions
from ..planning.wrappers.terminal_value import TerminalValue, ValueFn
from .dynamics import Bouncer, CartPole, Dynamics, Pendulum, Reacher, SwingUp
from .envs import STEPS
from .values.values import BalanceValue, pendulum_value
from .world_models.analytic import AnalyticModel
from .world_models.ensemble.model import EnsembleModel

WIDE = GaussianSettings(std=1.0)
"""CEM's initial deviation here is the whole half-range."""

WIDE_FIXED = GaussianSettings(std=1.0, adapt_std=False)
"""The same for best-of-N, which does not refit."""

PLANNERS = ("cem", "mppi", "mcts", "bfs", "best_of_n", "icem")
"""Those for vectors and for slots (trees are offered a grid of vectors)."""

DERIVATIVE_PLANNERS = ("ilqr", "ddp", "gradient", "lbfgs", "polished")
"""Those for vectors alone, through a model that can be differentiated."""


@dataclass(frozen=True)
class View:
    """How a planner sees a model. torques: values offered per component of a BoxActions, None for vectors as they are.
    hold: steps an action lasts. leaf: whether the task's leaf value stands at the leaves."""

    bins: int | None = None
    hold: int = 1
    leaf: bool = False


@dataclass(frozen=True)
class ControlTask:
    """An environment with its defaults.

    steps: the environment's time limit. horizon: steps a shooting planner looks ahead.
    value: makes the leaf value of physical states or observations, None where there is none; value_name: what reports
        call it; value_from: makes it from a learned model instead, where that can be done, so that a planner with
        learned dynamics is not told the equations by its leaves; gamma: the factor it was made with.
    views: by planner, only those that fit. settings: by planner, keyword arguments that suit its class here;
        `polished` is made of `cem` and `ilqr`.
    """

    name: str
    env_id: str
    dynamics: Dynamics
    steps: int
    horizon: int
    value: Callable[[], ValueFn] | None = None
    value_from: Callable[[Any], ValueFn] | None = None
    value_name: str = "none"
    gamma: float = 1.0
    views: Mapping[str, View] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def discrete(self) -> bool:
        return not isinstance(self.dynamics.actions, BoxActions)

    def analytic(self) -> AnalyticModel:
        """The equations as a model, undiscounted and without a leaf value; a `View` adds that."""
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
        name: View(bins=5, leaf=True) if name in ("mcts", "bfs") else View()
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

CARTPOLE = ControlTask(
    name="cartpole",
    env_id=CartPole.env_id,
    dynamics=CartPole(),
    steps=500,
    horizon=10,
    value=cache(lambda: BalanceValue(CartPole())),
    value_from=lambda model: BalanceValue(CartPole(), learned=model),
    value_name="BalanceValue (LQR cost-to-go)",
    gamma=0.99,
    views={name: View(leaf=True) for name in PLANNERS},
    settings={name: {"horizon": 10} for name in ("cem", "mppi", "best_of_n", "icem")} | {"mcts": {"leaves": 8}},
)


def of_our_own(name: str, dynamics: Dynamics, horizon: int, bins: int) -> ControlTask:
    """A task of `worlds.py`, which has a time limit there and no leaf value: trees see `bins` values a component."""
    shot = {"horizon": horizon, "smoothing": 0.1, "vectors": WIDE}
    return ControlTask(
        name=name,
        env_id=dynamics.env_id,
        dynamics=dynamics,
        steps=STEPS[dynamics.env_id],
        horizon=horizon,
        views={
            planner: View(bins=bins, hold=2) if planner in ("mcts", "bfs") else View()
            for planner in (*PLANNERS, *DERIVATIVE_PLANNERS)
        },
        settings={
            "cem": shot,
            "best_of_n": {"horizon": horizon, "vectors": WIDE_FIXED},
            "mcts": {"leaves": 8},
            **{name: {"horizon": horizon} for name in ("mppi", "icem", "ilqr", "ddp", "gradient")},
            "lbfgs": {"horizon": horizon, "optimiser": "lbfgs"},
        },
    )


BOUNCER = of_our_own("bouncer", Bouncer(), 20, 3)
SWINGUP = of_our_own("swingup", SwingUp(), 25, 5)
REACHER = of_our_own("reacher", Reacher(), 15, 3)

TASKS: dict[str, ControlTask] = {task.name: task for task in (PENDULUM, CARTPOLE, BOUNCER, SWINGUP, REACHER)}


def task_named(name: str) -> ControlTask:
    """Errors: ValueError that lists what exists."""
    if name not in TASKS:
        raise ValueError(f"unknown control task {name!r}; there are {', '.join(TASKS)}")
    return TASKS[name]


def view(task: ControlTask, model: Any, planner: str, **changes: Any) -> Any:
    """`model` (analytic or learned) as `planner` is to see it; `changes` are fields of `View` to set otherwise.

    The leaf value is innermost, so that its gamma counts per step, then the held steps, then the torques.
    Errors: ValueError for an unknown planner, or torques where actions are discrete already.
    """
    settings = view_of(task, planner, **changes)
    if planner in DERIVATIVE_PLANNERS and isinstance(model, EnsembleModel):
        model = model.propagated("mean")  # a trajectory of several particles has no one feedback law
    if settings.leaf and task.value is not None:
        learned = task.value_from if hasattr(model, "config") else None
        model = TerminalValue(model, task.value() if learned is None else learned(model), task.gamma)
    if settings.hold > 1:
        model = ActionRepeat(model, settings.hold)
    return model if settings.bins is None else DiscretizedActions(model, settings.bins)


def view_of(task: ControlTask, planner: str, **changes: Any) -> View:
    """The `View` of a planner. Errors: as in `view`, and for a planner that wants vectors where there are none."""
    if planner in DERIVATIVE_PLANNERS and task.discrete:
        raise ValueError(
            f"{planner} plans vectors through derivatives, {task.name} has discrete actions; there are "
            f"{', '.join(task.views)}"
        )
    if planner not in task.views:
        raise ValueError(f"unknown planner {planner!r}; there are {', '.join(task.views)}")
    settings = replace(task.views[planner], **changes)
    if settings.leaf and task.value is None:
        raise ValueError(f"{task.name} has no leaf value")
    if task.discrete and settings.bins is not None:
        raise ValueError(f"{task.name} has discrete actions, torques cannot be set")
    return settings


def describe(task: ControlTask, planner: str, **changes: Any) -> str:
    """The view in words, for a report: "5 torques, held 4 steps, leaf value GridValue (...)"."""
    settings = view_of(task, planner, **changes)
    words = ["vectors" if settings.bins is None else f"{settings.bins} torques a component"]
    if task.discrete:
        words = ["the environment's actions"]
    if planner in DERIVATIVE_PLANNERS:
        words.append("through derivatives")
    if settings.hold > 1:
        words.append(f"held {settings.hold} steps")
    words.append(f"leaf value {task.value_name}" if settings.leaf else "no leaf value")
    return ", ".join(words)
