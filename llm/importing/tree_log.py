"""The text format of trees that other programs searched: what `forethought import` reads.

UTF-8, one JSON object a line, each a node of a tree, in any order:

    {"problem": "What is 2 + 3 * 4?", "path": [0], "step": "3 * 4 = 12", "value": 0.8}
    {"problem": "What is 2 + 3 * 4?", "path": [0, 1], "step": "#### 14", "value": 0.9, "correct": true}

    problem   the question; lines with the same question form one tree.
    path      child numbers from the root to the node, counted from 0: the parent of [0, 1] is [0].
    step      the text that this node adds to its parent.
    value     optional: the value that the search's critic gave, a number. If any value of the file lies outside
              [0, 1], all are mapped linearly to it.
    correct   true or false at a finished solution, absent elsewhere.
    answer    optional: the problem's true answer, at any of its lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NodePath = tuple[int, ...]
MAX_CHILDREN = 10_000
"""A child number this large is taken for a mistake in the file."""


@dataclass
class LoggedNode:
    """One line of the file. value: None where the critic gave none. correct: None for an unfinished solution."""

    path: NodePath
    step: str
    value: float | None
    correct: bool | None
    line: int


@dataclass
class LoggedTree:
    """The nodes of one problem. answer: "" where the file has none. children: of each path, sorted by number."""

    answer: str = ""
    nodes: dict[NodePath, LoggedNode] = field(default_factory=dict)
    children: dict[NodePath, list[LoggedNode]] = field(default_factory=dict)


def read_trees(path: Path) -> dict[str, LoggedTree]:
    """The trees of a file by question. ValueError that names the first wrong line and the reason."""
    trees: dict[str, LoggedTree] = {}
    for line, row in _rows(path):
        tree = trees.setdefault(row["problem"].strip(), LoggedTree())
        tree.answer = str(row.get("answer", "") or tree.answer)
        node = LoggedNode(tuple(row["path"]), row["step"].rstrip("\n"), row.get("value"), row.get("correct"), line)
        if node.path in tree.nodes:
            earlier = tree.nodes[node.path].line
            raise ValueError(f"{path}, line {line}: the node {list(node.path)} stands in line {earlier} already")
        tree.nodes[node.path] = node
    if not trees:
        raise ValueError(f"{path} holds no nodes")
    for tree in trees.values():
        _link_children(path, tree)
    return trees


def rescale_values(nodes: Sequence[LoggedNode]) -> tuple[float, float] | None:
    """Map the values to [0, 1] if one lies outside; their range before that, None where nothing was changed."""
    values = [node.value for node in nodes if node.value is not None]
    if all(0 <= value <= 1 for value in values):
        return None
    low, high = min(values), max(values)
    for node in nodes:
        if node.value is not None:
            node.value = (node.value - low) / (high - low) if high > low else 0.5
    return low, high


def _link_children(path: Path, tree: LoggedTree) -> None:
    for node in sorted(tree.nodes.values(), key=lambda node: node.path):
        parent = tree.nodes.get(node.path[:-1])
        if parent is None and len(node.path) > 1:
            raise ValueError(f"{path}, line {node.line}: {list(node.path)} has no parent {list(node.path[:-1])}")
        if parent is not None and parent.correct is not None:
            raise ValueError(f"{path}, line {node.line}: {list(node.path)} follows a finished solution")
        tree.children.setdefault(node.path[:-1], []).append(node)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if not os.access(path, os.R_OK):
        raise ValueError(f"the file {path} cannot be read")
    with path.open(encoding="utf-8", errors="replace") as file:
        for line, text in enumerate(file, 1):
            if text.strip():
                yield line, _row(text, f"{path}, line {line}")


def _row(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair cannot be encoded
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected an object with problem, path and step, found {type(row).__name__}")
    for name in ("problem", "step"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise ValueError(f"{where}: needs {name!r} as non-empty text, found {row.get(name)!r}")
    path = row.get("path")
    if not isinstance(path, list) or not path or not all(type(k) is int and 0 <= k < MAX_CHILDREN for k in path):
        raise ValueError(f"{where}: needs 'path' as a list of child numbers from 0, found {path!r}")
    value, correct = row.get("value"), row.get("correct")
    if value is not None and (type(value) not in (int, float) or not -1e300 < value < 1e300):
        raise ValueError(f"{where}: 'value' is a finite number, found {value!r}")
    if correct is not None and not isinstance(correct, bool):
        raise ValueError(f"{where}: 'correct' is true or false, found {correct!r}")
    return row
