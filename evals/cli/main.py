"""The command `forethought`; each command imports what it needs, so that errors in flags are reported at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..cli_common import Out, check_output, load_module, plain_errors
from .control import Training, app, bench, train

Engine = Annotated[
    str, typer.Option(help="What runs the model: transformers, vllm, openai (a server), replay (a tape, no model).")
]
Critic = Annotated[
    str | None,
    typer.Option(
        help="The critic: self, logprob, none, rating, vote, rollout, prm, orm, recorded, oracle (knows the correct "
        "answers, for studies only), or a sum such as 0.3*self+0.7*prm. By default self."
    ),
]
Reasoning = Annotated[
    str,
    typer.Option(
        help="What an action is: steps (the next line), propose (an item of a generated list of next steps) or rap (a "
        "sub-question with its answer)."
    ),
]
AnswerBy = Annotated[
    str | None,
    typer.Option(
        help="The rule that selects the scored answer among a tree's solutions: best, majority, weighted or visits; "
        "all are reported. By default majority for self_consistency and best for the others."
    ),
]
TapeFile = Annotated[
    Path | None, typer.Option(help="File that records every generation and score; a second run with it calls no model.")
]
Questions = Annotated[Path | None, typer.Option(help="gsm8k: a JSON-lines file with question and answer.")]
TrainingSteps = Annotated[int | None, typer.Option(help="Optimiser steps; by default those of the shipped model.")]


@app.command("eval")
def evaluate(
    task: Annotated[
        str, typer.Argument(help="stories, gsm8k, recorded, pendulum, cartpole, bouncer, swingup or reacher.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Text: builtin, a folder or a hub id; replay: a model on the tape; control: analytic or a folder."
        ),
    ] = None,
    engine: Engine = "transformers",
    planner: Annotated[str | None, typer.Option(help="Names, separated by commas.")] = None,
    budgets: Annotated[str | None, typer.Option(help="Numbers, separated by commas.")] = None,
    unit: Annotated[str, typer.Option(help="What a budget counts: nodes, calls, tokens or seconds.")] = "nodes",
    value: Critic = None,
    reasoning: Reasoning = "steps",
    answer_by: AnswerBy = None,
    replicas: Annotated[
        int, typer.Option(help="Engines, each in a process of its own, on this machine or a Ray cluster.", min=1)
    ] = 1,
    width: Annotated[int, typer.Option(help="Sampled continuations that a tree search considers at each node.")] = 4,
    against: Annotated[str | None, typer.Option(help="The planner that others are compared with.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many problems or episodes to run; by default all.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of sampling, of the planners and of the episodes.")] = 0,
    out: Out = None,
    in_flight: Annotated[int, typer.Option(help="Problems that are run concurrently.")] = 64,
    data: Questions = None,
    split: Annotated[str, typer.Option(help="stories: test, validation or hard.")] = "test",
    temperature: Annotated[float, typer.Option(help="Temperature of sampling; greedy always uses 0.")] = 0.8,
    device: Annotated[str, typer.Option(help="Device of the model, such as cpu or cuda.")] = "cpu",
    action_repeat: Annotated[
        int | None, typer.Option(help="Control: environment steps per action; by default the task's for the planner.")
    ] = None,
    terminal_value: Annotated[
        bool | None,
        typer.Option(help="Control: whether planned sequences end in the task's terminal value function."),
    ] = None,
    tape: TapeFile = None,
    base_url: Annotated[str, typer.Option(help="openai: the server's address, or several separated by commas.")] = "",
    reward_model: Annotated[str | None, typer.Option(help="prm, orm: builtin, a folder or a hub id.")] = None,
    reward_format: Annotated[
        str, typer.Option(help="prm, orm: builtin, math_shepherd, rlhflow, qwen or skywork.")
    ] = "",
    aggregate: Annotated[str, typer.Option(help="prm: last, min, product or mean of the steps' scores.")] = "last",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Score planners on a task at several budgets; the same command continues a stopped run."""
    flags = dict(locals())  # the fields of EvalRequest have the names of the parameters
    with plain_errors():
        from ..request import make_request

        request = make_request(**flags)
        from ..runners.evaluate import evaluate as run
        from ..runners.results import check_outcome

        check_outcome(run(request).summary)


@app.command("import")
def import_log(
    log: Annotated[
        Path, typer.Argument(help="Trees as JSON lines with the fields problem, path, step, value, correct.")
    ],
    out: Annotated[Path, typer.Option(help="The tape to write.")],
) -> None:
    """Make a tape from search trees of another program, for `eval recorded --engine replay --tape FILE`."""
    with plain_errors():
        from .import_log import import_log as run

        check_output(out, file=True)
        run(log, out)


@app.command()
def pool(
    runs: Annotated[list[Path], typer.Argument(help="Folders of eval runs over text that differ only in --seed.")],
    compare_with: Annotated[
        list[Path] | None, typer.Option(help="Runs to compare with, such as on another engine; repeatable.")
    ] = None,
    against: Annotated[str | None, typer.Option(help="The planner that others are compared with.")] = None,
    out: Out = None,
) -> None:
    """Pool runs with different seeds: means, intervals over problems, and which planners differ clearly."""
    with plain_errors():
        check_output(out, file=True)
        load_module("records.pool").main(runs, compare_with or (), against=against, out=out)


@train.command("reasoner")
def train_reasoner(
    out: Training = Path("runs/reasoner"),
    seed: int = 0,
    steps: TrainingSteps = None,
) -> None:
    """Train the built-in language model from scratch on generated stories; the same command continues a training."""
    with plain_errors():
        from .train_text import reasoner

        reasoner(out, seed=seed, steps=steps)


@train.command("prm")
def train_prm(
    model: Annotated[str, typer.Option(help="The policy: builtin, a folder or a hub id.")] = "builtin",
    task: Annotated[str, typer.Option(help="stories or gsm8k.")] = "stories",
    labels: Annotated[str, typer.Option(help="exact (for a task with a checker of steps) or rollouts.")] = "exact",
    rollouts: Annotated[
        int, typer.Option(help="Completions that are sampled from each step for its label.", min=1)
    ] = 8,
    reward_format: Annotated[str, typer.Option(help="builtin, math_shepherd or rlhflow.")] = "builtin",
    out: Training = Path("runs/prm"),
    steps: TrainingSteps = None,
    rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    held_out: Annotated[
        int, typer.Option(help="Held-out problems for the evaluation of the model; 0 for none.", min=0)
    ] = 400,
    data: Questions = None,
    device: Annotated[str, typer.Option(help="Device of the training, such as cpu or cuda.")] = "cpu",
    seed: int = 0,
) -> None:
    """Train a process reward model on labelled steps of a policy; the same command continues a training."""
    with plain_errors():
        from .train_text import prm

        prm(
            model, task, out, labels=labels, rollouts=rollouts, reward_format=reward_format, steps=steps, rate=rate,
            held_out=held_out, data=data, device=device, seed=seed,
        )  # fmt: skip


@bench.command("search")
def bench_search(out: Out = None, repeats: int = 5) -> None:
    """Microseconds per simulation and root, excluding the model."""
    with plain_errors():
        check_output(out, file=True)
        load_module("bench.search").main(out, repeats=repeats)


@bench.command("engine")
def bench_engine(
    engine: Annotated[str, typer.Option(help="transformers or vllm.")] = "transformers",
    model: Annotated[
        str, typer.Option(help="builtin, a folder or a hub id; a shape with --dummy-weights.")
    ] = "builtin",
    dummy_weights: Annotated[
        bool, typer.Option("--dummy-weights", help="Random weights for a shape: tiny, qwen2.5-1.5b or qwen2.5-7b.")
    ] = False,
    problems: Annotated[int, typer.Option(help="Problems in flight.", min=1)] = 64,
    rounds: Annotated[int, typer.Option(help="Total number of problems, as a multiple of those in flight.", min=1)] = 4,
    nodes: Annotated[int, typer.Option(help="Budget of each problem.", min=1)] = 16,
    planner: str = "bfs",
    value: Annotated[str, typer.Option(help="The critic: self, rating, logprob or none.")] = "self",
    repeats: Annotated[int, typer.Option(help="Measurements of each workload; their median is reported.", min=1)] = 3,
    device: str = "cpu",
    machine: Annotated[str | None, typer.Option(help="Name of the device in the result.")] = None,
    out: Out = None,
) -> None:
    """Tokens per second of tree search against independent sampling on the same engine."""
    with plain_errors():
        check_output(out, file=True)
        load_module("bench.engine").main(
            out, engine=engine, model=model, dummy_weights=dummy_weights, problems=problems, rounds=rounds,
            nodes=nodes, planner=planner, value=value, repeats=repeats, device=device, machine=machine,
        )  # fmt: skip


@app.command()
def doctor() -> None:
    """Check what is installed and which engines and devices work, and say how to install the rest."""
    from .doctor import main as examine

    raise typer.Exit(examine())


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("runs/demo")) -> None:
    """Measure score against budget for a language model and a pendulum with the same planners."""
    with plain_errors():
        from .demo import main as show

        check_output(out)
        show(out)


def main(run: Callable[[], Any] = app) -> None:
    """Entry point of the console script."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    run()


if __name__ == "__main__":
    main()
