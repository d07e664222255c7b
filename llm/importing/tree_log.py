"""The text format of trees that other programs searched: what `forethought import` reads.

UTF-8, one JSON object a line, each a node of a tree, in any order:

    {"problem": "What is 2 + 3 * 4?", "path": [0], "step": "3 * 4 = 12", "value": 0.8}
    {"problem": "What is 2 + 3 * 4?", "path": [0, 1], "step": "#### 14", "value": 0.9, "correct": true}

    problem   the question; lines with the same one are one tree.
    path      which child it is of which child of ... of the root, counted from 0: the parent of [0, 1] is [0].
    step      what this node adds to its parent.
    value     optional: what the search's critic said of it, a number. Where one lies outside [0, 1], all values of the
              file are mapped linearly to it.
    correct   true or false at a finished solution, absent elsewhere.
    answer    optional: the problem's true answer, at any line of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Path_ = tuple[int, ...]
MOST_CHILDREN = 10_000
"""A larger index is no child's but a mistake."""


@dataclass
class Node:
    """One line of the file. value: None where the critic said nothing. correct: None for an unfinished solution."""

    path: Path_
    step: str
    value: float | None
    correct: bool | None
    line: int


@dataclass
class Tree:
    """The nodes of one problem. answer: "" where it is not told. below: the children of each path, slots rising."""

    answer: str = ""
    nodes: dict[Path_, Node] = field(default_factory=dict)
    below: dict[Path_, list[Node]] = field(default_factory=dict)


def read_trees(path: Path) -> dict[str, Tree]:
    """The trees of a file by question. ValueError names the line that is wrong, and what is wrong with it."""
    trees: dict[str, Tree] = {}
    for line, row in _rows(path):
        tree = trees.setdefault(row["problem"].strip(), Tree())
        tree.answer = str(row.get("answer", "") or tree.answer)
        node = Node(tuple(row["path"]), row["step"].rstrip("\n"), row.get("value"), row.get("correct"), line)
        if node.path in tree.nodes:
            earlier = tree.nodes[node.path].line
            raise ValueError(f"{path}, line {line}: the node {list(node.path)} stands in line {earlier} already")
        tree.nodes[node.path] = node
    if not trees:
        raise ValueError(f"{path} holds no nodes")
    for tree in trees.values():
        _sort(path, tree)
    return trees


def to_unit(nodes: Sequence[Node]) -> tuple[float, float] | None:
    """Map the values to [0, 1] where one lies outside; the range they had there, None where nothing was to be done."""
    told = [node.value for node in nodes if node.value is not None]
    if all(0 <= value <= 1 for value in told):
        return None
    low, high = min(told), max(told)
    for node in nodes:
        if node.value is not None:
            node.value = (node.value - low) / (high - low) if high > low else 0.5
    return low, high


def _sort(path: Path, tree: Tree) -> None:
    for node in sorted(tree.nodes.values(), key=lambda node: node.path):
        parent = tree.nodes.get(node.path[:-1])
        if parent is None and len(node.path) > 1:
            raise ValueError(f"{path}, line {node.line}: {list(node.path)} has no parent {list(node.path[:-1])}")
        if parent is not None and parent.correct is not None:
            raise ValueError(f"{path}, line {node.line}: {list(node.path)} follows a finished solution")
        tree.below.setdefault(node.path[:-1], []).append(node)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    with path.open(encoding="utf-8", errors="replace") as file:
        for line, text in enumerate(file, 1):
            if text.strip():
                yield line, _row(text, f"{path}, line {line}")


def _row(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected an object with problem, path and step, found {type(row).__name__}")
    for name in ("problem", "step"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise ValueError(f"{where}: needs {name!r} as non-empty text, found {row.get(name)!r}")
    way = row.get("path")
    if not isinstance(way, list) or not way or not all(type(k) is int and 0 <= k < MOST_CHILDREN for k in way):
        raise ValueError(f"{where}: needs 'path' as a list of child numbers from 0, found {way!r}")
    value, correct = row.get("value"), row.get("correct")
    if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
        raise ValueError(f"{where}: 'value' is a finite number, found {value!r}")
    if correct is not None and not isinstance(correct, bool):
        raise ValueError(f"{where}: 'correct' is true or false, found {correct!r}")
    return row
