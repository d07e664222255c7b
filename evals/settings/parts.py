"""The objects that the settings of an evaluation name: its task, planners, critics and model, found before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...llm.text_model import TextModel
from ..errors import BadInput
from ..own_critics import checked_critic, own_critics
from ..planners import PlannerRow, check_names, planner_rows, row_of
from ..plugins import fingerprint_of, fingerprints_of, is_reference, lacking, load_object, made
from ..tasks import EpisodeTask, Task, TextTask, make_task, task_name
from .values import as_names

if TYPE_CHECKING:
    from ...control.tasks import ControlTask
    from ...llm.critics import Critic
    from .eval_settings import EvalSettings


@dataclass(frozen=True)
class Parts:
    """The objects that the fields of `EvalSettings` name.

    name: what the task is called in reports and folders. control: the control task, None for text. planners: by what
    they are called in tables. value: the critic, or the sum of several, by names; critics: those of one's own by name.
    model, model_name: an object that is given instead of a name, and what it is called. fingerprints: of all parts of
    one's own, which belong to the settings of a run, so that changed code does not continue an old one.
    """

    task: Task
    name: str
    control: ControlTask | None
    planners: Mapping[str, PlannerRow]
    value: str
    critics: Mapping[str, Critic]
    model: Any = None
    model_name: str = ""
    fingerprints: Mapping[str, str] = field(default_factory=dict)


def parts_of(settings: EvalSettings, default_planners: Mapping[str, Sequence[str]]) -> Parts:
    """Find everything that the settings name; default_planners: by kind of task, where the settings name none.

    Errors: BadInput for what does not exist or is of the wrong kind.
    """
    task, name = _task(settings)
    if settings.wrapper:
        task, name = _wrapped(settings, task)
    control = _control_task(settings.task, task)
    given = default_planners[task.kind] if settings.planners is None else settings.planners
    planners = _planners(given, task, name)
    value, critics = _critics(settings, task, name)
    model, model_name = _model(settings.model, task, name)
    own = {row.name: row.plugin for row in planners.values() if row.plugin} | fingerprints_of(critics)
    if not isinstance(settings.task, str | None):
        own[name] = fingerprint_of(settings.task)
    elif settings.task is not None and is_reference(settings.task):
        own[name] = fingerprint_of(load_object(settings.task))
    own |= {text: fingerprint_of(load_object(text)) for text in settings.wrapper or () if is_reference(text)}
    return Parts(task, name, control, planners, value, critics, model, model_name, own)


def _task(settings: EvalSettings) -> tuple[Task, str]:
    """The task and what it is called."""
    given = settings.task
    if isinstance(given, str | None):
        task = make_task(given, data=settings.data, grade=settings.grade, split=settings.split, tape=settings.tape)
        return task, task_name(given, settings.data)
    if settings.data is not None or settings.grade is not None:
        raise BadInput("data and grade are for a task by name, and this one is an object")
    if isinstance(given, TextTask | EpisodeTask):
        return given, given.name
    from ...control.tasks import ControlTask
    from ..tasks.environments import EPISODES  # imports gymnasium, which text tasks do not need

    if not isinstance(given, ControlTask):
        raise BadInput(f"a task is a name, a TextTask or a ControlTask, got {type(given).__name__}")
    return EpisodeTask(given.name, worst=None, episodes=EPISODES, env_id=given.env_id), given.name


def _wrapped(settings: EvalSettings, task: Task) -> tuple[EpisodeTask, str]:
    """An environment under the wrappers of the settings, and what it is called."""
    if not isinstance(task, EpisodeTask) or not isinstance(settings.task, str):
        raise BadInput("--wrapper is for environments by name")
    from ..tasks.environments import wrapped_task

    assert settings.wrapper is not None
    wrapped = wrapped_task(task, settings.wrapper)
    return wrapped, wrapped.name.replace("/", "-")


def _control_task(given: Any, task: Task) -> ControlTask | None:
    if not isinstance(task, EpisodeTask):
        return None
    from ...control.tasks import ControlTask, task_named, task_of_env

    if isinstance(given, ControlTask):
        return given
    try:
        return task_of_env(task.env_id, task.name) if task.env_id else task_named(task.name)
    except ValueError as error:
        raise BadInput(str(error)) from error


def _planners(given: Any, task: Task, name: str) -> dict[str, PlannerRow]:
    """The planners by what they are called: those of a text or sequence, or of a mapping from names to planners."""
    named = given.items() if isinstance(given, Mapping) else [(None, one) for one in _as_sequence(given)]
    rows: list[PlannerRow] = []
    for called, one in named:
        if isinstance(one, str):
            rows += planner_rows([one], task.kind, name).values()
        else:
            rows.append(row_of(one, called or _class_name(one)))
    names = [row.name for row in rows]
    check_names(names, names, f"planner for {name}")
    return dict(zip(names, rows))


def _as_sequence(given: Any) -> tuple[Any, ...]:
    return as_names(given, "planners") if isinstance(given, str | list | tuple) else (given,)


def _critics(settings: EvalSettings, task: Task, name: str) -> tuple[str, dict[str, Critic]]:
    given = settings.value
    if task.kind == "control":
        if given is not None:
            raise BadInput(f"--value is for language models; {name} has none")
        return "", {}
    if given is None:
        return "recorded" if settings.task == "recorded" else "self", {}
    if isinstance(given, str):
        return own_critics(given)
    critic = checked_critic(made(given, _class_name(given)), _class_name(given))
    return critic.name, {critic.name: critic}


def _class_name(given: Any) -> str:
    """The name of a class, or of an object's class."""
    return given.__name__ if isinstance(given, type) else type(given).__name__


def _model(given: Any, task: Task, name: str) -> tuple[Any, str]:
    """A model that is given as an object and what it is called; (None, "") for a name or a folder."""
    if given is None or isinstance(given, str | Path):
        return None, ""
    if task.kind == "text" and not isinstance(given, TextModel):
        raise BadInput(f"{name} is planned with a TextModel or its name, got {type(given).__name__}")
    if isinstance(given, type):
        raise BadInput(f"{name} is planned with a model, got the class {given.__name__}; make an instance of it")
    absent = lacking(given, {"start": callable, "expand": callable})
    if absent:
        raise BadInput(f"{type(given).__name__} is no model: it lacks {' and '.join(absent)}, see planning.Model")
    return given, type(given).__name__
