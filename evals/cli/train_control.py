"""`forethought train` for control: networks, ensembles, PETS and corrected physics.

Errors of collecting, training and writing are reported as one line (`BadInput`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..cli_common import printer, training_errors
from ..errors import BadInput
from ..progress import step_progress

if TYPE_CHECKING:
    from ...control.dynamics import Dynamics


def mlp(
    env: str, steps: int, out: Path, *, wrappers: Sequence[str] = (), seed: int = 0, console: Console | None = None
) -> Any:
    """Collect environment steps under a random policy, train MLP dynamics on them, and save the model."""
    from ...control.world_models.mlp.fit import Fit, fit_mlp
    from ...control.world_models.spaces import config_for
    from ..tasks.environments import environment_id

    console = console or Console()
    with _input_errors(steps, out), step_progress("train mlp", console) as watch:
        env, fit = environment_id(env, wrappers), Fit(seed=seed, watch=watch)
        report = _train_and_save(env, steps, out, seed, lambda data: fit_mlp(data, config_for(env), fit))
    _report(f"{steps:,} steps of {env}, {report.epochs} epochs", report, out, console)
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
    wrappers: Sequence[str] = (),
    seed: int = 0,
    console: Console | None = None,
) -> Any:
    """Train an ensemble on `first` random steps and on steps of planning with it (PETS), and save the model.

    first: None for all steps, which trains on random steps only. envs: environments stepped in parallel. nodes: per
        decision. Every finished round is stored in `out`, from which a stopped training continues.
    """
    from ...control.agents.log import tensorboard
    from ...control.agents.pets import PETS
    from ...control.world_models.mlp.fit import Fit
    from ..planners import cem_for_environment
    from ..tasks.environments import environment_id

    console = console or Console()
    show, random_steps = printer(console), steps if first is None else first
    once = random_steps == steps
    if first is not None and first > steps:
        raise BadInput(f"--first must be at most --steps ({steps}), got {first}")
    with (
        _input_errors(steps, out),
        step_progress("train ensemble", console, quiet=not once) as passes,
        step_progress("train pets", console, quiet=once) as environment_steps,
    ):
        env = environment_id(env, wrappers)
        pets = PETS(
            env, steps, random_steps, envs=envs, planner=cem_for_environment(env), nodes=nodes, members=members,
            config={"probabilistic": probabilistic}, fit=Fit(seed=seed, watch=passes), seed=seed,
        )  # fmt: skip
        board = None if once else tensorboard(out)

        def watch(row: Any, model: Any) -> None:
            show(_round(row))
            if board is not None:
                board(row)
            environment_steps(min(steps, round(row["steps"] + envs * row["episode_length"])), steps)

        _, report = pets.train(out, watch)
    loss = "negative log-likelihood" if probabilistic else "squared error"
    head = (
        f"{steps:,} steps of {env}, {members} members, {max(report.epochs)} epochs, held-out {loss} {report.loss:.3g}"
    )
    _report(head, report, out, console)
    return report


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
    wrappers: Sequence[str] = (),
    seed: int = 0,
    console: Console | None = None,
) -> Any:
    """Collect steps as `mlp` does, train an ensemble on the residuals of known equations, and save both.

    physics: constants to assume instead of the true ones, "mass=1.4,length=0.9".
    """
    from ...control.world_models.ensemble.net import EnsembleConfig
    from ...control.world_models.mlp.fit import Fit
    from ...control.world_models.residual.fit import fit_residual
    from ...control.world_models.spaces import config_for
    from ..tasks.environments import environment_id

    console = console or Console()
    with _input_errors(steps, out), step_progress("train residual", console) as watch:
        env = environment_id(env, wrappers)
        assumed = assumed_physics(env, physics)

        def train(data: Any) -> Any:
            config = config_for(env, EnsembleConfig, members=members, probabilistic=False)
            return fit_residual(data, assumed, config, Fit(seed=seed, watch=watch))

        report = _train_and_save(env, steps, out, seed, train)
    head = f"{steps:,} steps of {env}, residuals of {assumed}, {members} members"
    _report(head, report, out, console, "not corrected, as the equations are exact")
    return report


def assumed_physics(env: str, constants: str) -> Dynamics:
    """The equations of an environment with some constants changed; those of free flight where there are contacts.

    Errors: ValueError for an unknown environment or constant, listing those that exist.
    """
    from dataclasses import fields, replace

    from ...control.dynamics import KNOWN, Bouncer
    from ...control.recognition import known_dynamics

    known = known_dynamics(env)
    if known is None:
        raise ValueError(f"the equations of {env} are not known, those of {', '.join(KNOWN)} are; train an ensemble")
    physics: Any = known
    physics = physics.free() if isinstance(physics, Bouncer) else physics
    names = [field.name for field in fields(physics)]
    changed = {}
    for part in filter(None, constants.split(",")):
        name, _, number = part.partition("=")
        if name.strip() not in names:
            raise ValueError(f"{env} has no constant {name.strip()!r}; there are {', '.join(names)}")
        try:
            changed[name.strip()] = float(number)
        except ValueError:
            raise ValueError(f"--physics: {name.strip()} must be a number, got {number!r}") from None
    return replace(physics, **changed)


def _input_errors(steps: int, out: Path) -> AbstractContextManager[None]:
    """Turn errors of collecting, training and writing into BadInput."""
    from gymnasium.error import Error

    return training_errors(out, steps, least=20, errors=(ValueError, Error))


def _train_and_save(env: str, steps: int, out: Path, seed: int, train: Callable[[Any], Any]) -> Any:
    """Train on random steps, save the model in `out`, and return the report of the training."""
    from ...control.data.collector import collect

    model, report = train(collect(env, steps, seed=seed, action_repeat=4))
    model.save(out)
    return report


def _report(
    head: str,
    report: Any,
    out: Path,
    console: Console | None,
    constant: str = "predicted as constant, as they never vary",
) -> None:
    """constant: what is said of the components in `report.constant`."""
    constant = f"; {constant}: {', '.join(report.constant)}"
    printer(console)(
        f"{head}; variance left unexplained: {report.train:.2g} on training steps, {report.held_out:.2g} on held-out "
        f"ones{constant if report.constant else ''}; saved in {out}"
    )
