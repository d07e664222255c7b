"""How two sets of settings differ, in words."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

SHOWN = 80
"""Characters of a value that are shown."""

MOST = 4
"""Changes that are listed."""

CONTEXT = 20
"""Characters that are shown before the first difference of two long values."""


def differences(before: Mapping[str, object], now: Mapping[str, object], ignored: Collection[str] = ()) -> list[str]:
    """Each setting that differs as "NAME was OLD, is NEW"; nested settings are named by a path, `planners.bfs`.

    ignored: names of settings that may differ.
    """
    found = []
    for name in sorted((before.keys() | now.keys()) - set(ignored)):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        shown = _visible(name)[:SHOWN]
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += [f"{shown}.{each}" for each in differences(old, new)]
        else:
            found.append("{} was {}, is {}".format(shown, *_shortened(_text(old), _text(new))))
    return found


def listed(changes: Sequence[str]) -> str:
    """The first changes in one line, and how many more there are."""
    more = f"; and {len(changes) - MOST} more" if len(changes) > MOST else ""
    return "; ".join(changes[:MOST]) + more


def _text(value: object) -> str:
    return _visible(json.dumps(value, ensure_ascii=False, default=repr))


def _visible(text: str) -> str:
    """The text without characters that end a line or hide, which would break a message."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _shortened(old: str, new: str) -> tuple[str, str]:
    """Both texts cut to the part where they begin to differ."""
    common = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
    start = max(0, common - CONTEXT) if max(len(old), len(new)) > SHOWN else 0
    return _window(old, start), _window(new, start)


def _window(text: str, start: int) -> str:
    head, tail = "..." if start else "", "..." if len(text) > start + SHOWN else ""
    return f"{head}{text[start : start + SHOWN]}{tail}"
