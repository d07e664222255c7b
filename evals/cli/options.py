"""Commands whose options are the fields of `EvalSettings`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import Parameter, Signature
from typing import Annotated, Any, get_type_hints

from ..settings import EvalSettings

Option = tuple[str, Any, Any]
"""The name of a parameter, its annotation with the option, and its default."""


def options_of(*names: str) -> list[Option]:
    """The options of these fields of `EvalSettings`, in their order; of all fields where none is named."""
    hints = get_type_hints(EvalSettings, localns={"Parts": object}, include_extras=True)
    found = {field.name: field for field in fields(EvalSettings) if field.init}
    return [(name, _as_text(hints[name]), found[name].default) for name in names or found]


def _as_text(hint: Any) -> Any:
    """The annotation of an option; a field that takes objects from Python takes a text from the command line."""
    kind, option = hint.__origin__, hint.__metadata__[0]
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
