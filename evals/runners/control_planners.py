"""Planners with the settings that suit a control task."""

from __future__ import annotations

from collections.abc import Callable

from ...control.tasks import TASKS, ControlTask
from ...planning import (
    CEM,
    DDP,
    ICEM,
    ILQR,
    MCTS,
    MPPI,
    BestOfN,
    GaussianSettings,
    GradientShooting,
    Planner,
    WarmStarted,
)
from ...planning.beam import Beam

CONTROL_PLANNERS: dict[str, Callable[..., Planner]] = {
    "cem": CEM, "mppi": MPPI, "mcts": MCTS, "bfs": Beam, "best_of_n": BestOfN, "icem": ICEM,
    "ilqr": ILQR, "ddp": DDP, "gradient": GradientShooting, "lbfgs": GradientShooting,
}  # fmt: skip


def planner_for(task: ControlTask, name: str) -> Planner:
    """The planner of this name with the task's settings; `polished` is the task's iLQR warm-started by its CEM."""
    settings = task.settings.get(name, {})
    if name == "polished":
        return WarmStarted(planner_for(task, "cem"), planner_for(task, "ilqr"), **settings)
    return CONTROL_PLANNERS[name](**settings)


def cem_for_environment(env_id: str) -> CEM:
    """CEM with the settings of the control task on this environment.

    Where there is none, and for discrete actions, where no terminal value helps, it plans 30 steps ahead.
    """
    for task in TASKS.values():
        if task.env_id == env_id and not task.discrete:
            return CEM(**task.settings["cem"])
    return CEM(horizon=30, smoothing=0.1, vectors=GaussianSettings(std=1.0))
