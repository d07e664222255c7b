"""The journal of a search: all its queries and their answers in order, and the same search run again from them.

The events of a journal are ("ask", remaining, query), ("tell", query, answer) and ("drop", query, None). Running it
again needs no model, no states and no driver. A file holds plain arrays (npz) and one line of JSON that says what each
array is; nothing is pickled.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from .event_log import Event
from .files import whole_file
from .interface import (
    ActionSpace,
    Answer,
    AnySearch,
    EdgeQuery,
    Expansion,
    Int,
    Keys,
    Planner,
    Query,
    Returns,
    Search,
    SequenceQuery,
    Size,
)

FORMAT = "forethought journal 2"
REMAINING = "remaining"
"""The kind of entry that is an array of remaining nodes per row."""
KINDS = {kind.__name__: kind for kind in (EdgeQuery, SequenceQuery, Expansion, Returns)}
Array = NDArray[np.generic]  # type: ignore[explicit-any]  # of any type


class JournalError(ValueError):
    """A journal does not fit: the search asks another query than it did, or a file is no journal of this format."""


def rerun(
    planner: Planner, root: Expansion, actions: ActionSpace, size: Size, keys: Keys, journal: list[Event]
) -> AnySearch:
    """The search that `planner.begin(root, actions, size, keys=keys)` becomes by the events of `journal`.

    Errors: JournalError naming the first event at which the search asks another query.
    """
    begun = planner.begin(root, actions, size, keys=keys)
    search = cast("Search[Query, Answer]", begun)
    for i, (kind, first, second) in enumerate(journal):
        if kind == "ask":
            difference = _difference(search.ask(cast(Int, first)), cast(Query, second))
            if difference:
                raise JournalError(f"event {i}: the search asks another {difference} than the journal holds")
        elif kind == "tell":
            search.tell(cast(Query, first), cast(Answer, second))
        elif kind == "drop":
            search.drop(cast(Query, first))
        else:
            raise JournalError(f"event {i} is {kind!r}; there are ask, tell, drop")
    return begun


def _difference(asked: Query, recorded: Query) -> str:
    """The first field in which two queries differ, "" where they are the same."""
    if type(asked) is not type(recorded):
        return "kind of query"
    for each in fields(asked):
        if not _same(getattr(asked, each.name), getattr(recorded, each.name)):
            return each.name
    return ""


def _same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(cast(Array, a), cast(Array, b))
    return bool(a == b)


def save(journal: list[Event], path: str | Path) -> None:
    """Write a journal to an npz file; an object that occurs twice (a query asked and told) is stored once."""
    writer = _Writer()
    events = [[kind, writer.number(a), writer.number(b)] for kind, a, b in journal]
    head = json.dumps({"format": FORMAT, "objects": writer.entries, "events": events})
    with whole_file(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, head=np.array(head), **writer.arrays)  # type: ignore[arg-type]


class _Writer:
    """Queries, answers and arrays, numbered in the order in which they were first written."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.entries: list[dict[str, object]] = []
        self.numbers: dict[int, int] = {}

    def number(self, written: Query | Answer | Int | None) -> int:
        """The number of a query, an answer or an array of remaining nodes; -1 for None."""
        if written is None:
            return -1
        if id(written) not in self.numbers:
            number = self.numbers[id(written)] = len(self.entries)
            self.entries.append(self._entry(number, written))
        return self.numbers[id(written)]

    def _entry(self, number: int, written: Query | Answer | Int) -> dict[str, object]:
        parts: dict[str, object] = {REMAINING: written}
        entry: dict[str, object] = {"kind": REMAINING}
        if not isinstance(written, np.ndarray):
            parts = {each.name: getattr(written, each.name) for each in fields(written)}
            entry = {"kind": type(written).__name__}
        for name, part in parts.items():
            if part is None or isinstance(part, bool | str):
                entry[name] = ["plain", part]
                continue
            entry[name] = ["tensor" if isinstance(part, torch.Tensor) else "array", f"{number}.{name}"]
            self.arrays[f"{number}.{name}"] = _as_array(part)
        return entry


def _as_array(part: object) -> Array:
    if not isinstance(part, torch.Tensor):
        return np.asarray(part)
    part = part.detach().cpu()
    array: Array = (part.float() if part.dtype == torch.bfloat16 else part).numpy()
    return array


def load(path: str | Path) -> list[Event]:
    """The journal in a file that `save` wrote; tensors come back on the CPU. Errors: JournalError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Array] = {name: file[name] for name in file.files}
        head = json.loads(str(arrays["head"]))
    except FileNotFoundError:
        raise
    except Exception as error:
        raise JournalError(f"{path} is no journal: {error}") from error
    if head.get("format") != FORMAT:
        raise JournalError(
            f"{path} has format {head.get('format')!r}, expected {FORMAT!r}; older journals cannot be read: plan again "
            "and save the journal of that search"
        )
    objects = [_read(entry, arrays) for entry in head["objects"]]
    return [(kind, *(None if n < 0 else objects[n] for n in (a, b))) for kind, a, b in head["events"]]


def _read(entry: dict[str, list[str]], arrays: dict[str, Array]) -> object:
    kind, parts = cast(str, entry["kind"]), {}
    for name, place in entry.items():
        if name != "kind":
            form, value = place
            part = value if form == "plain" else arrays[value]
            parts[name] = torch.from_numpy(part) if form == "tensor" else part
    return parts[REMAINING] if kind == REMAINING else cast("type[object]", KINDS[kind])(**parts)
