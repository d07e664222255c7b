"""What every command of the shell shares: bad input is one line, and what is heavy is imported when it is wanted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

Out = Annotated[Path | None, typer.Option(help="Folder or file to write to.")]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Bad input is one line on stderr and exit code 2; a run that could not go on says why and how, exit code 1; Ctrl-C
    says how to go on."""
    from .tasks.base import BadInput, Stopped

    try:
        yield
    except BadInput as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except Stopped as error:
        Console(stderr=True).print(f"stopped: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        Console(stderr=True).print("stopped; the same command goes on from here")
        raise typer.Exit(130) from None


def check_out(out: Path) -> None:
    """Errors: BadInput where the folder to write to is a file."""
    from .tasks.base import BadInput

    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out} is a file; it must be a folder")


@contextmanager
def trainable(
    out: Path, steps: int | None, *, least: int = 1, errors: tuple[type[Exception], ...] = (ValueError,)
) -> Iterator[None]:
    """Around a training: BadInput, on one line, for an `out` that is a file, for fewer than `least` steps (None is the
    usual number) and for `errors` of what is within."""
    from .tasks.base import BadInput

    check_out(out)
    if steps is not None and steps < least:
        raise BadInput(f"--steps must be at least {least}, got {steps}")
    try:
        yield
    except errors as error:
        raise BadInput(" ".join(str(error).split())) from error


def teller(console: Console | None) -> Callable[[str], None]:
    """Prints lines as they are, neither coloured nor wrapped."""
    return partial((console or Console()).print, highlight=False, soft_wrap=True)


def module(name: str) -> Any:
    """A module of this package. Errors: BadInput where something it wants is not installed."""
    from importlib import import_module

    from .tasks.base import BadInput

    try:
        return import_module(f".{name}", __package__)
    except ModuleNotFoundError as error:
        raise BadInput(f"this installation has no {error.name}") from None


def write(result: Mapping[str, Any], out: Path | None, console: Console) -> None:
    """`result` as JSON in the file `out`, whose folder is made, or as `result.json` in a folder that is there; nothing
    where `out` is None."""
    if out is None:
        return
    if out.is_dir():
        out = out / "result.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"written to {out}", highlight=False, soft_wrap=True)
