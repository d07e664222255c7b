"""`forethought train`: the models that a user makes for himself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from .tasks.base import BadInput


def mlp(env: str, steps: int, out: Path, *, seed: int = 0, console: Console | None = None) -> Any:
    """Collect `steps` real steps under a random policy, train the MLP dynamics on them, save the model."""
    import gymnasium

    from ..control.collect import collect
    from ..control.models.fit import Fit, config_for, fit_mlp

    if steps < 20:
        raise BadInput(f"--steps must be at least 20, got {steps}")
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out} is a file; it must be a folder")
    try:
        data = collect(env, steps, seed=seed, hold=4)
        model, report = fit_mlp(data, config_for(env), Fit(seed=seed))
    except (ValueError, gymnasium.error.Error) as error:
        raise BadInput(" ".join(str(error).split())) from error
    model.save(out)
    console = console or Console()
    console.print(
        f"{steps:,} steps of {env}, {report.epochs} epochs; variance left unexplained: {report.train:.2g} on training "
        f"steps, {report.held_out:.2g} on held-out ones; saved in {out}", highlight=False, soft_wrap=True,
    )  # fmt: skip
    return report


def reasoner(out: Path, *, seed: int = 0, steps: int | None = None, console: Console | None = None) -> Path:
    """Train the built-in language model, or go on with the training in `out`; returns the finished model's folder.

    A model that is missing from this installation is put in its place when the training has ended.
    """
    import shutil

    from ..llm.embedded.train import train
    from ..llm.load import BUILTIN

    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out} is a file; it must be a folder")
    if steps is not None and steps < 1:
        raise BadInput(f"--steps must be at least 1, got {steps}")
    console = console or Console()
    try:
        train(out, seed=seed, steps=steps, log=lambda line: console.print(line, highlight=False, soft_wrap=True))
    except ValueError as error:
        raise BadInput(str(error)) from error
    model = out / "model"
    if not (BUILTIN / "config.json").is_file():
        shutil.copytree(model, BUILTIN, dirs_exist_ok=True)
    console.print(f"saved in {model}; use it with --model {model}", highlight=False, soft_wrap=True)
    return model
