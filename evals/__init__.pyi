"""The public names of `forethought.evals`."""

from .api import Solved, evaluate, solve
from .errors import BadInput, RunStopped
from .planners import PLANNERS, PlannerRow
from .records.statistics import Estimate, Paired, estimate, holm, paired
from .runners.results import Summary
from .settings import EvalSettings
from .tasks import GRADERS, TASKS, EpisodeTask, GradedAnswer, Problem, TextTask, make_task
from .tasks.numeric import grade_numeric

__all__ = [  # noqa: RUF022, grouped by use
    # to evaluate and to solve
    "evaluate",
    "solve",
    "EvalSettings",
    "Summary",
    "Solved",
    # tasks
    "TASKS",
    "TextTask",
    "EpisodeTask",
    "Problem",
    "GradedAnswer",
    "GRADERS",
    "grade_numeric",
    "make_task",
    # planners
    "PLANNERS",
    "PlannerRow",
    # statistics
    "Estimate",
    "estimate",
    "Paired",
    "paired",
    "holm",
    # errors
    "BadInput",
    "RunStopped",
]
