"""`forethought train`: the models that a user makes for himself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from .tasks.base import BadInput


def mlp(env: str, steps: int, out: Path, *, seed: int = 0, console: Console | None = None) -> Any:
    """Collect `steps` real steps under a random policy, train the MLP dynamics on them, save the model."""
    from ..control.models.fit import Fit, config_for, fit_mlp

    with _inputs(steps, out):
        report = _trained(env, steps, out, seed, lambda data: fit_mlp(data, config_for(env), Fit(seed=seed)))
    _say(f"{steps:,} steps of {env}, {report.epochs} epochs", report, out, console)
    return report


def ensemble(
    env: str,
    steps: int,
    out: Path,
    *,
    members: int = 5,
    probabilistic: bool = True,
    seed: int = 0,
    console: Console | None = None,
) -> Any:
    """Collect as `mlp` does, train an ensemble of networks, save the model."""
    from ..control.models.fit import Fit, config_for
    from ..control.models.fit_ensemble import fit_ensemble
    from ..control.models.stacked import EnsembleConfig

    def train(data: Any) -> Any:
        config = config_for(env, EnsembleConfig, members=members, probabilistic=probabilistic)
        return fit_ensemble(data, config, Fit(seed=seed))

    with _inputs(steps, out):
        report = _trained(env, steps, out, seed, train)
    loss = "negative log-likelihood" if probabilistic else "squared error"
    head = (
        f"{steps:,} steps of {env}, {members} members, {max(report.epochs)} epochs, held-out {loss} {report.loss:.3g}"
    )
    _say(head, report, out, console)
    return report


@contextmanager
def _inputs(steps: int, out: Path) -> Iterator[None]:
    """BadInput for what cannot be collected, trained or written."""
    import gymnasium

    if steps < 20:
        raise BadInput(f"--steps must be at least 20, got {steps}")
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out} is a file; it must be a folder")
    try:
        yield
    except (ValueError, gymnasium.error.Error) as error:
        raise BadInput(" ".join(str(error).split())) from error


def _trained(env: str, steps: int, out: Path, seed: int, train: Callable[[Any], Any]) -> Any:
    """The report of what `train` makes of random steps; its model is in `out`."""
    from ..control.collect import collect

    model, report = train(collect(env, steps, seed=seed, hold=4))
    model.save(out)
    return report


def _say(head: str, report: Any, out: Path, console: Console | None) -> None:
    (console or Console()).print(
        f"{head}; variance left unexplained: {report.train:.2g} on training steps, {report.held_out:.2g} on held-out "
        f"ones; saved in {out}", highlight=False, soft_wrap=True,
    )  # fmt: skip


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
