"""The flags of `forethought eval`, validated before any model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from .cli_common import check_output
from .planners import ANSWER_RULES, TEXT_PLANNERS, UNITS_OF_BUDGET, check_names
from .tasks import CONTROL, TASKS, BadInput

DEFAULT_PLANNERS = {
    "text": ("greedy", "self_consistency", "best_of_n", "bfs", "mcts"),
    "control": ("cem", "mppi", "mcts", "bfs", "best_of_n"),
}
TEXT_ONLY = {"tape": None, "reasoning": "steps", "answer_by": None, "replicas": 1}
"""Flags that have no meaning in control tasks, with their default values."""

DEFAULT_BUDGETS = {"text": (4, 8, 16, 32, 64), "control": (64, 256, 1024)}


@dataclass(frozen=True)
class EvalRequest:
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
    action_repeat: int | None = None
    terminal_value: bool | None = None
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
        """The fields of `control.tasks.View` that differ from the defaults of the planner."""
        given = {"action_repeat": self.action_repeat, "terminal_value": self.terminal_value}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def kind(self) -> str:
        """ "control" or "text"."""
        return "control" if self.task in CONTROL else "text"

    @property
    def folder(self) -> Path:
        """The folder of the run's files."""
        return self.out or Path("runs") / self.task


def make_request(
    task: str, planner: str | None, budgets: str | None, *, model: str | None = None, value: str | None = None,
    **flags: object,
) -> EvalRequest:  # fmt: skip
    """The request with defaults filled in.

    planner, budgets: names and numbers separated by commas, None for the defaults of the task.
    Errors: BadInput for everything that can be found wrong without loading a model.
    """
    check_names([task], TASKS, "task")
    kind = "control" if task in CONTROL else "text"
    planners = _split_list(planner) if planner is not None else DEFAULT_PLANNERS[kind]
    _check_planners(task, planners)
    numbers = parse_budgets(budgets) if budgets is not None else DEFAULT_BUDGETS[kind]
    value = value or ("recorded" if task == "recorded" else "self")
    default = "analytic" if kind == "control" else "builtin"
    request = EvalRequest(task, model or default, planners, numbers, value=value, **flags)  # type: ignore[arg-type]
    request = _with_reward(request)
    _check(request)
    if request.engine == "replay":
        request = replace(request, model=_model_on_tape(request.tape, model))
    return request


def _with_reward(request: EvalRequest) -> EvalRequest:
    """Fill in the reward model and its format where one is named or the value needs one."""
    needed = {"prm", "orm"} & set(request.value.replace("+", "*").replace(" ", "").split("*"))
    if not needed and not request.reward_model:
        return request
    from ..llm.load import reward_for

    model, format = reward_for(request.model, request.reward_model, request.reward_format)
    return replace(request, reward_model=str(model) if model else None, reward_format=format)


def _check_planners(task: str, planners: tuple[str, ...]) -> None:
    if task not in CONTROL:
        return check_names(planners, tuple(TEXT_PLANNERS), f"planner for {task}")
    from ..control.tasks import DERIVATIVE_PLANNERS, PLANNERS, task_named, view_of

    check_names(planners, (*PLANNERS, *DERIVATIVE_PLANNERS), f"planner for {task}")
    try:
        for name in planners:
            view_of(task_named(task), name)
    except ValueError as error:
        raise BadInput(str(error)) from error


def parse_budgets(text: str) -> tuple[int, ...]:
    """Distinct positive integers in ascending order, from a list such as `8,16,32`. Errors: BadInput."""
    numbers = []
    for word in _split_list(text):
        try:
            number = int(word.replace("_", ""))
        except ValueError:
            number = 0
        if number < 1:
            raise BadInput(f"a budget is a positive integer, got {word!r}")
        numbers.append(number)
    return tuple(sorted(set(numbers)))


def _split_list(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise BadInput(f"expected names or numbers separated by commas, got {text!r}")
    return words


def _check(request: EvalRequest) -> None:
    check_names([request.unit], tuple(UNITS_OF_BUDGET), "unit")
    if request.against is not None and request.against not in request.planners:
        raise BadInput(f"--against {request.against!r} is not among the planners {', '.join(request.planners)}")
    for name in ("limit", "width", "in_flight", "action_repeat", "replicas"):
        number = getattr(request, name)
        if number is not None and number < 1:
            raise BadInput(f"--{name.replace('_', '-')} must be at least 1, got {number}")
    if not 0 <= request.temperature < inf:
        raise BadInput(f"--temperature must be at least 0, got {request.temperature:g}")
    if not 0 <= request.seed < 1 << 63:
        raise BadInput(f"--seed must be at least 0 and below 2^63, got {request.seed}")
    if request.kind == "text":
        _check_text(request)
    else:
        _check_control(request)
    if request.data is not None and request.task != "gsm8k":
        raise BadInput(f"--data is for gsm8k; {request.task} has its own problems")
    if request.data is not None and not request.data.is_file():
        raise BadInput(f"no data file {request.data}")
    check_output(request.folder)


def _check_control(request: EvalRequest) -> None:
    if flag := next((name for name in TEXT_ONLY if getattr(request, name) != TEXT_ONLY[name]), None):
        raise BadInput(f"--{flag.replace('_', '-')} is for language models; {request.task} has none")
    if request.unit == "tokens":
        raise BadInput(f"{request.task} has no tokens; its units are nodes, calls and seconds")


def _check_text(request: EvalRequest) -> None:
    from ..llm.critics import parse_critics
    from ..llm.load import ENGINES, LOCAL_ENGINES
    from ..llm.reasoning import REASONING

    for name in ("action_repeat", "terminal_value"):
        if getattr(request, name) is not None:
            raise BadInput(f"--{name.replace('_', '-')} is for control tasks; {request.task} is a text task")
    check_names([request.engine], tuple(ENGINES), "engine")
    check_names([request.reasoning], tuple(REASONING), "--reasoning")
    if request.answer_by is not None:
        check_names([request.answer_by], ANSWER_RULES, "rule for --answer-by")
    try:
        names = [name for _, name in parse_critics(request.value)]
    except ValueError as error:
        raise BadInput(str(error)) from error
    if request.replicas > 1 and request.engine not in LOCAL_ENGINES:
        raise BadInput(
            f"--replicas needs an engine that runs a model ({', '.join(LOCAL_ENGINES)}), got {request.engine}"
        )
    if request.engine == "replay" and request.tape is None:
        raise BadInput("--engine replay answers from a tape; give one with --tape FILE")
    if request.engine == "openai" and not request.base_url:
        raise BadInput(
            "--engine openai needs a server: --base-url http://localhost:8000/v1, several separated by commas"
        )
    if request.task == "recorded" and request.engine != "replay":
        raise BadInput("recorded needs a tape of imported trees: --engine replay --tape FILE")
    without_siblings = [name for name in request.planners if not TEXT_PLANNERS[name](request.width, 1).expands_siblings]
    if "vote" in names and (without_siblings or request.width < 2):
        found = ", ".join(without_siblings) or "width 1"
        raise BadInput(f"vote compares siblings: --planner beam with --width 2 or more, got {found}")
    if {"prm", "orm"} & set(names):
        _check_reward(request)


def _check_reward(request: EvalRequest) -> None:
    from ..llm.critics.process_reward import AGGREGATES
    from ..llm.critics.reward_formats import REWARD_FORMATS

    if not request.reward_model:
        raise BadInput("prm and orm need a reward model: --reward-model FOLDER_OR_HUB_ID --reward-format NAME")
    check_names([request.reward_format], tuple(REWARD_FORMATS), "reward format")
    check_names([request.aggregate], tuple(AGGREGATES), "aggregate")


def _model_on_tape(tape: Path | None, model: str | None) -> str:
    """The model that a replay imitates: its name on the tape, or its fingerprint where two models share the name."""
    from ..llm.tape.sqlite import TapeFile

    try:
        file = TapeFile(str(tape), read_only=True)
        found = file.model(model)
        alike = [name for name in file.models() if name == found.name]
        file.close()
        return found.name if len(alike) == 1 else found.fingerprint
    except ValueError as error:
        raise BadInput(str(error)) from error
