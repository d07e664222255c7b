"""The state of a training in rounds: all steps so far and the figures of every round, in one file.

The file is replaced atomically after each round. Nothing is saved of a round that did not finish: all else that a round
needs is a function of this state and of the round's number.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from ..data.transitions import Transitions
from .log import Row, write_csv

FORMAT = 2
"""The number of the format. Format 1 had other names of fields and no truncations."""

STATE_FILE, CSV_FILE = "progress.safetensors", "progress.csv"


@dataclass
class TrainingState:
    """rounds: the steps of each round, those of random actions first. rows: the figures of each round of planning."""

    rounds: list[Transitions]
    rows: list[Row]

    @property
    def steps(self) -> int:
        """Environment steps taken so far."""
        return sum(map(len, self.rounds))


def save_state(folder: str | Path, settings: str, state: TrainingState) -> None:
    """Write `state` under these settings, and its rows as CSV. An interrupted write leaves the earlier file intact."""
    path = Path(folder) / STATE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"{i}.{name}": x for i, part in enumerate(state.rounds) for name, x in part.tensors().items()}
    metadata = {"format": str(FORMAT), "settings": settings, "rounds": str(len(state.rounds))}
    temporary = path.with_suffix(".half")
    save_file(tensors, temporary, metadata=metadata | {"rows": json.dumps(state.rows)})
    os.replace(temporary, path)
    write_csv(path.with_name(CSV_FILE), state.rows)


def load_state(folder: str | Path, settings: str) -> TrainingState:
    """The state that `save_state` wrote; an empty one where there is no file.

    Errors: ValueError where the file has another format or other settings, which are named.
    """
    path = Path(folder) / STATE_FILE
    if not path.is_file():
        return TrainingState([], [])
    with safe_open(path, "pt") as file:
        metadata: dict[str, str] = file.metadata()
        check_metadata(path, metadata, settings)
        rounds = [
            Transitions(*(file.get_tensor(f"{i}.{f.name}") for f in fields(Transitions)))
            for i in range(int(metadata["rounds"]))
        ]
    return TrainingState(rounds, json.loads(metadata["rows"]))


def check_metadata(path: Path, metadata: dict[str, str], settings: str) -> None:
    """Errors: ValueError for a file of another format or of other settings."""
    number = metadata.get("format", "0")
    if number != str(FORMAT):
        older = "the older format" if number.isdigit() and int(number) < FORMAT else "the unknown format"
        raise ValueError(f"{path} has {older} {number}, this version reads format {FORMAT}; train in another folder")
    if metadata["settings"] != settings:
        raise ValueError(
            f"{path} was trained with {metadata['settings']}, now asked for {settings}; use those or another folder"
        )
