"""`forethought eval` and `forethought solve`: their options are the fields of `EvalSettings`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from inspect import Parameter
from math import isfinite
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.tree import Tree

from ..cli_common import Json, run_command
from ..console import plain, say
from ..settings import PLANNING, RUN, TASK, EvalSettings, option
from .completion import complete_planners, complete_tasks
from .options import options_of, with_options
from .panels import EVALUATE, examples

SHOWN = ("nodes", "model_calls", "generated_tokens")
"""The units of cost that `solve` prints beside seconds."""

BUILTIN_NOTE = (
    "The built-in model reads only stories like its own (llm/builtin/README.md); pass --model with a hub id or a "
    "folder for other questions."
)
STORY = "Joy has 12 cards. Joy giving 5 away matches Zoe. How many cards does Zoe have?"

JSON = ("as_json", Json, False)
NAMED = (
    "named",
    Annotated[
        str | None,
        option(TASK, "The task, in place of the argument.", "--task", "--env", autocompletion=complete_tasks),
    ],
    None,
)  # fmt: skip
MODEL_OPTIONS = (
    "model", "engine", "device", "base_url", "replicas", "temperature", "system", "shots", "delimiter", "max_steps",
    "max_step_tokens", "trust_remote_code", "tape",
)  # fmt: skip
SOLVE_OPTIONS = (*MODEL_OPTIONS, "unit", "width", "reasoning", "value", "reward_model", "reward_format", "aggregate",
                 "answer_by", "seed")  # fmt: skip


def run_eval(*, as_json: bool, named: str | None, task: str | None, **flags: Any) -> None:
    """Score planners on a task at several budgets; the same command continues a stopped run."""
    run_command(lambda console: _evaluated(task, named, flags, console), as_json)


def _evaluated(task: str | None, named: str | None, flags: Mapping[str, Any], console: Console) -> dict[str, Any]:
    from ..errors import BadInput
    from ..report.terminal import show
    from ..runners.evaluate import run_evaluation
    from ..runners.results import check_outcome

    if task is not None and named is not None:
        raise BadInput(f"the task is given twice: {task} and {named}")
    summary = run_evaluation(EvalSettings(task=task or named, **flags), console)
    show(summary, console)
    say(console, f"report: {summary.report}")
    check_outcome(summary)
    return {"folder": summary.folder, "report": summary.report, "summary": summary}


def run_solve(*, question: str, planner: str, budget: int, show_tree: bool, as_json: bool, **flags: Any) -> None:
    """Answer one question by a search with a language model, and print the solution, its answer and the cost."""
    run_command(lambda console: _solved(question, planner, budget, show_tree, flags, console), as_json)


def _solved(
    question: str, planner: str, budget: int, show_tree: bool, flags: Mapping[str, Any], console: Console
) -> dict[str, Any]:
    from ..api import solve

    solved = solve(question, planner=planner, budget=budget, **flags)
    cost = {unit: solved.cost["charged"][unit] + solved.cost["completion"][unit] for unit in solved.cost["charged"]}
    say(console, solved.text.strip() or "no solution was finished", wrap=True)
    say(console, f"answer: {'none' if solved.answer is None else solved.answer}")
    told = ", ".join(f"{cost[unit]:,.0f} {unit.replace('_', ' ')}" for unit in SHOWN)
    say(console, f"cost: {told}, {cost['seconds']:.1f} s")
    if solved.answer is None and flags["model"] in (None, "builtin"):
        say(console, f"note: {BUILTIN_NOTE}", wrap=True)
    if show_tree and solved.record:
        console.print(_drawn(solved.record))
    result = {"question": question, "text": solved.text, "answer": solved.answer, "value": solved.value}
    return result | {"cost": solved.cost, "tree": solved.record}


def _drawn(record: Mapping[str, Any]) -> Tree:
    """A search tree as indented lines with the model's value of each node; equal siblings share a line."""
    nodes = [dict(zip(record["columns"], node)) for node in record["nodes"]]
    times = Counter(node["duplicate_of"] for node in nodes[1:])
    root = Tree("question")
    drawn = {nodes[0]["node"]: root}
    for node in sorted(nodes[1:], key=lambda node: node["order"]):
        if node["duplicate_of"] >= 0:
            continue
        end = {1: " (solution)", 2: " (dead end)"}.get(node["terminal"], "")
        again = f" (drawn {times[node['node']] + 1} times)" if times[node["node"]] else ""
        value = f"{node['prior_value']:.2f} " if isfinite(node["prior_value"]) else ""
        style = "bold" if node["node"] in record["path"] else ""
        drawn[node["node"]] = drawn[node["parent"]].add(plain(f"{value}{node['text']}{end}{again}", style))
    return root


SOLVE = [
    ("question", Annotated[str, typer.Argument(help="The question.")], Parameter.empty),
    (
        "planner",
        Annotated[str, option(PLANNING, "A planner; see forethought list planners.", autocompletion=complete_planners)],
        "bfs",
    ),
    ("budget", Annotated[int, option(PLANNING, "How much the search may use, in the unit.", min=1)], 64),
    *options_of(*SOLVE_OPTIONS),
    ("show_tree", Annotated[bool, option(RUN, "Print the search tree.", "--tree")], False),
    JSON,
]


def add_commands(app: typer.Typer) -> None:
    """Add `eval` and `solve`."""
    eval_examples = examples(
        "forethought eval stories --planner greedy,bfs,mcts --budgets 8,32 --limit 40",
        "forethought eval pendulum --planner cem,mcts --budgets 256 --limit 4",
        "forethought eval mine.py:MyTask --planner bfs,mine.py:MyPlanner",
    )
    app.command("eval", rich_help_panel=EVALUATE, epilog=eval_examples)(
        with_options(run_eval, [*options_of(), NAMED, JSON])
    )
    app.command("solve", rich_help_panel=EVALUATE, epilog=examples(f'forethought solve \\\n    "{STORY}"'))(
        with_options(run_solve, SOLVE)
    )
