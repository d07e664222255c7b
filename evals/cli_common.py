"""What all commands share: one-line errors, lazy imports, checks of outputs, and safe printing and writing."""

from __future__ import annotations

import json
import sys
import tempfile
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

LONGEST_ERROR = 1000
"""Characters of an error that are shown."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print known errors as one line on stderr: bad input exits with 2, a stopped run with 1, Ctrl-C with 130."""
    from .errors import BadInput, RunStopped

    try:
        yield
    except BadInput as error:
        print_error(f"error: {error}")
        raise typer.Exit(2) from None
    except RunStopped as error:
        print_error(f"stopped: {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        say(Console(stderr=True), "stopped; the same command continues from here")
        raise typer.Exit(130) from None


def run_command(work: Callable[[Console], Any], as_json: bool = False, out: Path | None = None) -> None:
    """Do the work of a command with the console to print to, and turn known errors into one line (`plain_errors`).

    out: the file that the result is written to, which is tried before the work. as_json: the result of `work` goes to
    standard output as JSON, and everything that is printed to standard error.
    """
    with plain_errors():
        check_output(out, file=True)
        if not as_json:
            work(Console())
            return
        with redirect_stdout(sys.stderr):
            result = work(Console(stderr=True))
        print_json(result)


def print_error(text: str) -> None:
    """Print an error as one line of at most `LONGEST_ERROR` characters on standard error, without secrets."""
    from ..planning.redaction import redact

    line = " ".join(redact(text).split())
    line = line if len(line) <= LONGEST_ERROR else f"{line[:LONGEST_ERROR]}..."
    say(Console(stderr=True), line, style="red")


def check_output(out: Path | None, *, file: bool = False) -> None:
    """Find out before any work whether `out` can be written to, by writing there; nothing is left behind.

    file: whether `out` is a file, or an existing folder in which a file is written. None is always allowed.
    Errors: BadInput that names `out` and the reason.
    """
    from .errors import BadInput

    if out is None:
        return
    try:
        if not file and out.exists() and not out.is_dir():
            raise BadInput(f"--out {out} is a file; it must be a folder")
        if file and out.exists() and not (out.is_dir() or out.is_file()):
            return  # a device such as /dev/null
        _try_to_write(out.parent if file and not out.is_dir() else out)
        if file and not out.exists():
            _try_name(out)
    except (OSError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadInput(f"--out {out} cannot be written to: {reason}; choose another place") from None


def _try_to_write(folder: Path) -> None:
    """Make the folder and a file in it, and remove what was made."""
    made = []
    while not folder.exists():
        made.append(folder)
        folder = folder.parent
    try:
        for each in reversed(made):
            each.mkdir()
        with tempfile.TemporaryFile(dir=made[0] if made else folder):
            pass
    finally:
        for each in made:
            if each.is_dir():
                each.rmdir()


def _try_name(file: Path) -> None:
    """Make and remove the file where its folder exists, since a name can be too long."""
    if file.parent.is_dir():
        file.touch(exist_ok=False)
        file.unlink()


@contextmanager
def training_errors(
    out: Path, steps: int | None, *, least: int = 1, errors: tuple[type[Exception], ...] = (ValueError,)
) -> Iterator[None]:
    """Turn what can go wrong in a training into one-line errors.

    steps: the number that was asked for, None for the default number.
    Errors: BadInput where `out` cannot be written to or another training writes to it, where `steps` is below `least`,
    or where one of `errors` is raised inside.
    """
    from ..planning.files import locked_folder
    from .errors import BadInput

    check_output(out)
    if steps is not None and steps < least:
        raise BadInput(f"--steps must be at least {least}, got {steps}")
    try:
        with locked_folder(out):
            yield
    except BlockingIOError:
        raise BadInput(f"another training is writing to {out}; wait for it or choose another --out") from None
    except errors as error:
        raise BadInput(" ".join(str(error).split())) from error


def printer(console: Console | None) -> Callable[[str], None]:
    """A function that prints lines as they are, without markup, colours and line breaks."""
    return partial(say, console)


def load_module(name: str) -> Any:
    """Import a module of `evals`. Errors: BadInput where a package that it needs is not installed."""
    from .errors import BadInput

    try:
        return import_module(f".{name}", __package__)
    except ModuleNotFoundError as error:
        raise BadInput(f"this installation has no {error.name}") from None


def write_json(result: Mapping[str, Any], out: Path | None, console: Console) -> None:
    """Write `result` to the file `out`, or to `result.json` where `out` is a folder; do nothing where it is None."""
    from ..planning.files import write_whole

    if out is None:
        return
    if out.is_dir():
        out = out / "result.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, json.dumps(result, indent=1) + "\n")
    say(console, f"written to {out}")
