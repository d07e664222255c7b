"""Usage errors as one line: which option, what was given, what is allowed, and where the help is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from ..cli_common import print_error

UsageError: type[Any] = typer.BadParameter.__mro__[1]
"""The base class of wrong options, arguments and commands, which typer does not export."""


class OneLineErrors(TyperGroup):
    """A group that prints usage errors as one line on standard error and exits with 2."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """See `TyperGroup`."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except UsageError as error:
            _show(error, words)
            sys.exit(2)
        except typer.Abort:
            print_error("stopped")
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)


def _show(error: Any, words: Sequence[str]) -> None:
    """Print the error; of a command that lacks all arguments the help text, as typer does."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return
    given = _given(words, error.param.opts) if isinstance(error, typer.BadParameter) and error.param else None
    told = " ".join(error.format_message().split()).rstrip(".")
    told = told if given is None else f"{told}, got {given!r}"
    known = ""
    if error.ctx is not None:
        commands = getattr(error.ctx.command, "commands", {})  # of a group of typer's
        known = f"; there are {', '.join(commands)}" if told.startswith("No such command") else ""
        known += f"; see {error.ctx.command_path} --help"
    print_error(f"error: {told[:1].lower()}{told[1:]}{known}")


def _given(words: Sequence[str], names: Sequence[str]) -> str | None:
    """The value that follows one of an option's names on the command line, None where there is none."""
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names and name.startswith("-"):
            return value if equals else words[number + 1] if number + 1 < len(words) else None
    return None
