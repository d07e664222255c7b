"""Where a solution gives its answer: after `####`, in `\\boxed{}`, or after words such as "the answer is".

This file reads no numbers and no options; `answers.py` and the graders of tasks read what stands after a marker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

MARK = "####"
MAX_ANSWER = 400
"""Characters after a marker that are read as the answer."""

MAX_MARKERS = 20
"""Markers of a kind that are looked at, from the end of the text."""

_BOXED = re.compile(r"\\boxed\s{0,3}\{")


def texts_after_markers(
    text: str, words: re.Pattern[str], first_line: Callable[[str], str]
) -> Iterator[tuple[str, bool]]:
    """What stands after each marker, and whether that is `####`.

    Those after `####` come first, the last one before the others. Then come those in `\\boxed{}` and after `words`, in
    the same order.
    first_line: the part of what follows that is read as the answer.
    """
    end = len(text)
    for _ in range(MAX_MARKERS):
        if (start := text.rfind(MARK, 0, end)) < 0:
            break
        yield first_line(text[start + len(MARK) : end]), True
        end = start
    found = [(one.end(), True) for one in _BOXED.finditer(text)] + [(one.end(), False) for one in words.finditer(text)]
    for begin, boxed in sorted(found, reverse=True)[:MAX_MARKERS]:
        yield _braced(text, begin) if boxed else first_line(text[begin : begin + MAX_ANSWER]), False


def _braced(text: str, begin: int) -> str:
    """What stands from `begin` to the brace that closes the one before it; "" where none does within the limit."""
    depth = 1
    for i in range(begin, min(len(text), begin + MAX_ANSWER)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[begin:i]
    return ""
