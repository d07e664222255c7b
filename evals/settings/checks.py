"""Checks of the settings of an evaluation that need no model."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...llm.text.prompts import EXAMPLES
from ..cli_common import check_output
from ..errors import BadInput
from ..planners import ANSWER_RULES, UNITS_OF_BUDGET, TextSettings, check_names

if TYPE_CHECKING:
    from .eval_settings import EvalSettings

TEXT_ONLY = {
    "split": "test", "engine": "transformers", "device": "cpu", "base_url": "", "replicas": 1, "temperature": 0.8,
    "system": None, "shots": None, "delimiter": None, "max_steps": None, "max_step_tokens": None,
    "trust_remote_code": False, "tape": None,
    "width": 4, "reasoning": "steps", "reward_model": None, "reward_format": "", "aggregate": "last", "answer_by": None,
}  # fmt: skip
"""Fields that have no meaning in control tasks, with their default values."""

CONTROL_ONLY = {"wrapper": None, "action_repeat": None, "terminal_value": None}
"""Fields that have no meaning in text tasks, with their default values."""

AT_LEAST_ONE = ("limit", "width", "in_flight", "action_repeat", "replicas", "max_steps", "max_step_tokens")
AT_LEAST_ZERO = ("seed", "shots")


def check_settings(settings: EvalSettings) -> None:
    """Errors: BadInput that names the option, what was given and what is allowed."""
    _check_numbers(settings)
    check_names([settings.unit], tuple(UNITS_OF_BUDGET), "unit")
    if settings.against is not None and settings.against not in settings.planners:
        raise BadInput(f"--against {settings.against!r} is not among the planners {', '.join(settings.planners)}")
    if settings.kind == "text":
        _check_text(settings)
    else:
        _check_control(settings)
    if settings.data is not None and not settings.data.is_file():
        raise BadInput(f"no data file {settings.data}")
    check_output(settings.folder)


def flag(name: str) -> str:
    """The option of a field."""
    return f"--{name.replace('_', '-')}"


def _check_numbers(settings: EvalSettings) -> None:
    given: dict[str, Any] = {name: getattr(settings, name) for name in (*AT_LEAST_ONE, *AT_LEAST_ZERO, "temperature")}
    for name in (*AT_LEAST_ONE, *AT_LEAST_ZERO):
        number = given[name]
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise BadInput(f"{flag(name)} must be an integer, got {number!r}")
    for name in AT_LEAST_ONE:
        if given[name] is not None and given[name] < 1:
            raise BadInput(f"{flag(name)} must be at least 1, got {given[name]}")
    if not 0 <= given["seed"] < 1 << 63:
        raise BadInput(f"--seed must be at least 0 and below 2^63, got {given['seed']}")
    if given["shots"] is not None and not 0 <= given["shots"] <= len(EXAMPLES):
        raise BadInput(f"--shots must be from 0 to {len(EXAMPLES)}, got {given['shots']}")
    heat = given["temperature"]
    if isinstance(heat, bool) or not isinstance(heat, int | float) or not (isfinite(heat) and heat >= 0):
        raise BadInput(f"--temperature must be at least 0, got {heat}")


def _refuse(settings: EvalSettings, unused: dict[str, Any], reason: str) -> None:
    """Errors: BadInput for the first of these fields that differs from its default."""
    for name, default in unused.items():
        if getattr(settings, name) != default:
            raise BadInput(f"{flag(name)} {reason}")


def _check_control(settings: EvalSettings) -> None:
    _refuse(settings, TEXT_ONLY, f"is for language models; {settings.task} has none")
    if settings.unit == "tokens":
        raise BadInput(f"{settings.task} has no tokens; its units are nodes, calls and seconds")
    assert settings.parts.control is not None
    for row in settings.parts.planners.values():
        row.for_task(settings.parts.control)


def _check_text(settings: EvalSettings) -> None:
    from ...llm.load import ENGINES, check_replicas
    from ...llm.reasoning import REASONING

    _refuse(settings, CONTROL_ONLY, f"is for control tasks; {settings.task} is a text task")
    check_names([settings.engine], tuple(ENGINES), "engine")
    check_names([settings.reasoning], tuple(REASONING), "--reasoning")
    if settings.answer_by is not None:
        check_names([settings.answer_by], ANSWER_RULES, "rule for --answer-by")
    if settings.delimiter == "":
        raise BadInput("--delimiter must be line, paragraph, sentence or a text that is not empty")
    try:
        check_replicas(settings.engine, settings.replicas)
    except (ValueError, ImportError) as error:
        raise BadInput(str(error)) from error
    if settings.engine == "replay" and settings.tape is None:
        raise BadInput("--engine replay answers from a tape; give one with --tape FILE")
    if settings.engine == "openai" and not settings.base_url:
        raise BadInput(
            "--engine openai needs a server: --base-url http://localhost:8000/v1, several separated by commas"
        )
    if settings.engine in ("replay", "openai"):
        _refuse(
            settings, {"trust_remote_code": False}, f"is for models that are run here, not --engine {settings.engine}"
        )
    if settings.engine != "openai":
        _refuse(settings, {"base_url": ""}, f"is for --engine openai, got {settings.engine}")
    if settings.task == "recorded" and settings.engine != "replay":
        raise BadInput("recorded needs a tape of imported trees: --engine replay --tape FILE")
    for row in settings.parts.planners.values():
        row.for_text(TextSettings(settings.width))
    _check_value(settings)


def _check_value(settings: EvalSettings) -> None:
    from ...llm.critics import parse_critics

    try:
        names = [name for _, name in parse_critics(settings.parts.value, settings.parts.critics)]
    except ValueError as error:
        raise BadInput(str(error)) from error
    without_siblings = [row.name for row in settings.parts.planners.values() if "expands_siblings" not in row.flags]
    if "vote" in names and (without_siblings or settings.width < 2):
        found = ", ".join(without_siblings) or "width 1"
        raise BadInput(f"vote compares siblings: --planner beam with --width 2 or more, got {found}")
    if {"prm", "orm"} & set(names):
        _check_reward(settings)
    else:
        unused = {"reward_model": None, "reward_format": "", "aggregate": "last"}
        _refuse(settings, unused, f"is for the values prm and orm, got --value {settings.value}")


def _check_reward(settings: EvalSettings) -> None:
    from ...llm.critics.process_reward import AGGREGATES
    from ...llm.critics.reward_formats import REWARD_FORMATS

    if not settings.reward_model:
        raise BadInput("prm and orm need a reward model: --reward-model FOLDER_OR_HUB_ID --reward-format NAME")
    check_names([settings.reward_format], tuple(REWARD_FORMATS), "reward format")
    check_names([settings.aggregate], tuple(AGGREGATES), "aggregate")


def with_builtin_reward(settings: EvalSettings) -> dict[str, str | None]:
    """The reward model and its format; the built-in ones where the value needs one and the model is built-in."""
    needed = {"prm", "orm"} & set(settings.parts.value.replace("+", "*").replace(" ", "").split("*"))
    if not needed:
        return {"reward_model": settings.reward_model, "reward_format": settings.reward_format}
    from ...llm.load import reward_for

    model, format = reward_for(settings.model, settings.reward_model, settings.reward_format)
    return {"reward_model": str(model) if model else None, "reward_format": format}


def model_on_tape(tape: Path | None, model: str | None) -> str:
    """The model that a replay imitates: its name on the tape, or its fingerprint where two models share the name."""
    from ...llm.tape.sqlite import TapeFile

    try:
        file = TapeFile(str(tape), read_only=True)
        found = file.model(model)
        alike = [name for name in file.models() if name == found.name]
        file.close()
        return found.name if len(alike) == 1 else found.fingerprint
    except ValueError as error:
        raise BadInput(str(error)) from error
