"""`forethought import`: search logs of other programs become a tape."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from ..tasks.base import BadInput


def import_log(log: Path, out: Path, console: Console | None = None) -> None:
    """Write the tape and say what is on it; BadInput names the line that is wrong."""
    from ...llm.importing.import_trees import import_trees

    try:
        found = asyncio.run(import_trees(log, out))
    except ValueError as error:
        raise BadInput(str(error)) from error
    told = f"{out}: {found.problems:,} problems, {found.nodes:,} nodes, {found.finished:,} finished solutions"
    if found.scale is not None:
        told += f"; values from {found.scale[0]:g} to {found.scale[1]:g} were mapped to 0 to 1"
    (console or Console()).print(told, highlight=False, soft_wrap=True)
    (console or Console()).print(f"next: forethought eval recorded --engine replay --tape {out}", soft_wrap=True)
