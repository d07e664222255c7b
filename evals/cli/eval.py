"""`forethought eval` and `forethought solve`: their options are the fields of `EvalSettings`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from inspect import Parameter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from ..cli_common import plain_errors
from ..settings import RUN, SEARCH, TASK, option
from .options import options_of, with_options

JSON = ("as_json", Annotated[bool, option(RUN, "Print the result as JSON instead of a table.", "--json")], False)
AS_OPTION = (
    "named",
    Annotated[str | None, option(TASK, "The task, instead of the argument.", "--task", "--env")],
    None,
)
MODEL_OPTIONS = ("model", "engine", "device", "base_url", "replicas", "temperature", "tape")
SOLVE_OPTIONS = (*MODEL_OPTIONS, "unit", "width", "reasoning", "value", "reward_model", "reward_format", "aggregate",
                 "answer_by", "seed")  # fmt: skip


def run_eval(*, as_json: bool, named: str | None, task: str | None, **flags: Any) -> None:
    """Score planners on a task at several budgets; the same command continues a stopped run."""
    with plain_errors():
        from ..errors import BadInput
        from ..report.terminal import show
        from ..runners.evaluate import run_evaluation
        from ..settings import EvalSettings

        if task is not None and named is not None:
            raise BadInput(f"the task is given twice: {task} and {named}")
        console = Console(stderr=as_json)
        summary = run_evaluation(EvalSettings(task=task or named, **flags), console)
        if as_json:
            print(json.dumps(summary, indent=1))
            return
        show(summary, console)
        console.print(f"report: {summary.report}", highlight=False, markup=False, soft_wrap=True)


def run_solve(*, question: str, planner: str, budget: int, show_tree: bool, as_json: bool, **flags: Any) -> None:
    """Answer one question by a search with a language model, and print the solution, its answer and the cost."""
    with plain_errors():
        from ..api import solve

        solved = solve(question, planner=planner, budget=budget, **flags)
        cost = {unit: solved.cost["charged"][unit] + solved.cost["completion"][unit] for unit in solved.cost["charged"]}
        if as_json:
            record = {"question": question, "text": solved.text, "answer": solved.answer, "value": solved.value}
            print(json.dumps(record | {"cost": solved.cost, "tree": solved.record}, indent=1))
            return
        console = Console()
        console.print(solved.text.strip() or "no solution was finished", highlight=False, markup=False)
        console.print(f"answer: {solved.answer}", highlight=False, markup=False)
        told = ", ".join(f"{amount:,.0f} {unit.replace('_', ' ')}" for unit, amount in cost.items() if _is_shown(unit))
        console.print(f"cost: {told}, {cost['seconds']:.1f} s", highlight=False, markup=False)
        if show_tree and solved.record:
            console.print(_drawn(solved.record))


def _is_shown(unit: str) -> bool:
    return unit in ("nodes", "model_calls", "generated_tokens")


def _drawn(record: Mapping[str, Any]) -> Tree:
    """A search tree as indented lines with each node's value."""
    nodes = [dict(zip(record["columns"], node)) for node in record["nodes"]]
    root = Tree("question")
    drawn = {nodes[0]["node"]: root}
    for node in sorted(nodes[1:], key=lambda node: node["order"]):
        end = {1: " (solution)", 2: " (dead end)"}.get(node["terminal"], "")
        mark = "bold " if node["node"] in record["path"] else ""
        text = f"[{mark}cyan]{node['prior_value']:.2f}[/] {escape(node['text'])}{end}"
        drawn[node["node"]] = drawn[node["parent"]].add(text)
    return root


SOLVE = [
    ("question", Annotated[str, typer.Argument(help="The question.")], Parameter.empty),
    ("planner", Annotated[str, option(SEARCH, "A planner; see forethought list planners.")], "bfs"),
    ("budget", Annotated[int, option(SEARCH, "How much the search may use, in the unit.", min=1)], 64),
    *options_of(*SOLVE_OPTIONS),
    ("show_tree", Annotated[bool, option(RUN, "Print the search tree.", "--tree")], False),
    JSON,
]
EVAL_EXAMPLE = "Example: forethought eval stories --planner greedy,bfs,mcts --budgets 8,32 --limit 40"
SOLVE_EXAMPLE = 'Example: forethought solve "Tom has 3 apples and buys 4 more. How many apples has he?" --planner mcts'


def add_commands(app: typer.Typer) -> None:
    """Add `eval` and `solve`."""
    app.command("eval", epilog=EVAL_EXAMPLE)(with_options(run_eval, [*options_of(), AS_OPTION, JSON]))
    app.command("solve", epilog=SOLVE_EXAMPLE)(with_options(run_solve, SOLVE))
