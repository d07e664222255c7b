"""Commands whose options are the fields of `EvalSettings`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import fields
from inspect import Parameter, Signature
from typing import Annotated, Any, get_type_hints

from ..settings import EvalSettings
from .completion import complete_engines, complete_models, complete_planners, complete_tasks, complete_values

COMPLETIONS = {
    "task": complete_tasks, "model": complete_models, "engine": complete_engines, "planners": complete_planners,
    "value": complete_values,
}  # fmt: skip
"""What completes the values of a field in a shell."""

Option = tuple[str, Any, Any]
"""The name of a parameter, its annotation with the option, and its default."""


def options_of(*names: str) -> list[Option]:
    """The options of these fields of `EvalSettings`, in their order; of all fields where none is named."""
    hints = get_type_hints(EvalSettings, include_extras=True)
    found = {field.name: field for field in fields(EvalSettings) if field.init}
    return [(name, _as_text(name, hints[name]), found[name].default) for name in names or found]


def _as_text(name: str, hint: Any) -> Any:
    """The annotation of an option; a field that takes objects from Python takes a text from the command line."""
    kind, option = hint.__origin__, copy(hint.__metadata__[0])
    option.autocompletion = COMPLETIONS.get(name)
    return Annotated[str | None if kind is Any else kind, option]


def with_options(call: Callable[..., None], options: Sequence[Option]) -> Callable[..., None]:
    """A command that calls `call` with one keyword argument per option; its help text is the docstring of `call`."""

    def command(**given: Any) -> None:
        call(**given)

    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint) for name, hint, default in options
    ]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {name: hint for name, hint, _ in options}
    command.__doc__ = call.__doc__
    return command
