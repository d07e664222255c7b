"""The commands for control: training, benchmarks and studies; `main.py` adds the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli_common import Out, check_output, load_module, plain_errors

app = typer.Typer(help="One search core plans with any model.", no_args_is_help=True, pretty_exceptions_enable=False)
train = typer.Typer(help="Train a model.", no_args_is_help=True)
bench = typer.Typer(help="Measure speed and quality of the parts.", no_args_is_help=True)
app.add_typer(train, name="train")
app.add_typer(bench, name="bench")

Env = Annotated[str, typer.Option(help="Environment id of gymnasium.")]
Steps = Annotated[int, typer.Option(help="Environment steps to learn from.")]
Members = Annotated[int, typer.Option(help="Networks, each trained on a bootstrap sample of the steps.")]
ModelFolder = Annotated[Path, typer.Option(help="Folder to write the model to.")]
Training = Annotated[Path, typer.Option(help="Folder for the state of the training and the model.")]


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
    probabilistic: Annotated[bool, typer.Option(help="Whether each member predicts a Gaussian or only a mean.")] = True,
    seed: int = 0,
) -> None:
    """Train an ensemble of networks to predict an environment, for `eval pendulum --model FOLDER`."""
    with plain_errors():
        from .train_control import ensemble

        ensemble(env, steps, out, members=members, probabilistic=probabilistic, seed=seed)


@train.command("pets")
def train_pets(
    env: Env = "Pendulum-v1",
    steps: Annotated[int, typer.Option(help="Environment steps in total.")] = 1000,
    first: Annotated[int, typer.Option(help="How many of them use random actions.")] = 200,
    envs: Annotated[int, typer.Option(help="Environments that are stepped in parallel.", min=1)] = 1,
    nodes: Annotated[int, typer.Option(help="Model evaluations per decision.", min=1)] = 4096,
    out: Training = Path("runs/pets"),
    members: Members = 5,
    seed: int = 0,
) -> None:
    """Alternate training an ensemble and collecting data by planning with it (PETS); the same command continues."""
    with plain_errors():
        from .train_control import ensemble

        ensemble(env, steps, out, first=first, envs=envs, nodes=nodes, members=members, seed=seed)


@train.command("residual")
def train_residual(
    env: Annotated[
        str, typer.Option(help="An environment whose equations of motion are included.")
    ] = "forethought/Bouncer-v0",
    steps: Steps = 300,
    out: ModelFolder = Path("runs/residual"),
    physics: Annotated[
        str, typer.Option(help="Constants to assume instead of the true ones: mass=1.4,length=0.9.")
    ] = "",
    seed: int = 0,
) -> None:
    """Train a correction of known equations; of the bouncer free flight is known and contact is not."""
    with plain_errors():
        from .train_control import residual

        residual(env, steps, out, physics=physics, seed=seed)


@train.command("baseline")
def train_baseline(
    algorithm: Annotated[str, typer.Argument(help="sac, ppo or dqn, by stable-baselines3.")],
    env: Env = "Pendulum-v1",
    steps: Annotated[int, typer.Option(help="Environment steps.", min=1)] = 5000,
    out: Annotated[Path, typer.Option(help="Folder to write progress.csv to.")] = Path("runs/baseline"),
    seed: int = 0,
) -> None:
    """Train a model-free baseline with the same log as `train pets`; needs the extra `baselines`."""
    with plain_errors():
        load_module("baselines").main(algorithm, env, steps, out, seed=seed)


@bench.command("mpc")
def bench_mpc(
    out: Out = None,
    candidates: Annotated[int, typer.Option(help="K, action sequences per decision.", min=1)] = 512,
    horizon: Annotated[int, typer.Option(help="H, steps per sequence.", min=1)] = 20,
    repeats: Annotated[int, typer.Option(help="Measured decisions.", min=1)] = 15,
) -> None:
    """Milliseconds per decision in learned models, beside other libraries where they are installed."""
    with plain_errors():
        check_output(out, file=True)
        load_module("bench.mpc").main(out, candidates=candidates, horizon=horizon, repeats=repeats)


@bench.command("certificates")
def bench_certificates(
    out: Out = None,
    nodes: Annotated[int, typer.Option(help="Model evaluations per plan.", min=1)] = 4096,
    seeds: Annotated[int, typer.Option(help="Seeds of the initial states and of the planners.", min=1)] = 5,
) -> None:
    """Every planner's optimality gap on three problems: by Riccati's equation, value iteration and iLQR."""
    with plain_errors():
        check_output(out, file=True)
        load_module("bench.certificates").main(out, nodes=nodes, seeds=seeds)


@app.command()
def study(
    name: Annotated[
        str,
        typer.Argument(
            help="compounding-error, horizon, uncertainty-penalty, planners, residual or sample-efficiency."
        ),
    ],
    full: Annotated[bool, typer.Option("--full", help="More seeds, sizes and episodes.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of data, training, episodes and planning.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the table (Markdown and CSV) and the figure.")] = Path(
        "runs/studies"
    ),
) -> None:
    """Answer one question about planning with models: a table and a figure."""
    with plain_errors():
        load_module("studies").main(name, out, full=full, seed=seed)
