"""Figures of a training: a CSV file, and TensorBoard where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...planning.files import write_table

Row = dict[str, float]
"""Figures by name. `steps` is the number of environment steps taken before they were measured."""


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """Write a header of all names in order of first occurrence, and one line per row; no file for no rows."""
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    write_table(path, names, ([row.get(name, "") for name in names] for row in rows))


def tensorboard(folder: str | Path) -> Callable[[Row], None]:
    """A function that writes each figure of a row except `steps` as a scalar at that step.

    Without TensorBoard the function does nothing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return lambda row: None
    writer: Any = SummaryWriter(str(folder))

    def watch(row: Row) -> None:
        for name, figure in row.items():
            if name != "steps":
                writer.add_scalar(name, figure, int(row["steps"]))
        writer.flush()

    return watch
