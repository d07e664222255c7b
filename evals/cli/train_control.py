"""`forethought train` for control: networks, ensembles, PETS and corrected physics.

What cannot be collected, trained or written is one line to the user (`BadInput`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console

from ..cli_common import teller, trainable


def mlp(env: str, steps: int, out: Path, *, seed: int = 0, console: Console | None = None) -> Any:
    """Collect `steps` real steps under a random policy, train the MLP dynamics on them, save the model."""
    from ...control.world_models.mlp.fit import Fit, config_for, fit_mlp

    with _inputs(steps, out):
        report = _trained(env, steps, out, seed, lambda data: fit_mlp(data, config_for(env), Fit(seed=seed)))
    _say(f"{steps:,} steps of {env}, {report.epochs} epochs", report, out, console)
    return report


def ensemble(
    env: str,
    steps: int,
    out: Path,
    *,
    first: int | None = None,
    envs: int = 1,
    nodes: int = 4096,
    members: int = 5,
    probabilistic: bool = True,
    seed: int = 0,
    console: Console | None = None,
) -> Any:
    """Train an ensemble on `first` random steps and on what planning with it then did (PETS); save the model.

    first: None means all steps, which is training on random steps alone. envs: environments stepped at once. nodes: of
    each decision. Every finished round stays in `out`, from where a training that was stopped goes on.
    """
    from ...control.agents.log import tensorboard
    from ...control.agents.pets import PETS
    from ...control.world_models.mlp.fit import Fit

    tell = teller(console)
    with _inputs(steps, out):
        pets = PETS(
            env, steps, steps if first is None else first, envs=envs, planner=shooter(env), nodes=nodes,
            members=members, config={"probabilistic": probabilistic}, fit=Fit(seed=seed), seed=seed,
        )  # fmt: skip
        board = None if pets.first == steps else tensorboard(out)

        def watch(row: Any, model: Any) -> None:
            tell(_round(row))
            if board is not None:
                board(row)

        _, report = pets.train(out, watch)
    loss = "negative log-likelihood" if probabilistic else "squared error"
    head = (
        f"{steps:,} steps of {env}, {members} members, {max(report.epochs)} epochs, held-out {loss} {report.loss:.3g}"
    )
    _say(head, report, out, console)
    return report


def shooter(env: str) -> Any:
    """CEM with the settings that suit a known task; 30 steps ahead where actions are discrete, no leaf value helps."""
    from ...control.tasks import TASKS
    from ...planning import CEM, GaussianSettings

    for task in TASKS.values():
        if task.env_id == env and not task.discrete:
            return CEM(**task.settings["cem"])
    return CEM(horizon=30, smoothing=0.1, vectors=GaussianSettings(std=1.0))


def _round(row: Any) -> str:
    return (
        f"round {row['round']:.0f}, {row['steps']:,.0f} steps: return {row['episode_return']:.1f} in "
        f"{row['episode_length']:.0f} steps, held-out variance unexplained {row['held_out']:.2g}"
    )


def residual(
    env: str,
    steps: int,
    out: Path,
    *,
    physics: str = "",
    members: int = 5,
    seed: int = 0,
    console: Console | None = None,
) -> Any:
    """Collect as `mlp` does, train an ensemble on what known equations leave unexplained, save physics and correction.

    physics: constants that are believed to be other than they are, "mass=1.4,length=0.9".
    """
    from ...control.world_models.ensemble.net import EnsembleConfig
    from ...control.world_models.mlp.fit import Fit, config_for
    from ...control.world_models.residual.fit import fit_residual

    with _inputs(steps, out):
        believed = believed_physics(env, physics)

        def train(data: Any) -> Any:
            config = config_for(env, EnsembleConfig, members=members, probabilistic=False)
            return fit_residual(data, believed, config, Fit(seed=seed))

        report = _trained(env, steps, out, seed, train)
    _say(f"{steps:,} steps of {env}, what {believed} leaves of them, {members} members", report, out, console)
    return report


def believed_physics(env: str, constants: str) -> Any:
    """The equations of an environment with some constants changed; of one with contacts, those of free flight.

    Errors: ValueError that lists what there is, for an environment or constant that is not.
    """
    from dataclasses import fields, replace

    from ...control.dynamics import KNOWN

    if env not in KNOWN:
        raise ValueError(f"the equations of {env} are not known, those of {', '.join(KNOWN)} are; train an ensemble")
    physics: Any = KNOWN[env]
    physics = physics.free() if hasattr(physics, "free") else physics
    names = [field.name for field in fields(physics)]
    changed = {}
    for part in filter(None, constants.split(",")):
        name, _, number = part.partition("=")
        if name.strip() not in names:
            raise ValueError(f"{env} has no constant {name.strip()!r}; there are {', '.join(names)}")
        changed[name.strip()] = float(number)
    return replace(physics, **changed)


def _inputs(steps: int, out: Path) -> AbstractContextManager[None]:
    """BadInput for what cannot be collected, trained or written."""
    from gymnasium.error import Error

    return trainable(out, steps, least=20, errors=(ValueError, Error))


def _trained(env: str, steps: int, out: Path, seed: int, train: Callable[[Any], Any]) -> Any:
    """The report of what `train` makes of random steps; its model is in `out`."""
    from ...control.data.collector import collect

    model, report = train(collect(env, steps, seed=seed, hold=4))
    model.save(out)
    return report


def _say(head: str, report: Any, out: Path, console: Console | None) -> None:
    teller(console)(
        f"{head}; variance left unexplained: {report.train:.2g} on training steps, {report.held_out:.2g} on held-out "
        f"ones; saved in {out}"
    )
