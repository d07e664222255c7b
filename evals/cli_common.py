"""What all commands share: one-line errors, lazy imports of heavy modules, and plain printing and writing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .console import print_json, say

OUTPUT = "Output"
"""The panel of `--help` for what a command writes."""

Out = Annotated[Path | None, typer.Option(help="Folder or file to write to.", rich_help_panel=OUTPUT)]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON, and all else to standard error.", rich_help_panel=OUTPUT),
]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print known errors as one line on stderr: bad input exits with 2, a stopped run with 1, Ctrl-C with 130."""
    from .tasks.base import BadInput, RunStopped

    try:
        yield
    except BadInput as error:
        say(Console(stderr=True), f"error: {error}", style="red")
        raise typer.Exit(2) from None
    except RunStopped as error:
        say(Console(stderr=True), f"stopped: {error}", style="red")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        say(Console(stderr=True), "stopped; the same command continues from here")
        raise typer.Exit(130) from None


def run_command(work: Callable[[Console], Any], as_json: bool = False) -> None:
    """Do the work of a command with the console to print to, and turn known errors into one line (`plain_errors`).

    as_json: the result of `work` goes to standard output as JSON, and everything that is printed to standard error.
    """
    with plain_errors():
        if not as_json:
            work(Console())
            return
        with redirect_stdout(sys.stderr):
            result = work(Console(stderr=True))
        print_json(result)


def check_output_folder(out: Path) -> None:
    """Errors: BadInput where the output folder is a file."""
    from .tasks.base import BadInput

    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out} is a file; it must be a folder")


@contextmanager
def training_errors(
    out: Path, steps: int | None, *, least: int = 1, errors: tuple[type[Exception], ...] = (ValueError,)
) -> Iterator[None]:
    """Turn what can go wrong in a training into one-line errors.

    steps: the number that was asked for, None for the default number.
    Errors: BadInput where `out` is a file, `steps` is below `least`, or one of `errors` is raised inside the block.
    """
    from .tasks.base import BadInput

    check_output_folder(out)
    if steps is not None and steps < least:
        raise BadInput(f"--steps must be at least {least}, got {steps}")
    try:
        yield
    except errors as error:
        raise BadInput(" ".join(str(error).split())) from error


def printer(console: Console | None) -> Callable[[str], None]:
    """A function that prints lines as they are, without markup, colours and line breaks."""
    return partial(say, console)


def load_module(name: str) -> Any:
    """Import a module of `evals`. Errors: BadInput where a package that it needs is not installed."""
    from .tasks.base import BadInput

    try:
        return import_module(f".{name}", __package__)
    except ModuleNotFoundError as error:
        raise BadInput(f"this installation has no {error.name}") from None


def write_json(result: Mapping[str, Any], out: Path | None, console: Console) -> None:
    """Write `result` to the file `out`, or to `result.json` where `out` is a folder; do nothing where it is None."""
    if out is None:
        return
    if out.is_dir():
        out = out / "result.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    say(console, f"written to {out}")
