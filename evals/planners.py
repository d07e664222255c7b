"""Planners by their command-line names, for text and for control; it calls no model.

Adding a planner: a file with its settings and search, and a row in `PLANNERS`. A planner of one's own needs no row:
`planner_named("FILE.py:Name")`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from ..planning import (
    CEM,
    DDP,
    ICEM,
    ILQR,
    MCTS,
    MPPI,
    BestOfN,
    BoxActions,
    Expansion,
    GaussianSettings,
    GradientShooting,
    PathSettings,
    Planner,
    SampledActions,
    WarmStarted,
)
from ..planning.interface import ActionSpace, Size
from ..planning.noise import keys_of
from ..planning.trees.beam import Beam
from ..planning.trees.mcts import WideningSettings
from ..planning.trees.rebase import Rebase
from .errors import BadInput
from .plugins import fingerprint_of, is_reference, lacking, load_object, made, own_errors, short_name

if TYPE_CHECKING:
    from ..control.tasks import ControlTask, Kind

UNITS_OF_BUDGET = {"nodes": "nodes", "calls": "model_calls", "tokens": "generated_tokens", "seconds": "seconds"}
"""The units of `--unit` and their names in a usage ledger."""

ANSWER_RULES = ("best", "majority", "weighted", "visits")
"""The values of `--answer-by`; `records/answer_selection.py` defines what each of them selects."""

WIDTH = 4
"""Children and trees of the searches of a fixed width: by default with text, always in control."""

Needs = Literal["trees", "sequences", "derivatives", "text"]
"""What a planner searches over; the first three are `control.tasks.Kind`, "text" is sampled solutions only."""


@dataclass(frozen=True)
class TextSettings:
    """width: sampled continuations that a tree search considers at each node. max_steps: the most of a solution."""

    width: int = WIDTH
    max_steps: int = 16


@dataclass(frozen=True)
class TextPlanner:
    """A planner over text with what the runner has to know about it.

    majority_vote: the answer is the most frequent one among all finished solutions, not the plan's.
    greedy: the model samples at temperature 0.
    anytime: decisions do not depend on the node budget, so results at smaller budgets can be read from a larger run.
    expands_siblings: it asks for all children of a state at once, as values that compare siblings require.
    """

    name: str
    planner: Planner
    majority_vote: bool = False
    greedy: bool = False
    anytime: bool = False
    expands_siblings: bool = False


@dataclass(frozen=True)
class PlannerRow:
    """A planner by name: what it is in one line, its source, and what makes it in each world.

    needs: what it searches over, which decides how it sees a control task's model (`control.tasks.View`).
    text: makes it for language models, None where it cannot plan over text. control: for a control task, likewise.
    flags: further fields of `TextPlanner`. plugin: the fingerprint of a planner of one's own, otherwise "".
    """

    name: str
    summary: str
    source: str
    needs: Needs
    text: Callable[[TextSettings], Planner] | None
    control: Callable[[ControlTask], Planner] | None
    flags: tuple[str, ...] = ()
    plugin: str = ""

    @property
    def kinds(self) -> tuple[Literal["text", "control"], ...]:
        """The kinds of task that it plans in."""
        worlds = {"text": self.text, "control": self.control}
        return cast(Any, tuple(kind for kind, make in worlds.items() if make is not None))

    def for_text(self, settings: TextSettings) -> TextPlanner:
        """The planner over text. Errors: BadInput where there is none."""
        if self.text is None:
            raise BadInput(f"{self.name} does not plan over text: it searches over vectors")
        return TextPlanner(self.name, self.text(settings), **dict.fromkeys(self.flags, True))

    def for_task(self, task: ControlTask) -> Planner:
        """The planner with the settings that suit a control task. Errors: BadInput where it cannot plan in it."""
        if self.control is None:
            raise BadInput(f"{self.name} is for language models; {task.name} has none")
        if self.needs not in task.views:
            raise BadInput(
                f"{self.name} plans vectors through derivatives, {task.name} has discrete actions; there are "
                f"{', '.join(planners_for(task))}"
            )
        return self.control(task)


def _tree(**settings: Any) -> tuple[Callable[[TextSettings], Planner], Callable[[ControlTask], Planner]]:
    """Monte Carlo tree search in both worlds."""
    return (
        lambda text: MCTS(widening=WideningSettings(width=text.width), **settings),
        lambda task: MCTS(leaves=8, **settings),
    )


def _sequences(name: str, planner: Callable[..., Planner], **vectors: Any) -> Callable[[ControlTask], Planner]:
    """A planner with a task's horizon; vectors: its settings for action vectors, before those tuned for the task."""

    def make(task: ControlTask) -> Planner:
        settings = ({} if task.discrete else vectors) | dict(task.tuned.get(name, {}))
        return planner(horizon=task.horizon, **settings)

    return make


def _polished(task: ControlTask) -> Planner:
    return WarmStarted(PLANNERS["cem"].for_task(task), PLANNERS["ilqr"].for_task(task))


NO_VALUES = PathSettings(evaluate="none")
WIDE, WIDE_FIXED = GaussianSettings(std=1.0), GaussianSettings(std=1.0, adapt_std=False)
"""In control CEM's initial deviation is the whole half-range, and best-of-N's, which does not refit."""

_ROWS = (
    PlannerRow("greedy", "one solution at temperature 0", "", "text",
               lambda text: BestOfN(population=1, paths=NO_VALUES), None, ("greedy", "anytime")),
    PlannerRow("self_consistency", "majority vote of independent solutions", "Wang et al. 2023", "text",
               lambda text: BestOfN(paths=NO_VALUES), None, ("majority_vote", "anytime")),
    PlannerRow("best_of_n", "the best of independent samples; random shooting", "Cobbe et al. 2021", "sequences",
               lambda text: BestOfN(), _sequences("best_of_n", BestOfN, vectors=WIDE_FIXED), ("anytime",)),
    PlannerRow("bfs", "breadth-first search with a growing beam (Tree of Thoughts)", "Yao et al. 2023", "trees",
               lambda text: Beam(), lambda task: Beam()),
    PlannerRow("beam", "beam search of a fixed width, one pass", "Yao et al. 2023, algorithm 1", "trees",
               lambda text: Beam(beam=text.width, children=text.width), lambda task: Beam(beam=WIDTH),
               ("expands_siblings",)),
    PlannerRow("dvts", "several beams with a tree each (diverse verifier tree search)", "Beeching et al. 2024",
               "trees", lambda text: Beam(trees=text.width), lambda task: Beam(trees=WIDTH)),
    PlannerRow("rebase", "a frontier shares a width by value (reward balanced search)", "Wu et al. 2024", "trees",
               lambda text: Rebase(), lambda task: Rebase(), ("expands_siblings",)),
    PlannerRow("mcts", "Monte Carlo tree search, PUCT", "Schrittwieser et al. 2020", "trees", *_tree(), ("anytime",)),
    PlannerRow("uct", "Monte Carlo tree search, UCB1", "Kocsis and Szepesvari 2006", "trees",
               *_tree(selection="uct"), ("anytime",)),
    PlannerRow("puct", "Monte Carlo tree search, PUCT", "Schrittwieser et al. 2020", "trees",
               *_tree(selection="puct"), ("anytime",)),
    PlannerRow("gumbel", "Monte Carlo tree search, Gumbel sampling at the root", "Danihelka et al. 2022", "trees",
               *_tree(selection="gumbel")),
    PlannerRow("cem", "cross-entropy method", "Rubinstein 1999", "sequences",
               lambda text: CEM(), _sequences("cem", CEM, smoothing=0.1, vectors=WIDE)),
    PlannerRow("mppi", "model predictive path integral control", "Williams et al. 2017", "sequences",
               lambda text: MPPI(), _sequences("mppi", MPPI)),
    PlannerRow("icem", "cross-entropy method with coloured noise and kept elites", "Pinneri et al. 2020", "sequences",
               lambda text: ICEM(), _sequences("icem", ICEM)),
    PlannerRow("ilqr", "iterative linear-quadratic regulator", "Tassa et al. 2012 and 2014", "derivatives",
               None, _sequences("ilqr", ILQR)),
    PlannerRow("ddp", "differential dynamic programming", "Tassa et al. 2012", "derivatives",
               None, _sequences("ddp", DDP)),
    PlannerRow("gradient", "gradient ascent on the actions, Adam", "Kingma and Ba 2015", "derivatives",
               None, _sequences("gradient", GradientShooting)),
    PlannerRow("lbfgs", "gradient ascent on the actions, L-BFGS", "Nocedal and Wright 2006", "derivatives",
               None, _sequences("lbfgs", GradientShooting, optimiser="lbfgs")),
    PlannerRow("polished", "CEM's plan, improved by iLQR", "", "derivatives", None, _polished),
)  # fmt: skip

PLANNERS = {row.name: row for row in _ROWS}
"""All planners of this package."""


def planners_for(task: ControlTask) -> list[str]:
    """The names of the planners of this package that can plan in a control task."""
    return [name for name, row in PLANNERS.items() if row.control is not None and row.needs in task.views]


def planners_for_text() -> list[str]:
    """The names of the planners of this package that can plan over text."""
    return [name for name, row in PLANNERS.items() if row.text is not None]


def planner_for(task: ControlTask, name: str) -> Planner:
    """The planner of this name with the settings that suit a control task. Errors: BadInput where there is none."""
    return planner_named(name).for_task(task)


def sees(name: str) -> Kind:
    """How a planner of this package sees a control task's model."""
    return cast("Kind", PLANNERS[name].needs)


def cem_for_environment(env_id: str) -> Planner:
    """CEM with the settings of the control task on this environment.

    Where there is none, and for discrete actions, where no terminal value helps, it plans 30 steps ahead.
    """
    from ..control.tasks import TASKS

    for task in TASKS.values():
        if task.env_id == env_id and not task.discrete:
            return planner_for(task, "cem")
    return CEM(horizon=30, smoothing=0.1, vectors=WIDE)


def planner_named(text: str) -> PlannerRow:
    """The row of a planner: one of `PLANNERS`, or a planner of one's own by `FILE.py:Name` or `module:Name`.

    Errors: BadInput for an unknown name and for an object that is no planner.
    """
    if text in PLANNERS:
        return PLANNERS[text]
    if is_reference(text):
        return row_of(load_object(text), short_name(text), text)
    raise BadInput(f"no planner {text!r}; there are {', '.join(PLANNERS)}, and FILE.py:Name")


def planner_rows(names: Sequence[str], kind: Literal["text", "control"], task: str) -> dict[str, PlannerRow]:
    """The planners for a task by what they are called in tables. task: its name, for errors.

    Errors: BadInput for an unknown name, one that does not plan in this kind of task, and for two of one name.
    """
    rows = []
    for name in names:
        if is_reference(name):
            rows.append(planner_named(name))
        elif name not in PLANNERS or kind not in PLANNERS[name].kinds:
            fits = ", ".join(each for each, row in PLANNERS.items() if kind in row.kinds)
            raise BadInput(f"no planner for {task} {name!r}; there are {fits}, and FILE.py:Name")
        else:
            rows.append(PLANNERS[name])
    called = [row.name for row in rows]
    check_names(called, called, f"planner for {task}")
    return dict(zip(called, rows))


def row_of(value: Any, name: str, where: str = "") -> PlannerRow:
    """The row of a planner of one's own: a planner, its class, or a function that returns one.

    A class is made with its own defaults, and in control with the task's horizon where it has one. A function gets
    those of `width` and `max_steps` (text) and `horizon` (control) that are among its parameters.
    where: what it is called in errors, by default `name`.

    Errors: BadInput for an object that is no planner, and one that plans neither over text nor over vectors or indices.
    """
    where = where or name

    def make(**settings: object) -> Planner:
        own = settings if not isinstance(value, type) else {k: v for k, v in settings.items() if k == "horizon"}
        planner = made(value, where, **own)
        if absent := lacking(type(planner), {"begin": callable}):
            raise BadInput(f"{where} is no planner: it lacks {', '.join(absent)}, see forethought.planning.Planner")
        return cast(Planner, planner)

    sample = make(width=WIDTH, max_steps=16, horizon=20)
    indices, vectors = (_takes(sample, space, where) for space in (SampledActions(), _BOX))
    if not (indices or vectors):
        raise BadInput(f"{where} plans neither over indexed actions nor over vectors")
    return PlannerRow(
        name, "a planner of one's own", where,
        "derivatives" if _differentiates(sample) else "sequences" if vectors else "trees",
        (lambda text: make(width=text.width, max_steps=text.max_steps)) if indices else None,
        lambda task: make(horizon=task.horizon),
        ("expands_siblings",) if isinstance(sample, Beam | Rebase) else (), fingerprint_of(value),
    )  # fmt: skip


def _differentiates(planner: Planner) -> bool:
    if isinstance(planner, WarmStarted):
        return _differentiates(planner.first) or _differentiates(planner.then)
    return isinstance(planner, ILQR | GradientShooting)


def _box() -> BoxActions:
    import torch

    return BoxActions(-torch.ones(1), torch.ones(1))


_BOX = _box()


def _takes(planner: Planner, space: ActionSpace, where: str) -> bool:
    """Whether a search begins over this action space. Errors: BadInput for other errors than a refusal (ValueError)."""
    import numpy as np

    one = np.ones(1, np.float32)
    with own_errors(where):
        try:
            planner.begin(Expansion(one * 0, one, one * 0), space, Size(8), keys=keys_of(0, 1))
        except ValueError:
            return False
    return True


def check_names(names: Sequence[str], known: Sequence[str], what: str) -> None:
    """Errors: BadInput for the first name that is not known, listing those that are, and for a repeated name."""
    for name in names:
        if name not in known:
            raise BadInput(f"no {what} {name!r}; there are {', '.join(known)}")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise BadInput(f"{what} {twice[0]!r} is given twice")
