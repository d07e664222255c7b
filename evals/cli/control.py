"""The commands for control: training, its benchmarks, and the studies. `cli.py` adds the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli_common import Out, module, plain_errors

app = typer.Typer(help="One search core plans with any model.", no_args_is_help=True, pretty_exceptions_enable=False)
train = typer.Typer(help="Train a model.", no_args_is_help=True)
bench = typer.Typer(help="Measure how fast and how good the parts are.", no_args_is_help=True)
app.add_typer(train, name="train")
app.add_typer(bench, name="bench")

Env = Annotated[str, typer.Option(help="gymnasium's name of the environment.")]
Steps = Annotated[int, typer.Option(help="Real steps to learn from.")]
Members = Annotated[int, typer.Option(help="Networks, each trained on a bootstrap of the steps.")]
ModelFolder = Annotated[Path, typer.Option(help="Folder to write the model to.")]
Training = Annotated[Path, typer.Option(help="Folder for the training's state and the model.")]


@train.command("mlp")
def train_mlp(
    env: Env = "Pendulum-v1",
    steps: Steps = 1000,
    out: ModelFolder = Path("runs/mlp"),
    seed: int = 0,
) -> None:
    """Train a network to predict an environment, for `eval pendulum --model FOLDER`."""
    with plain_errors():
        from .train_control import mlp

        mlp(env, steps, out, seed=seed)


@train.command("ensemble")
def train_ensemble(
    env: Env = "Pendulum-v1",
    steps: Steps = 1000,
    out: ModelFolder = Path("runs/ensemble"),
    members: Members = 5,
    probabilistic: Annotated[bool, typer.Option(help="Whether each predicts a Gaussian or a mean alone.")] = True,
    seed: int = 0,
) -> None:
    """Train an ensemble of networks to predict an environment, for `eval pendulum --model FOLDER`."""
    with plain_errors():
        from .train_control import ensemble

        ensemble(env, steps, out, members=members, probabilistic=probabilistic, seed=seed)


@train.command("pets")
def train_pets(
    env: Env = "Pendulum-v1",
    steps: Annotated[int, typer.Option(help="Real steps in all.")] = 1000,
    first: Annotated[int, typer.Option(help="Those of them under random actions.")] = 200,
    envs: Annotated[int, typer.Option(help="Environments stepped at once.", min=1)] = 1,
    nodes: Annotated[int, typer.Option(help="Model evaluations of a decision.", min=1)] = 4096,
    out: Training = Path("runs/pets"),
    members: Members = 5,
    seed: int = 0,
) -> None:
    """Train an ensemble and plan with it to collect what it learns from next; a stopped training goes on."""
    with plain_errors():
        from .train_control import ensemble

        ensemble(env, steps, out, first=first, envs=envs, nodes=nodes, members=members, seed=seed)


@train.command("residual")
def train_residual(
    env: Annotated[str, typer.Option(help="An environment whose equations are known here.")] = "forethought/Bouncer-v0",
    steps: Steps = 300,
    out: ModelFolder = Path("runs/residual"),
    physics: Annotated[str, typer.Option(help="Constants believed to be otherwise: mass=1.4,length=0.9.")] = "",
    seed: int = 0,
) -> None:
    """Train what known equations leave unexplained; of the bouncer, free flight is known and contact is not."""
    with plain_errors():
        from .train_control import residual

        residual(env, steps, out, physics=physics, seed=seed)


@train.command("baseline")
def train_baseline(
    algorithm: Annotated[str, typer.Argument(help="sac, ppo or dqn, by stable-baselines3.")],
    env: Env = "Pendulum-v1",
    steps: Annotated[int, typer.Option(help="Real steps.", min=1)] = 5000,
    out: Annotated[Path, typer.Option(help="Folder to write progress.csv to.")] = Path("runs/baseline"),
    seed: int = 0,
) -> None:
    """Train a model-free baseline with the same log as `train pets`; needs the extra `baselines`."""
    with plain_errors():
        module("baselines").main(algorithm, env, steps, out, seed=seed)


@bench.command("mpc")
def bench_mpc(
    out: Out = None,
    candidates: Annotated[int, typer.Option(help="K, action sequences of a decision.", min=1)] = 512,
    horizon: Annotated[int, typer.Option(help="H, steps of each.", min=1)] = 20,
    repeats: Annotated[int, typer.Option(help="Decisions measured.", min=1)] = 15,
) -> None:
    """Milliseconds of a decision in learned models, next to peers where they are installed."""
    with plain_errors():
        module("bench.mpc").main(out, candidates=candidates, horizon=horizon, repeats=repeats)


@bench.command("certificates")
def bench_certificates(
    out: Out = None,
    nodes: Annotated[int, typer.Option(help="Model evaluations of each plan.", min=1)] = 4096,
    seeds: Annotated[int, typer.Option(help="Draws of the starts and of the planners' noise.", min=1)] = 5,
) -> None:
    """Every planner's gap to Riccati's optimum, to value iteration and to iLQR on the pendulum."""
    with plain_errors():
        module("bench.certificates").main(out, nodes=nodes, seeds=seeds)


@app.command()
def study(
    name: Annotated[
        str,
        typer.Argument(
            help="compounding-error, horizon, uncertainty-penalty, planners, residual or sample-efficiency."
        ),
    ],
    full: Annotated[bool, typer.Option("--full", help="For the record: more seeds, sizes and episodes.")] = False,
    seed: Annotated[int, typer.Option(help="Of data, training, episodes and planning.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the table (Markdown and CSV) and the figure.")] = Path(
        "runs/studies"
    ),
) -> None:
    """Answer one question about planning with models: a table and a figure."""
    with plain_errors():
        module("studies").main(name, out, full=full, seed=seed)
