"""Figures of a training as they come: a CSV file, and TensorBoard where it is installed."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, float]
"""Figures by name, among them `steps`: real steps taken when they were measured."""


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """One line a row, with a head of all names in the order in which they first come; nothing for no rows."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not rows:
        return
    with Path(path).open("w", newline="") as file:
        sheet = csv.DictWriter(file, names, lineterminator="\n")
        sheet.writeheader()
        sheet.writerows(rows)


def tensorboard(folder: str | Path) -> Callable[[Row], None]:
    """Takes rows and writes each figure but `steps` as a scalar at that step; does nothing without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return lambda row: None
    writer: Any = SummaryWriter(str(folder))  # type: ignore[no-untyped-call]

    def watch(row: Row) -> None:
        for name, figure in row.items():
            if name != "steps":
                writer.add_scalar(name, figure, int(row["steps"]))
        writer.flush()

    return watch
