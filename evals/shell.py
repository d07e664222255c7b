"""What every command of the shell shares: bad input is one line, and what is heavy is imported when it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

Out = Annotated[Path | None, typer.Option(help="Folder or file to write to.")]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Bad input is one line on stderr and exit code 2; Ctrl-C says how to go on."""
    from .tasks.base import BadInput

    try:
        yield
    except BadInput as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        Console(stderr=True).print("stopped; the same command goes on from here")
        raise typer.Exit(130) from None


def module(name: str) -> Any:
    """A module of this package. Errors: BadInput where something it wants is not installed."""
    from importlib import import_module

    from .tasks.base import BadInput

    try:
        return import_module(f".{name}", __package__)
    except ModuleNotFoundError as error:
        raise BadInput(f"this installation has no {error.name}") from None
