"""What a training in rounds keeps: every step so far and every round's figures, in one file that is replaced at once.

Nothing is kept of a round that did not finish; what else a round needs is a function of these and of its number.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from ..data.transitions import Transitions
from .log import Row, write_csv

FORMAT = "1"
NAME, TABLE = "progress.safetensors", "progress.csv"


@dataclass
class Progress:
    """parts: the steps of each round, the random ones first. rows: the figures of each round of planning."""

    parts: list[Transitions]
    rows: list[Row]


def remember(folder: str | Path, settings: str, progress: Progress) -> None:
    """Write `progress` under these settings, and its rows as CSV; a write that is cut off leaves what was there."""
    path = Path(folder) / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {
        f"{i}.{f.name}": getattr(part, f.name) for i, part in enumerate(progress.parts) for f in fields(Transitions)
    }
    head = {"format": FORMAT, "settings": settings, "rounds": str(len(progress.parts))}
    half = path.with_suffix(".half")
    save_file(told, half, metadata=head | {"rows": json.dumps(progress.rows)})
    os.replace(half, path)
    write_csv(path.with_name(TABLE), progress.rows)


def recall(folder: str | Path, settings: str) -> Progress:
    """What `remember` wrote; nothing done yet where it wrote nothing.

    Errors: ValueError where the folder is of another format or of other settings, which are named.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        return Progress([], [])
    with safe_open(path, "pt") as file:
        head: dict[str, Any] = file.metadata()
        if head.get("format") != FORMAT:
            raise ValueError(f"{path} has format {head.get('format')}, wanted {FORMAT}; use another folder")
        if head["settings"] != settings:
            raise ValueError(f"{path} is of {head['settings']}, asked for is {settings}; use those or another folder")
        parts = [
            Transitions(*(file.get_tensor(f"{i}.{f.name}") for f in fields(Transitions)))
            for i in range(int(head["rounds"]))
        ]
    return Progress(parts, json.loads(head["rows"]))
