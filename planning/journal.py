"""The journal of a search: all its queries and their answers in order, and the same search run again from them.

The events of a journal are ("ask", remaining, query), ("tell", query, answer) and ("drop", query, None). Running it
again needs no model, no states and no driver. A file holds plain arrays (npz) and one line of JSON that says what each
array is; nothing is pickled.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from .interface import (
    ActionSpace,
    Answer,
    AnySearch,
    EdgeQuery,
    Evaluate,
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
Event = tuple[str, Query | Int, Query | Answer | None]

PAGE, ROOM = 5, 4
"""Lines of a page, and which of them holds the room."""
BLOCK = 16_384
"""Words of memory that pages are cut from at a time."""


class Notes:
    """The journal of a search over leaves as it is kept while the search runs.

    A question of MCTS is written on a page, an array [5, most] cut from a larger block, and the answer to the latest
    one is noted by itself: kept as events, ten thousand simulations would be a hundred thousand Python objects, and
    making, missing in the cache and freeing them a third of the search. `events` makes them when they are wanted.

    rows, most: how many rows a room has, and at most leaves a question on a page. asks: about how many questions come.
    evaluate: which states all of them want a value of; none of them is to be followed.
    """

    def __init__(self, rows: int = 0, most: int = 0, asks: int = 0, evaluate: Evaluate = "all") -> None:
        self.rows, self.evaluate = rows, evaluate
        self.blocks = [np.empty((max(1, min(asks, BLOCK // (PAGE * max(1, most)))), PAGE, most), np.int32)]
        self.used = 0
        self.latest: EdgeQuery | None = None
        self.kept: list[Any] = []

    def page(self) -> Int:
        """The next blank page [5, most]: row, parent, slot and node of each leaf, and the room of each row."""
        block = self.blocks[-1]
        if self.used == len(block):
            self.blocks.append(block := np.empty_like(block))
            self.used = 0
        return block[self.used]

    def asked(self, page: Int, count: int) -> EdgeQuery:
        """The question of `count` leaves that was written on the blank page."""
        self.used += 1
        self.kept.append(count)
        self.latest = query = self._question(page, count)
        return query

    def _question(self, page: Int, count: int) -> EdgeQuery:
        if count < page.shape[1]:
            page = page[:, :count]
        return EdgeQuery(page[0], page[1], page[2], page[3], False, self.evaluate)

    def told(self, query: EdgeQuery, answer: Expansion) -> None:
        """`query` was answered."""
        self.kept.append(answer if query is self.latest else ("tell", query, answer))

    def events(self) -> list[Event]:
        """All that has happened, in order; a query asked and told is one object."""
        pages = (page for block in self.blocks for page in block)
        asked, events = self.latest, []
        for kept in self.kept:
            if type(kept) is int:
                page = next(pages)
                asked = self._question(page, kept)
                kept = ("ask", page[ROOM, : self.rows], asked)
            events.append(kept if type(kept) is tuple else ("tell", asked, kept))
        return events


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
    with open(path, "wb") as file:
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
