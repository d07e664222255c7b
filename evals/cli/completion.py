"""Names for shell completion, read from the source text of the modules that list them.

Importing those modules takes seconds, since they import torch, and a shell waits for every completion.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

PACKAGE = Path(__file__).parents[2]
RUNS = Path("runs")
"""Where commands write by default, relative to the working directory."""

LISTS = {
    "planners": (("evals/planners.py", "_ROWS"),),
    "tasks": (("evals/tasks/__init__.py", "TASKS"),),
    "values": (("llm/critics/__init__.py", "CRITICS"),),
    "engines": (("llm/load.py", "ENGINES"),),
    "studies": (("evals/studies/__init__.py", "NAMES"),),
}  # fmt: skip
"""Per kind of name the files and the variables that list them: tuples of names or of rows that begin with one, or
dictionaries by name."""

KINDS = ("planners", "tasks", "values", "engines", "models")
"""What `forethought list` lists."""


def names_of(kind: str) -> list[str]:
    """The names of a kind in `LISTS`, without importing what they stand for."""
    found: list[str] = []
    for file, variable in LISTS[kind]:
        found += _names_in((PACKAGE / file).read_text(encoding="utf-8"), variable)
    return list(dict.fromkeys(found))


def _names_in(source: str, variable: str) -> Iterator[str]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and variable in _targets(node):
            entries = node.value.keys if isinstance(node.value, ast.Dict) else ast.iter_child_nodes(node.value or node)
            firsts = (entry.args[0] if isinstance(entry, ast.Call) and entry.args else entry for entry in entries)
            yield from (str(first.value) for first in firsts if isinstance(first, ast.Constant))


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def model_folders(runs: Path = RUNS) -> list[Path]:
    """The folders below `runs` that hold a model, at most three levels down."""
    found = [path.parent for depth in ("*", "*/*", "*/*/*") for path in runs.glob(f"{depth}/config.json")]
    return sorted(found)


def complete_list(kind: str, incomplete: str, separators: str = ",") -> list[str]:
    """The completions of the last name in a list such as `greedy,bf`; names that the list has are not repeated."""
    *before, last = re.split(f"[{re.escape(separators)}]", incomplete)
    head = incomplete[: len(incomplete) - len(last)]
    return [head + name for name in names_of(kind) if name.startswith(last) and name not in before]


def complete_planners(incomplete: str) -> list[str]:
    """Of `--planner`, names separated by commas."""
    return complete_list("planners", incomplete)


def complete_values(incomplete: str) -> list[str]:
    """Of `--value`, a critic or a weighted sum such as `0.3*self+0.7*prm`."""
    return complete_list("values", incomplete, "+*")


def complete_tasks(incomplete: str) -> list[str]:
    """Of a task."""
    return _beginning(names_of("tasks"), incomplete)


def complete_engines(incomplete: str) -> list[str]:
    """Of `--engine`."""
    return _beginning(names_of("engines"), incomplete)


def complete_studies(incomplete: str) -> list[str]:
    """Of a study."""
    return _beginning(names_of("studies"), incomplete)


def complete_kinds(incomplete: str) -> list[str]:
    """Of `forethought list`."""
    return _beginning(KINDS, incomplete)


def complete_models(incomplete: str) -> list[str]:
    """Of `--model`: the built-in models and the folders below `runs`."""
    return _beginning(["builtin", "analytic", *map(str, model_folders())], incomplete)


def _beginning(names: Sequence[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
