"""`forethought study NAME`: one question about planning with models, answered by a table and a figure."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from rich.console import Console

from ..bench.threads import one_thread
from ..cli_common import check_out
from ..tasks import BadInput
from .sheet import Sheet

NAMES = ("compounding-error", "horizon", "uncertainty-penalty", "planners", "residual", "sample-efficiency")


def main(name: str, out: Path, *, full: bool = False, seed: int = 0, console: Console | None = None) -> Sheet:
    """Run a study on one thread, print what it found, write its table and figure to `out`.

    Errors: BadInput for a name that is none.
    """
    if name not in NAMES:
        raise BadInput(f"no study {name!r}; there are {', '.join(NAMES)}")
    check_out(out)
    console = console or Console()
    study: Any = import_module(f".{name.replace('-', '_')}", __package__)
    more = {"keep": out / f"{name}.jsonl"} if "keep" in signature(study.run).parameters else {}
    with one_thread():
        sheet: Sheet = study.run(full=full, seed=seed, **more)
    sheet.name, sheet.command = name, f"forethought study {name}{' --full' * full} --seed {seed}"
    sheet.show(console)
    panels = len(study.panels(sheet.rows)) if hasattr(study, "panels") else None
    for path in sheet.write(out, study.draw, panels):
        console.print(f"written to {path}", highlight=False, soft_wrap=True)
    return sheet
