"""How a solution goes on after any lines, right or wrong: from what they state.

Text that was learned on right lines alone falls apart after a wrong one. A model that searches, or is
judged on its own lines, needs to know what follows there too (Ross, Gordon and Bagnell 2011, "A
reduction of imitation learning and structured prediction to no-regret online learning").
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from .relations import LIMIT
from .stories import Story, solving_order

_STATED = re.compile(r".* so ([A-Z][a-z]+) [a-z]+ ([1-9]\d{0,2})")


def next_line(story: Story, lines: Sequence[str]) -> str | None:
    """The solution's next line after these, each taken at its word.

    None after the answer, and where what was stated leads out of the positive integers up to 9 * LIMIT.
    """
    if any(line.startswith("####") for line in lines):
        return None
    known, last = dict(story.given), ""
    for match in filter(None, map(_STATED.fullmatch, lines)):
        last = match[1]
        known[last] = int(match[2])
    if story.asked in known:
        return f"#### {known[story.asked]}"
    relation = solving_order(story.told(), known, story.asked, last)[0]
    value = relation.value(known)
    return relation.step(story.verb, known) if value is not None and 0 < value <= 9 * LIMIT else None


def onward(story: Story, lines: Sequence[str], count: int) -> list[str]:
    """Up to that many further lines of the solution after these."""
    written = list(lines)
    while len(written) < len(lines) + count and (line := next_line(story, written)) is not None:
        written.append(line)
    return written[len(lines) :]


def aside(story: Story, lines: Sequence[str], rng: random.Random) -> str | None:
    """A right line that the solution has no need of after these right ones; None where the draw is the next line."""
    known = story.given | {match[1]: int(match[2]) for match in filter(None, map(_STATED.fullmatch, lines))}
    relation = rng.choice([r for r in story.relations if known.keys() >= set(r.sources)])
    line = relation.step(story.verb, known)
    return None if line == next_line(story, lines) else line
