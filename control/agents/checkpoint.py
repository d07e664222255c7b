"""The state of a training in rounds: all steps so far and the figures of every round, in one file.

The file is replaced atomically after each round. Nothing is saved of a round that did not finish: all else that a round
needs is a function of this state and of the round's number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...planning.differences import differences, listed
from ...planning.tensor_file import load_tensors, save_tensors
from ..data.transitions import Transitions
from .log import Row, write_csv

FORMAT = 4
"""The number of the format. Format 3 had all observations in float32, format 2 all settings in one text, format 1 other
names of fields."""

STATE_FILE, CSV_FILE = "progress.safetensors", "progress.csv"
LENGTH = "steps"
"""The setting that may grow when a training is continued."""


@dataclass
class TrainingState:
    """rounds: the steps of each round, those of random actions first. rows: the figures of each round of planning."""

    rounds: list[Transitions]
    rows: list[Row]

    @property
    def steps(self) -> int:
        """Environment steps taken so far."""
        return sum(map(len, self.rounds))


def settings_of(agent: Any) -> dict[str, str]:
    """The settings of an agent, a dataclass, by name."""
    return {field.name: repr(getattr(agent, field.name)) for field in fields(agent)}


def save_state(folder: str | Path, settings: Mapping[str, str], state: TrainingState) -> None:
    """Write `state` under these settings, and its rows as CSV. An interrupted write leaves the earlier file intact."""
    path = Path(folder) / STATE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"{i}.{name}": x for i, part in enumerate(state.rounds) for name, x in part.tensors().items()}
    header = {"format": FORMAT, "settings": dict(settings), "rounds": len(state.rounds), "rows": state.rows}
    save_tensors(path, tensors, header)
    write_csv(path.with_name(CSV_FILE), state.rows)


def load_state(folder: str | Path, settings: Mapping[str, str]) -> TrainingState:
    """The state that `save_state` wrote; an empty one where there is no file.

    Errors: ValueError where the file is damaged, has another format, or other settings, which are named; more steps
    than before are no other settings.
    """
    path = Path(folder) / STATE_FILE
    if not path.is_file():
        return TrainingState([], [])
    tensors, header = load_tensors(path)
    check_header(path, header, settings)
    try:
        count: Any = header["rounds"]
        figures: Any = header["rows"]
        names = [field.name for field in fields(Transitions)]
        rounds = [Transitions(*(tensors[f"{i}.{name}"] for name in names)) for i in range(count)]
        rows: list[Row] = [dict(row) for row in figures]
        if not all(isinstance(figure, int | float) for row in rows for figure in row.values()):
            raise TypeError("a figure is no number")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error!r}; train in another folder") from None
    return TrainingState(rounds, rows)


def check_header(path: Path, header: Mapping[str, Any], settings: Mapping[str, str]) -> None:
    """Errors: ValueError for a file of another format or of other settings."""
    number, before = header.get("format"), header.get("settings")
    if number != FORMAT or not isinstance(before, dict):
        age = ("older" if number < FORMAT else "newer") if isinstance(number, int) else "unknown"
        raise ValueError(
            f"{path} has the {age} format {number}, this version reads format {FORMAT}; train in another folder"
        )
    if changes := differences(before, settings, ignored=[LENGTH]):
        raise ValueError(f"{path} was trained with other settings: {listed(changes)}; use those or another folder")
