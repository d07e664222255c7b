"""The commands for control: training, benchmarks and studies; `main.py` adds the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli_common import Json, Out, load_module, plain_errors, run_command
from ..settings import option
from .completion import complete_studies
from .panels import MEASUREMENT, OUTPUT, PLANNING, STUDY, TASK, TRAINING, Ordered, examples

app = typer.Typer(
    help="One search core plans with any model.", cls=Ordered, no_args_is_help=True, pretty_exceptions_enable=False,
    epilog=examples("forethought demo", "forethought eval stories --planner greedy,bfs,mcts --budgets 8,16,32"),
)  # fmt: skip
train = typer.Typer(help="Train a model.", no_args_is_help=True)
bench = typer.Typer(help="Measure speed and quality of the parts.", no_args_is_help=True)
app.add_typer(train, name="train", rich_help_panel=STUDY)
app.add_typer(bench, name="bench", rich_help_panel=STUDY)

Env = Annotated[str, option(TASK, "Environment id of gymnasium, module:Env-id, or FILE.py:Name.")]
Wrapper = Annotated[
    list[str] | None,
    option(TASK, "A wrapper of the environment, given again for each further one: a name of gymnasium.wrappers, "
           "FILE.py:Name or module:Name.", metavar="NAME"),
]  # fmt: skip
Steps = Annotated[int, option(TASK, "Environment steps to learn from.")]
Members = Annotated[int, option(TRAINING, "Networks, each trained on a bootstrap sample of the steps.", min=1)]
Seed = Annotated[int, option(TRAINING, "Seed of the data and of the training.", min=0)]
ModelFolder = Annotated[Path, option(OUTPUT, "Folder to write the model to.")]
Training = Annotated[Path, option(OUTPUT, "Folder for the state of the training and the model.")]


@train.command("mlp", epilog=examples(
    "forethought train mlp --env Pendulum-v1 --steps 1000 --out runs/mlp",
    "forethought eval pendulum --model runs/mlp --planner cem --budgets 4096",
))  # fmt: skip
def train_mlp(
    env: Env = "Pendulum-v1",
    steps: Steps = 1000,
    out: ModelFolder = Path("runs/mlp"),
    wrapper: Wrapper = None,
    seed: Seed = 0,
) -> None:
    """Train a network to predict an environment, for `eval pendulum --model FOLDER`."""
    with plain_errors():
        from .train_control import mlp

        mlp(env, steps, out, wrappers=wrapper or (), seed=seed)


@train.command("ensemble", epilog=examples("forethought train ensemble --env Pendulum-v1 --out runs/ensemble"))
def train_ensemble(
    env: Env = "Pendulum-v1",
    steps: Steps = 1000,
    out: ModelFolder = Path("runs/ensemble"),
    members: Members = 5,
    probabilistic: Annotated[
        bool,
        option(TRAINING, "Whether each member predicts a Gaussian or only a mean."),
    ] = True,
    wrapper: Wrapper = None,
    seed: Seed = 0,
) -> None:
    """Train an ensemble of networks to predict an environment, for `eval pendulum --model FOLDER`."""
    with plain_errors():
        from .train_control import ensemble

        ensemble(env, steps, out, members=members, probabilistic=probabilistic, wrappers=wrapper or (), seed=seed)


@train.command("pets", epilog=examples("forethought train pets --env Pendulum-v1 --steps 1000 --out runs/pets"))
def train_pets(
    env: Env = "Pendulum-v1",
    steps: Annotated[int, option(TASK, "Environment steps in total.")] = 1000,
    first: Annotated[int, option(TASK, "How many of them use random actions.", min=20)] = 200,
    envs: Annotated[int, option(TASK, "Environments that are stepped in parallel.", min=1)] = 1,
    nodes: Annotated[int, option(PLANNING, "Model evaluations per decision.", min=1)] = 4096,
    out: Training = Path("runs/pets"),
    members: Members = 5,
    wrapper: Wrapper = None,
    seed: Seed = 0,
) -> None:
    """Alternate training an ensemble and collecting data by planning with it (PETS); the same command continues."""
    with plain_errors():
        from .train_control import ensemble

        ensemble(
            env, steps, out, first=first, envs=envs, nodes=nodes, members=members, wrappers=wrapper or (), seed=seed
        )


@train.command("residual", epilog=examples(
    "forethought train residual --out runs/residual",
    "forethought train residual --env Pendulum-v1 --physics mass=1.4",
))  # fmt: skip
def train_residual(
    env: Annotated[
        str, option(TASK, "An environment whose equations of motion are included.")
    ] = "forethought/Bouncer-v0",
    steps: Steps = 300,
    out: ModelFolder = Path("runs/residual"),
    physics: Annotated[
        str,
        option(TRAINING, "Constants to assume instead of the true ones: mass=1.4,length=0.9."),
    ] = "",
    wrapper: Wrapper = None,
    seed: Seed = 0,
) -> None:
    """Train a correction of known equations; of the bouncer free flight is known and contact is not."""
    with plain_errors():
        from .train_control import residual

        residual(env, steps, out, physics=physics, wrappers=wrapper or (), seed=seed)


@train.command("baseline", epilog=examples("forethought train baseline sac --env Pendulum-v1 --steps 5000"))
def train_baseline(
    algorithm: Annotated[str, typer.Argument(help="sac, ppo or dqn, by stable-baselines3.")],
    env: Env = "Pendulum-v1",
    steps: Annotated[int, option(TASK, "Environment steps.", min=1)] = 5000,
    out: Annotated[Path, option(OUTPUT, "Folder to write progress.csv to.")] = Path("runs/baseline"),
    seed: Seed = 0,
) -> None:
    """Train a model-free baseline with the same log as `train pets`; needs the extra `baselines`."""
    with plain_errors():
        load_module("baselines").main(algorithm, env, steps, out, seed=seed)


@bench.command("mpc", epilog=examples("forethought bench mpc --candidates 512 --horizon 20"))
def bench_mpc(
    out: Out = None,
    candidates: Annotated[int, option(PLANNING, "K, action sequences per decision.", min=1)] = 512,
    horizon: Annotated[int, option(PLANNING, "H, steps per sequence.", min=1)] = 20,
    repeats: Annotated[int, option(MEASUREMENT, "Measured decisions.", min=1)] = 15,
    as_json: Json = False,
) -> None:
    """Milliseconds per decision in learned models, beside other libraries where they are installed."""
    run_command(
        lambda console: load_module("bench.mpc").main(
            out, candidates=candidates, horizon=horizon, repeats=repeats, console=console
        ),
        as_json,
        out,
    )


@bench.command("certificates", epilog=examples("forethought bench certificates --nodes 1024 --seeds 3"))
def bench_certificates(
    out: Out = None,
    nodes: Annotated[int, option(PLANNING, "Model evaluations per plan.", min=1)] = 4096,
    seeds: Annotated[
        int,
        option(MEASUREMENT, "Seeds of the initial states and of the planners.", min=1),
    ] = 5,
    as_json: Json = False,
) -> None:
    """Every planner's optimality gap on three problems: by Riccati's equation, value iteration and iLQR."""
    run_command(
        lambda console: load_module("bench.certificates").main(out, nodes=nodes, seeds=seeds, console=console),
        as_json,
        out,
    )


@app.command(rich_help_panel=STUDY, epilog=examples(
    "forethought study horizon", "forethought study planners --full --out runs/studies"
))  # fmt: skip
def study(
    name: Annotated[
        str,
        typer.Argument(
            help="compounding-error, horizon, uncertainty-penalty, planners, residual or sample-efficiency.",
            autocompletion=complete_studies,
        ),
    ],
    full: Annotated[bool, option(MEASUREMENT, "More seeds, sizes and episodes.", "--full")] = False,
    seed: Annotated[int, option(MEASUREMENT, "Seed of data, training, episodes and planning.")] = 0,
    out: Annotated[Path, option(OUTPUT, "Folder for the table (Markdown and CSV) and the figure.")] = Path(
        "runs/studies"
    ),
    as_json: Json = False,
) -> None:
    """Answer one question about planning with models: a table and a figure."""
    run_command(lambda console: load_module("studies").main(name, out, full=full, seed=seed, console=console), as_json)
