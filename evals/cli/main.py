"""The command `forethought`; each command imports what it needs, so that errors in flags are reported at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..cli_common import Json, Out, check_output, load_module, plain_errors, run_command
from ..settings import option
from .completion import complete_engines, complete_kinds, complete_models, complete_planners, complete_values
from .control import Seed, Training, app, bench, train
from .eval import add_commands
from .panels import EVALUATE, MEASUREMENT, MODEL, OUTPUT, PLANNING, SETUP, TASK, TRAINING, VALUES, examples

add_commands(app)

Questions = Annotated[Path | None, typer.Option(help="gsm8k: a JSON-lines file with question and answer.")]
TrainingSteps = Annotated[
    int | None,
    option(TRAINING, "Optimiser steps; by default those of the shipped model."),
]


@app.command("import", rich_help_panel=EVALUATE, epilog=examples(
    "forethought import log.jsonl --out log.tape",
    "forethought eval recorded --engine replay --tape log.tape --planner bfs,mcts",
))  # fmt: skip
def import_log(
    log: Annotated[
        Path, typer.Argument(help="Trees as JSON lines with the fields problem, path, step, value, correct.")
    ],
    out: Annotated[Path, option(OUTPUT, "The tape to write.")],
) -> None:
    """Make a tape from search trees of another program, for `eval recorded --engine replay --tape FILE`."""
    with plain_errors():
        from .import_log import import_log as run

        check_output(out, file=True)
        run(log, out)


@app.command(rich_help_panel=EVALUATE, epilog=examples(
    "forethought pool runs/seed-0 runs/seed-1 runs/seed-2",
    "forethought pool runs/a-0 runs/a-1 --compare-with runs/b-0",
))  # fmt: skip
def pool(
    runs: Annotated[list[Path], typer.Argument(help="Folders of eval runs over text that differ only in --seed.")],
    compare_with: Annotated[
        list[Path] | None,
        option("Comparison", "Runs to compare with, such as on another engine; repeatable."),
    ] = None,
    against: Annotated[
        str | None,
        option(
            "Comparison",
            "The planner that others are compared with; by default greedy, or else the first.",
            autocompletion=complete_planners,
        ),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Pool runs with different seeds: means, intervals over problems, and which planners differ clearly."""
    run_command(
        lambda console: load_module("records.pool").main(
            runs, compare_with or (), against=against, out=out, console=console
        ),
        as_json,
        out,
    )


@train.command("reasoner", epilog=examples("forethought train reasoner --out runs/reasoner"))
def train_reasoner(
    out: Training = Path("runs/reasoner"),
    seed: Seed = 0,
    steps: TrainingSteps = None,
) -> None:
    """Train the built-in language model from scratch on generated stories; the same command continues a training."""
    with plain_errors():
        from .train_text import reasoner

        reasoner(out, seed=seed, steps=steps)


@train.command("prm", epilog=examples(
    "forethought train prm --out runs/prm",
    "forethought eval stories --value prm --reward-model runs/prm/model",
))  # fmt: skip
def train_prm(
    model: Annotated[
        str,
        option(MODEL, "The policy: builtin, a folder or a hub id.", autocompletion=complete_models),
    ] = "builtin",
    task: Annotated[str, option(TASK, "stories or gsm8k.")] = "stories",
    labels: Annotated[
        str,
        option(TRAINING, "exact (for a task with a checker of steps) or rollouts."),
    ] = "exact",
    rollouts: Annotated[
        int,
        option(TRAINING, "Completions that are sampled from each step for its label.", min=1),
    ] = 8,
    reward_format: Annotated[str, option(MODEL, "builtin, math_shepherd or rlhflow.")] = "builtin",
    out: Training = Path("runs/prm"),
    steps: TrainingSteps = None,
    rate: Annotated[
        float | None,
        option(TRAINING, "Peak learning rate; by default that of the shipped model."),
    ] = None,
    held_out: Annotated[
        int,
        option(TASK, "Held-out problems for the evaluation of the model; 0 for none.", min=0),
    ] = 400,
    data: Annotated[Path | None, option(TASK, "gsm8k: a JSON-lines file with question and answer.")] = None,
    device: Annotated[str, option(MODEL, "Device of the training, such as cpu or cuda.")] = "cpu",
    seed: Seed = 0,
) -> None:
    """Train a process reward model on labelled steps of a policy; the same command continues a training."""
    with plain_errors():
        from .train_text import prm

        prm(
            model, task, out, labels=labels, rollouts=rollouts, reward_format=reward_format, steps=steps, rate=rate,
            held_out=held_out, data=data, device=device, seed=seed,
        )  # fmt: skip


@bench.command("search", epilog=examples("forethought bench search"))
def bench_search(
    out: Out = None,
    repeats: Annotated[
        int,
        option(MEASUREMENT, "Measurements; their median is reported.", min=1),
    ] = 5,
    as_json: Json = False,
) -> None:
    """Microseconds per simulation and root, excluding the model."""
    run_command(lambda console: load_module("bench.search").main(out, repeats=repeats, console=console), as_json, out)


@bench.command("engine", epilog=examples("forethought bench engine --problems 64 --nodes 16"))
def bench_engine(
    engine: Annotated[str, option(MODEL, "transformers or vllm.", autocompletion=complete_engines)] = "transformers",
    model: Annotated[
        str,
        option(MODEL, "builtin, a folder or a hub id; a shape with --dummy-weights."),
    ] = "builtin",
    dummy_weights: Annotated[
        bool,
        option(MODEL, "Random weights for a shape: tiny, small-30m, qwen2.5-1.5b or qwen2.5-7b.", "--dummy-weights"),
    ] = False,
    problems: Annotated[int, option(PLANNING, "Problems in flight.", min=1)] = 64,
    rounds: Annotated[
        int,
        option(MEASUREMENT, "Total number of problems, as a multiple of those in flight.", min=1),
    ] = 4,
    nodes: Annotated[int, option(PLANNING, "Budget of each problem.", min=1)] = 16,
    planner: Annotated[str, option(PLANNING, "The tree search.", autocompletion=complete_planners)] = "bfs",
    value: Annotated[
        str,
        option(VALUES, "The critic: self, rating, logprob or none.", autocompletion=complete_values),
    ] = "self",
    repeats: Annotated[
        int,
        option(MEASUREMENT, "Measurements of each workload; mean and interval are reported.", min=1),
    ] = 5,
    device: Annotated[str, option(MODEL, "Device of the model, such as cpu or cuda.")] = "cpu",
    machine: Annotated[
        str | None,
        option(MEASUREMENT, "Name of the device in the result; by default torch's."),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Tokens per second of tree search, of its own requests and of independent sampling on one engine."""
    run_command(
        lambda console: load_module("bench.engine").main(
            out, engine=engine, model=model, dummy_weights=dummy_weights, problems=problems, rounds=rounds,
            nodes=nodes, planner=planner, value=value, repeats=repeats, device=device, machine=machine,
            console=console,
        ),
        as_json,
        out,
    )  # fmt: skip


@app.command("list", rich_help_panel=SETUP, epilog=examples("forethought list planners"))
def list_names(
    kind: Annotated[
        str, typer.Argument(help="planners, tasks, values, engines or models.", autocompletion=complete_kinds)
    ],
    as_json: Json = False,
) -> None:
    """List the planners, tasks, values (critics), engines or models that there are."""

    def work(console: Console) -> object:
        from .listing import main as show

        return show(kind, console)

    run_command(work, as_json)


@app.command(rich_help_panel=SETUP, epilog=examples("forethought doctor"))
def doctor(as_json: Json = False) -> None:
    """Check what is installed and which engines and devices work, and say how to install the rest."""
    code = 0

    def work(console: Console) -> object:
        nonlocal code
        from .doctor import main as examine

        code, found = examine(console)
        return found

    run_command(work, as_json)
    raise typer.Exit(code)


@app.command(rich_help_panel=EVALUATE, epilog=examples("forethought demo --out runs/demo"))
def demo(
    out: Annotated[Path, option(OUTPUT, "Folder to write to.")] = Path("runs/demo"),
) -> None:
    """Measure score against budget for a language model and a pendulum with the same planners."""
    with plain_errors():
        from .demo import main as show

        check_output(out)
        show(out)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ... import __version__

        typer.echo(f"forethought {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """The options of `forethought` without a command."""


def main(run: Callable[[], Any] = app) -> None:
    """Entry point of the console script."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    run()


if __name__ == "__main__":
    main()
