"""`forethought import`: write the search log of another program as a tape."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from ..console import say
from ..errors import BadInput


def import_log(log: Path, out: Path, console: Console | None = None) -> None:
    """Write the tape and print its content. Errors: BadInput that names the wrong line of the log."""
    from ...llm.importing.import_trees import import_trees

    try:
        found = asyncio.run(import_trees(log, out))
    except ValueError as error:
        raise BadInput(str(error)) from error
    line = f"{out}: {found.problems:,} problems, {found.nodes:,} nodes, {found.finished:,} finished solutions"
    if found.scale is not None:
        line += f"; values from {found.scale[0]:g} to {found.scale[1]:g} were scaled to 0 to 1"
    say(console, line)
    (console or Console()).print(f"next: forethought eval recorded --engine replay --tape {out}", soft_wrap=True)
