"""The journal of a search: what it asked and was told, in order, and the same search made again from that.

A search appends ("ask", room, query), ("tell", query, answer) and ("drop", query, None) to its `journal`. No model, no
state and no driver is needed to repeat it. Events are pickled by nobody: a file holds plain arrays (npz) and one line
of JSON that says which array is what.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .interface import ActionSpace, Candidates, Expansion, Keys, Leaves, Returns, Size

FORMAT = "forethought journal 1"
KINDS = {kind.__name__: kind for kind in (Leaves, Candidates, Expansion, Returns)}
Event = tuple[str, Any, Any]


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
