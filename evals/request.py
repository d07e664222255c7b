"""What the user asked of `forethought eval`, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .methods import METHODS, UNITS_OF_BUDGET, check_names
from .tasks import CONTROL, TASKS, BadInput

CONTROL_PLANNERS = ("cem", "mppi", "mcts", "bfs", "best_of_n")
DEFAULT_PLANNERS = {"text": ("greedy", "self_consistency", "best_of_n", "bfs", "mcts"), "control": CONTROL_PLANNERS}
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
    quiet: bool = False

    @property
    def view(self) -> dict[str, Any]:
        """Changes to how a tree or shooting planner sees a control task's model."""
        return {name: given for name in ("hold", "leaf") if (given := getattr(self, name)) is not None}

    @property
    def kind(self) -> str:
        return "control" if self.task in CONTROL else "text"

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / self.task


def checked(
    task: str, planner: str | None, budgets: str | None, *, model: str | None = None, against: str | None = None,
    **flags: object,
) -> Request:  # fmt: skip
    """The request that these flags make; BadInput for what is known to be wrong without loading anything."""
    check_names([task], TASKS, "task")
    kind = "control" if task in CONTROL else "text"
    planners = _words(planner) if planner else DEFAULT_PLANNERS[kind]
    check_names(planners, CONTROL_PLANNERS if kind == "control" else tuple(METHODS), f"planner for {task}")
    numbers = budgets_of(budgets) if budgets else DEFAULT_BUDGETS[kind]
    default = "analytic" if kind == "control" else "builtin"
    request = Request(task, model or default, planners, numbers, against=against, **flags)  # type: ignore[arg-type]
    _check(request)
    return request


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
    for name in ("limit", "width", "in_flight", "hold"):
        number = getattr(request, name)
        if number is not None and number < 1:
            raise BadInput(f"--{name.replace('_', '-')} must be at least 1, got {number}")
    if request.temperature < 0:
        raise BadInput(f"--temperature must be at least 0, got {request.temperature:g}")
    if request.kind == "text":
        from ..llm.load import ENGINES
        from ..llm.values import VALUES

        check_names([request.engine], tuple(ENGINES), "engine")
        check_names([request.value], tuple(VALUES), "value")
    if request.kind == "control" and request.unit == "tokens":
        raise BadInput(f"{request.task} has no tokens; its units are nodes, calls and seconds")
    if request.view and request.kind != "control":
        raise BadInput(f"--{next(iter(request.view))} is for control; {request.task} is words")
    if request.data is not None and request.task != "gsm8k":
        raise BadInput(f"--data is for gsm8k; {request.task} brings its own problems")
    if request.data is not None and not request.data.is_file():
        raise BadInput(f"no data file {request.data}")
    if request.folder.exists() and not request.folder.is_dir():
        raise BadInput(f"--out {request.folder} is a file; it must be a folder")
