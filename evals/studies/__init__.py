"""`forethought study NAME`: each study answers one question about planning with models by a table and a figure.

- `study_table.py`: `StudyTable` and `Study`, with writing of tables and figures.
- `compounding_error.py`: how a learned model's error grows with the number of steps.
- `horizon.py`: return against the planning horizon, with and without a terminal value.
- `uncertainty_penalty.py`: planning with a penalty on ensemble disagreement.
- `planners.py`: all control planners at equal numbers of model evaluations.
- `residual.py`: known physics, learned models and their combination.
- `sample_efficiency.py`: environment steps until a task is solved, planned and model-free.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from rich.console import Console

from ..cli_common import check_output
from ..console import say
from ..errors import BadInput
from ..threads import one_thread
from .study_table import Study, StudyTable

NAMES = ("compounding-error", "horizon", "uncertainty-penalty", "planners", "residual", "sample-efficiency")
RESUMABLE = "sample-efficiency"
"""The study that stores finished curves, so that a stopped run continues."""


def main(name: str, out: Path, *, full: bool = False, seed: int = 0, console: Console | None = None) -> StudyTable:
    """Run a study on one thread, print its result, and write table and figure to `out`.

    Errors: BadInput for an unknown name.
    """
    if name not in NAMES:
        raise BadInput(f"no study {name!r}; there are {', '.join(NAMES)}")
    check_output(out)
    console = console or Console()
    study = cast(Study, import_module(f".{name.replace('-', '_')}", __package__))
    options = {"curves_file": out / f"{name}.jsonl"} if name == RESUMABLE else {}
    with one_thread():
        result = study.run(full=full, seed=seed, console=console, **options)
    result.name, result.command = name, f"forethought study {name}{' --full' * full} --seed {seed}"
    result.show(console)
    for path in result.write(out, study):
        say(console, f"written to {path}")
    return result
