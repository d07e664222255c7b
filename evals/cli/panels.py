"""The panels of `--help`, the order of the commands, and the examples below a command."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from ..cli_common import OUTPUT
from ..settings import MODEL, PLANNING, TASK, VALUES
from .usage import OneLineErrors

TRAINING = "Training"
MEASUREMENT = "Measurement"
EVALUATE = "Evaluate"
STUDY = "Train, study and measure"
SETUP = "Names and installation"

__all__ = [
    "EVALUATE", "MEASUREMENT", "MODEL", "ORDER", "OUTPUT", "PLANNING", "SETUP", "STUDY", "TASK", "TRAINING", "VALUES",
    "Ordered", "examples",
]  # fmt: skip

ORDER = ("eval", "solve", "demo", "pool", "import", "train", "study", "bench", "list", "doctor")
"""The commands as `forethought --help` lists them; others follow in the order of the modules."""


class Ordered(OneLineErrors):
    """A group whose commands are listed in `ORDER`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """See `TyperGroup`."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def examples(*lines: str) -> str:
    """The text below the options of a command, a line each, with brackets kept; lines fit 78 columns."""
    head = "Example:" if len(lines) == 1 else "Examples:"
    return "\n\n".join((head, *map(escape, lines)))
