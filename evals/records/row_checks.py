"""What a row of `results.jsonl` and a tree of `trees.jsonl` must be: a run folder may come from a stranger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ...planning.interface import UNITS
from .tree_records import COLUMNS

Count = Annotated[int, Field(ge=0, le=2**53)]
Index = Annotated[int, Field(ge=-1, le=2**53)]
Number = Annotated[float, Field(ge=-1e300, le=1e300)]
Amount = Annotated[float, Field(ge=0, le=1e300)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Answer(_Checked):
    answer: str | None = None
    correct: bool | None = None


class _Solution(_Answer):
    node: Count
    score: float
    visits: Count


class _Ledger(_Checked):
    charged: dict[str, Amount]
    spent: dict[str, Amount]
    completion: dict[str, Amount]


class _Score(_Checked):
    """What pooling needs of a row."""

    planner: str
    budget: Annotated[int, Field(ge=1, le=2**53)]
    problem: str
    score: Number
    retryable: bool = False


class _Row(_Score, _Answer):
    group: str
    format_ok: bool
    failed: str | None
    ledger: _Ledger
    seconds: Amount
    finished: list[_Solution]
    by_rule: dict[str, _Answer] = {}
    decisions: Count = 1
    tree: Annotated[str, Field(pattern=r"^trees\.jsonl#[0-9]{1,15}$")] = "trees.jsonl#0"
    solution: str | None = None
    dead_ends: dict[str, Count] = {}
    note: str = ""
    truncated_from: Count = 0


class _Tree(_Checked):
    problem: str
    planner: str
    budget: Count
    path: list[Count]
    columns: list[str]
    nodes: Annotated[list[list[str | float]], Field(min_length=1)]


class _Header(_Checked):
    format: int
    settings: dict[str, Any]


_HEADER, _ROW, _SCORE, _TREE = (TypeAdapter(kind) for kind in (_Header, _Row, _Score, _Tree))


def header_fault(header: object) -> str:
    """What is wrong with the first line of `results.jsonl`, "" where nothing is."""
    return _fault(_HEADER, header)


def row_fault(row: object, *, only_score: bool = False) -> str:
    """What is wrong with a row, "" where nothing is. only_score: check no more than pooling needs."""
    fault = _fault(_SCORE if only_score else _ROW, row)
    if fault or only_score or not isinstance(row, Mapping):
        return fault
    missing = [unit for ledger in ("charged", "completion") for unit in UNITS if unit not in row["ledger"][ledger]]
    return f"ledger: {missing[0]} is missing" if missing else ""


def tree_fault(tree: Any) -> str:
    """What is wrong with a tree, "" where nothing is: its nodes are rows of numbers, each after its parent."""
    if fault := _fault(_TREE, tree):
        return fault
    if tuple(tree["columns"]) != COLUMNS:
        return f"columns: expected {', '.join(COLUMNS)}"
    text, seen = COLUMNS.index("text"), set[float]()
    for node in tree["nodes"]:
        if len(node) != len(COLUMNS) or any(isinstance(cell, str) != (i == text) for i, cell in enumerate(node)):
            return f"nodes: a node is {len(COLUMNS)} cells, all but the text numbers"
        if node[0] in seen or not (node[1] in seen or (node[1] == -1 and not seen)):
            return f"nodes: node {node[0]:g} stands twice, or its parent does not stand before it"
        seen.add(node[0])
    lost = [step for step in tree["path"] if step not in seen]
    return f"path: there is no node {lost[0]}" if lost else ""


def plain_json(text: bytes) -> Any:
    """The value of a JSON text. Errors: ValueError, also where it is nested too deeply or holds half a character."""
    try:
        value = json.loads(text)
        if b"\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _fault(adapter: TypeAdapter[Any], value: object) -> str:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        return " ".join(f"{where[:80]}: {first['msg']}".split())
    return ""
