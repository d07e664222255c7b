"""The command `forethought`. Everything heavy is imported by the command that needs it, so that errors come at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(help="One search core plans with any model.", no_args_is_help=True, pretty_exceptions_enable=False)
train = typer.Typer(help="Train a model.", no_args_is_help=True)
bench = typer.Typer(help="Measure how fast and how good the parts are.", no_args_is_help=True)
app.add_typer(train, name="train")
app.add_typer(bench, name="bench")

Out = Annotated[Path | None, typer.Option(help="Folder or file to write to.")]


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Bad input is one line on stderr and exit code 2; Ctrl-C says how to go on."""
    from .tasks.base import BadInput

    try:
        yield
    except BadInput as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        Console(stderr=True).print("stopped; the same command goes on from here")
        raise typer.Exit(130) from None


@app.command("eval")
def evaluate(
    task: Annotated[str, typer.Argument(help="stories, gsm8k, recorded, pendulum or cartpole.")],
    model: Annotated[
        str | None, typer.Option(help="builtin, a folder or a hub id; replay: one on the tape; control: analytic.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(help="What runs a language model: transformers, openai (a server), replay (a tape, no model)."),
    ] = "transformers",
    planner: Annotated[str | None, typer.Option(help="Names, separated by commas.")] = None,
    budgets: Annotated[str | None, typer.Option(help="Numbers, separated by commas.")] = None,
    unit: Annotated[str, typer.Option(help="What a budget counts: nodes, calls, tokens or seconds.")] = "nodes",
    value: Annotated[
        str | None,
        typer.Option(
            help="The critic: self, logprob, none, rating, vote, rollout, prm, orm, recorded, oracle (the truth, for "
            "studies only), or a sum such as 0.3*self+0.7*prm. By default self."
        ),
    ] = None,
    width: Annotated[int, typer.Option(help="Continuations a tree search considers at a node.")] = 4,
    against: Annotated[str | None, typer.Option(help="The planner that others are compared with.")] = None,
    limit: Annotated[int | None, typer.Option(help="The first so many problems or episodes.")] = None,
    seed: Annotated[int, typer.Option(help="Of the tree, the planners and the episodes.")] = 0,
    out: Out = None,
    in_flight: Annotated[int, typer.Option(help="Problems worked on at once.")] = 64,
    data: Annotated[Path | None, typer.Option(help="gsm8k: a JSON-lines file with question and answer.")] = None,
    split: Annotated[str, typer.Option(help="stories: test, validation or hard.")] = "test",
    temperature: Annotated[float, typer.Option(help="Of sampling; greedy is always at 0.")] = 0.8,
    device: Annotated[str, typer.Option(help="Where the model runs.")] = "cpu",
    hold: Annotated[int | None, typer.Option(help="Control: steps an action lasts.")] = None,
    leaf: Annotated[bool | None, typer.Option(help="Control: whether the task's leaf value stands at leaves.")] = None,
    tape: Annotated[
        Path | None, typer.Option(help="File that keeps every generation and score; a second run calls no model.")
    ] = None,
    base_url: Annotated[str, typer.Option(help="openai: the server's address, several separated by commas.")] = "",
    reward_model: Annotated[str | None, typer.Option(help="prm, orm: a folder or a hub id.")] = None,
    reward_format: Annotated[str, typer.Option(help="prm, orm: math_shepherd, rlhflow, qwen or skywork.")] = "",
    aggregate: Annotated[str, typer.Option(help="prm: last, min, product or mean of the steps' scores.")] = "last",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Score planners on a task at several budgets; a run that was stopped goes on where it was."""
    with _plain_errors():
        from .request import checked

        request = checked(
            task, planner, budgets, model=model, against=against, engine=engine, unit=unit, value=value, width=width,
            limit=limit, seed=seed, out=out, in_flight=in_flight, data=data, split=split, temperature=temperature,
            device=device, hold=hold, leaf=leaf, tape=tape, base_url=base_url, reward_model=reward_model,
            reward_format=reward_format, aggregate=aggregate, quiet=quiet,
        )  # fmt: skip
        from .evaluate import evaluate as run

        run(request)


@app.command("import")
def import_log(
    log: Annotated[Path, typer.Argument(help="Trees as JSON lines with problem, path, step, value, correct.")],
    out: Annotated[Path, typer.Option(help="The tape to write.")],
) -> None:
    """Make a tape of trees that another program searched, for `eval recorded --engine replay --tape FILE`."""
    with _plain_errors():
        from .importing import import_log as run

        run(log, out)


@train.command("reasoner")
def train_reasoner(
    out: Annotated[Path, typer.Option(help="Folder for the training's state and the model.")] = Path("runs/reasoner"),
    seed: int = 0,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; by default those of the shipped model.")] = None,
) -> None:
    """Train the built-in language model from scratch on generated stories; a stopped training goes on."""
    with _plain_errors():
        from .training import reasoner

        reasoner(out, seed=seed, steps=steps)


@train.command("mlp")
def train_mlp(
    env: Annotated[str, typer.Option(help="gymnasium's name of the environment.")] = "Pendulum-v1",
    steps: Annotated[int, typer.Option(help="Real steps to learn from.")] = 1000,
    out: Annotated[Path, typer.Option(help="Folder to write the model to.")] = Path("runs/mlp"),
    seed: int = 0,
) -> None:
    """Train a network to predict an environment, for `eval pendulum --model FOLDER`."""
    with _plain_errors():
        from .training import mlp

        mlp(env, steps, out, seed=seed)


@train.command("ensemble")
def train_ensemble(
    env: Annotated[str, typer.Option(help="gymnasium's name of the environment.")] = "Pendulum-v1",
    steps: Annotated[int, typer.Option(help="Real steps to learn from.")] = 1000,
    out: Annotated[Path, typer.Option(help="Folder to write the model to.")] = Path("runs/ensemble"),
    members: Annotated[int, typer.Option(help="Networks, each trained on a bootstrap of the steps.")] = 5,
    probabilistic: Annotated[bool, typer.Option(help="Whether each predicts a Gaussian or a mean alone.")] = True,
    seed: int = 0,
) -> None:
    """Train an ensemble of networks to predict an environment, for `eval pendulum --model FOLDER`."""
    with _plain_errors():
        from .training import ensemble

        ensemble(env, steps, out, members=members, probabilistic=probabilistic, seed=seed)


@bench.command("search")
def bench_search(out: Out = None, repeats: int = 5) -> None:
    """Microseconds per simulation per root, the model's work excluded."""
    with _plain_errors():
        _module("bench.search").main(out, repeats=repeats)


@bench.command("engine")
def bench_engine(out: Out = None) -> None:
    """Nodes and tokens per second of tree search against independent sampling."""
    with _plain_errors():
        _module("bench.engine").main(out)


@bench.command("certificates")
def bench_certificates(
    out: Out = None,
    nodes: Annotated[int, typer.Option(help="Model evaluations of each plan.", min=1)] = 4096,
    seeds: Annotated[int, typer.Option(help="Draws of the starts and of the planners' noise.", min=1)] = 5,
) -> None:
    """Every planner's gap to Riccati's optimum, to value iteration and to iLQR on the pendulum."""
    with _plain_errors():
        _module("bench.certificates").main(out, nodes=nodes, seeds=seeds)


@app.command()
def doctor() -> None:
    """What is installed, which engines and devices work, and what to do about the rest."""
    from .doctor import main as examine

    raise typer.Exit(examine())


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("runs/demo")) -> None:
    """What does a larger search budget buy? For a language model and a pendulum, with the same planners."""
    with _plain_errors():
        from .demo import main as show

        show(out)


def _module(name: str) -> Any:
    from importlib import import_module

    from .tasks.base import BadInput

    try:
        return import_module(f".{name}", __package__)
    except ModuleNotFoundError as error:
        raise BadInput(f"this installation has no {error.name}") from None


def main(run: Callable[[], Any] = app) -> None:
    """The entry point of the console script."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    run()


if __name__ == "__main__":
    main()
