"""The journal of a search: what it asked and was told, in order, and the same search made again from that.

Its events are ("ask", room, query), ("tell", query, answer) and ("drop", query, None). No model, no state and no driver
is needed to repeat it. Events are pickled by nobody: a file holds plain arrays (npz) and one line of JSON that says
which array is what.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .interface import ActionSpace, EdgeQuery, Evaluate, Expansion, Int, Keys, Returns, SequenceQuery, Size

FORMAT = "forethought journal 1"
KINDS = {kind.__name__: kind for kind in (EdgeQuery, SequenceQuery, Expansion, Returns)}
Event = tuple[str, Any, Any]

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
    """A journal does not fit: the search asks something else than it did, or a file is no journal."""


def replay(planner: Any, root: Expansion, actions: ActionSpace, size: Size, keys: Keys, journal: list[Event]) -> Any:
    """The search that `planner.begin(root, actions, size, keys=keys)` becomes by the events of `journal`.

    Errors: JournalError naming the first event whose question comes out differently.
    """
    search = planner.begin(root, actions, size, keys=keys)
    for i, (kind, first, second) in enumerate(journal):
        if kind == "ask":
            asked = search.ask(first)
            if differs := _difference(asked, second):
                raise JournalError(f"event {i}: the search asks another {differs} than the journal holds")
        elif kind == "tell":
            search.tell(first, second)
        elif kind == "drop":
            search.drop(first)
        else:
            raise JournalError(f"event {i} is {kind!r}; there are ask, tell, drop")
    return search


def _difference(asked: Any, held: Any) -> str:
    """The first field in which two queries differ, "" where they are the same."""
    if type(asked) is not type(held):
        return "kind of query"
    for field in fields(asked):
        a, b = getattr(asked, field.name), getattr(held, field.name)
        if not _same(a, b):
            return field.name
    return ""


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return bool(a == b)


def save(journal: list[Event], path: str | Path) -> None:
    """Write a journal to an npz file; equal objects (a query asked and told) are stored once."""
    arrays: dict[str, Any] = {}
    places: dict[int, int] = {}
    things: list[Any] = []
    events = [[kind, _keep(a, things, places, arrays), _keep(b, things, places, arrays)] for kind, a, b in journal]
    head = json.dumps({"format": FORMAT, "things": things, "events": events})
    with open(path, "wb") as file:
        np.savez_compressed(file, head=np.array(head), **arrays)


def _keep(thing: Any, things: list[Any], places: dict[int, int], arrays: dict[str, Any]) -> int:
    """The number under which a room, query or answer is stored; -1 for None."""
    if thing is None:
        return -1
    if id(thing) not in places:
        number = places[id(thing)] = len(things)
        whole = type(thing).__name__ in KINDS
        parts = {f.name: getattr(thing, f.name) for f in fields(thing)} if whole else {"room": thing}
        entry: dict[str, Any] = {"kind": type(thing).__name__ if whole else "room"}
        for name, part in parts.items():
            if part is None or isinstance(part, bool | str):
                entry[name] = ["plain", part]
                continue
            entry[name] = ["tensor" if isinstance(part, torch.Tensor) else "array", f"{number}.{name}"]
            arrays[f"{number}.{name}"] = _as_array(part)
        things.append(entry)
    return places[id(thing)]


def _as_array(part: Any) -> Any:
    if not isinstance(part, torch.Tensor):
        return np.asarray(part)
    part = part.detach().cpu()
    return (part.float() if part.dtype == torch.bfloat16 else part).numpy()


def load(path: str | Path) -> list[Event]:
    """The journal in a file that `save` wrote; tensors come back on the CPU. Errors: JournalError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        head = json.loads(str(arrays["head"]))
    except FileNotFoundError:
        raise
    except Exception as error:
        raise JournalError(f"{path} is no journal: {error}") from error
    if head.get("format") != FORMAT:
        raise JournalError(f"{path} has format {head.get('format')!r}, expected {FORMAT!r}")
    things = [_thing(entry, arrays) for entry in head["things"]]
    return [(kind, *(None if n < 0 else things[n] for n in (a, b))) for kind, a, b in head["events"]]


def _thing(entry: dict[str, Any], arrays: dict[str, Any]) -> Any:
    parts: dict[str, Any] = {}
    for name, place in entry.items():
        if name != "kind":
            form, value = place
            part = value if form == "plain" else arrays[value]
            parts[name] = torch.from_numpy(part) if form == "tensor" else part
    return parts["room"] if entry["kind"] == "room" else KINDS[entry["kind"]](**parts)
