"""What the user asked of `forethought eval`, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from .cli_common import check_out
from .planners import METHODS, UNITS_OF_BUDGET, check_names
from .records.answer_selection import RULES
from .tasks import CONTROL, TASKS, BadInput

DEFAULT_PLANNERS = {
    "text": ("greedy", "self_consistency", "best_of_n", "bfs", "mcts"),
    "control": ("cem", "mppi", "mcts", "bfs", "best_of_n"),
}
TEXT_ONLY = {"tape": None, "reasoning": "steps", "answer_by": None, "replicas": 1}
"""Flags that mean nothing in control, as they stand when nobody gave them."""

DEFAULT_BUDGETS = {"text": (4, 8, 16, 32, 64), "control": (64, 256, 1024)}


@dataclass(frozen=True)
class Request:
    """The flags of `forethought eval`; see its help."""

    task: str
    model: str
    planners: tuple[str, ...]
    budgets: tuple[int, ...]
    engine: str = "transformers"
    unit: str = "nodes"
    value: str = "self"
    width: int = 4
    against: str | None = None
    limit: int | None = None
    seed: int = 0
    out: Path | None = None
    in_flight: int = 64
    data: Path | None = None
    split: str = "test"
    temperature: float = 0.8
    device: str = "cpu"
    hold: int | None = None
    leaf: bool | None = None
    tape: Path | None = None
    base_url: str = ""
    reward_model: str | None = None
    reward_format: str = ""
    aggregate: str = "last"
    quiet: bool = False
    reasoning: str = "steps"
    answer_by: str | None = None
    replicas: int = 1

    @property
    def view(self) -> dict[str, Any]:
        """Changes to how a tree or shooting planner sees a control task's model."""
        changes = {"action_repeat": self.hold, "terminal_value": self.leaf}
        return {name: given for name, given in changes.items() if given is not None}

    @property
    def kind(self) -> str:
        return "control" if self.task in CONTROL else "text"

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / self.task


def checked(
    task: str, planner: str | None, budgets: str | None, *, model: str | None = None, value: str | None = None,
    **flags: object,
) -> Request:  # fmt: skip
    """The request that these flags make; BadInput for what is known to be wrong without loading anything."""
    check_names([task], TASKS, "task")
    kind = "control" if task in CONTROL else "text"
    planners = _words(planner) if planner is not None else DEFAULT_PLANNERS[kind]
    _check_planners(task, planners)
    numbers = budgets_of(budgets) if budgets is not None else DEFAULT_BUDGETS[kind]
    value = value or ("recorded" if task == "recorded" else "self")
    default = "analytic" if kind == "control" else "builtin"
    request = Request(task, model or default, planners, numbers, value=value, **flags)  # type: ignore[arg-type]
    request = _with_reward(request)
    _check(request)
    if request.engine == "replay":
        request = replace(request, model=_on_tape(request.tape, model))
    return request


def _with_reward(request: Request) -> Request:
    """With the reward model that is meant, where one is named or a value wants one."""
    wanted = {"prm", "orm"} & set(request.value.replace("+", "*").replace(" ", "").split("*"))
    if not wanted and not request.reward_model:
        return request
    from ..llm.load import reward_for

    model, format = reward_for(request.model, request.reward_model, request.reward_format)
    return replace(request, reward_model=str(model) if model else None, reward_format=format)


def _check_planners(task: str, planners: tuple[str, ...]) -> None:
    if task not in CONTROL:
        return check_names(planners, tuple(METHODS), f"planner for {task}")
    from ..control.tasks import DERIVATIVE_PLANNERS, PLANNERS, task_named, view_of

    check_names(planners, (*PLANNERS, *DERIVATIVE_PLANNERS), f"planner for {task}")
    try:
        for name in planners:
            view_of(task_named(task), name)
    except ValueError as error:
        raise BadInput(str(error)) from error


def budgets_of(text: str) -> tuple[int, ...]:
    """Rising positive integers from `8,16,32`."""
    numbers = []
    for word in _words(text):
        try:
            number = int(word.replace("_", ""))
        except ValueError:
            number = 0
        if number < 1:
            raise BadInput(f"a budget is a positive integer, got {word!r}")
        numbers.append(number)
    return tuple(sorted(set(numbers)))


def _words(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise BadInput(f"expected names or numbers separated by commas, got {text!r}")
    return words


def _check(request: Request) -> None:
    check_names([request.unit], tuple(UNITS_OF_BUDGET), "unit")
    if request.against is not None and request.against not in request.planners:
        raise BadInput(f"--against {request.against!r} is not among the planners {', '.join(request.planners)}")
    for name in ("limit", "width", "in_flight", "hold", "replicas"):
        number = getattr(request, name)
        if number is not None and number < 1:
            raise BadInput(f"--{name.replace('_', '-')} must be at least 1, got {number}")
    if not 0 <= request.temperature < inf:
        raise BadInput(f"--temperature must be at least 0, got {request.temperature:g}")
    if not 0 <= request.seed < 1 << 63:
        raise BadInput(f"--seed must be at least 0 and below 2^63, got {request.seed}")
    if request.kind == "text":
        _check_text(request)
    elif flag := next((name for name in TEXT_ONLY if getattr(request, name) != TEXT_ONLY[name]), None):
        raise BadInput(f"--{flag.replace('_', '-')} is for language models; {request.task} has none")
    if request.kind == "control" and request.unit == "tokens":
        raise BadInput(f"{request.task} has no tokens; its units are nodes, calls and seconds")
    if request.view and request.kind != "control":
        raise BadInput(f"--{next(iter(request.view))} is for control; {request.task} is words")
    if request.data is not None and request.task != "gsm8k":
        raise BadInput(f"--data is for gsm8k; {request.task} brings its own problems")
    if request.data is not None and not request.data.is_file():
        raise BadInput(f"no data file {request.data}")
    check_out(request.folder)


def _check_text(request: Request) -> None:
    from ..llm.critics import parts_of
    from ..llm.load import ENGINES, RUNS_A_MODEL
    from ..llm.reasoning import WAYS

    check_names([request.engine], tuple(ENGINES), "engine")
    check_names([request.reasoning], tuple(WAYS), "way of reasoning")
    if request.answer_by is not None:
        check_names([request.answer_by], RULES, "rule for --answer-by")
    try:
        names = [name for _, name in parts_of(request.value)]
    except ValueError as error:
        raise BadInput(str(error)) from error
    if request.replicas > 1 and request.engine not in RUNS_A_MODEL:
        raise BadInput(f"--replicas are of engines that run a model ({', '.join(RUNS_A_MODEL)}), got {request.engine}")
    if request.engine == "replay" and request.tape is None:
        raise BadInput("--engine replay answers from a tape: --tape FILE")
    if request.engine == "openai" and not request.base_url:
        raise BadInput(
            "--engine openai asks a server: --base-url http://localhost:8000/v1, several separated by commas"
        )
    if request.task == "recorded" and request.engine != "replay":
        raise BadInput("recorded is for trees on a tape: --engine replay --tape FILE")
    lone = [name for name in request.planners if not METHODS[name](request.width, 1).siblings]
    if "vote" in names and (lone or request.width < 2):
        raise BadInput(
            f"vote compares siblings: --planner beam with --width 2 or more, got {', '.join(lone) or 'width 1'}"
        )
    if {"prm", "orm"} & set(names):
        _check_reward(request)


def _check_reward(request: Request) -> None:
    from ..llm.critics.process_reward import AGGREGATES
    from ..llm.critics.reward_formats import REWARD_FORMATS

    if not request.reward_model:
        raise BadInput("prm and orm want a reward model: --reward-model FOLDER_OR_HUB_ID --reward-format NAME")
    check_names([request.reward_format], tuple(REWARD_FORMATS), "reward format")
    check_names([request.aggregate], tuple(AGGREGATES), "aggregate")


def _on_tape(tape: Path | None, model: str | None) -> str:
    """The model that a replay stands for, as the tape has it: its name, its fingerprint where two have one name."""
    from ..llm.tape.sqlite import TapeFile

    try:
        file = TapeFile(str(tape), only_read=True)
        found = file.model(model)
        alike = [name for name in file.models() if name == found.name]
        file.close()
        return found.name if len(alike) == 1 else found.fingerprint
    except ValueError as error:
        raise BadInput(str(error)) from error
