"""How a solution continues after any lines, right or wrong, if each is taken to be true.

A model trained on right lines only writes nonsense after a wrong one. In a search it meets wrong lines, so it is also
trained on their continuations (Ross, Gordon and Bagnell 2011, "A reduction of imitation learning and structured
prediction to no-regret online learning").
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from .relations import LIMIT
from .stories import Story, solving_order

_STATED = re.compile(r".* so ([A-Z][a-z]+) [a-z]+ ([1-9]\d{0,2})")


def next_line(story: Story, lines: Sequence[str]) -> str | None:
    """The solution's next line after these, if what each states is taken to be true.

    None after the answer, and where the next quantity is no positive integer up to 9 * LIMIT.
    """
    if any(line.startswith("####") for line in lines):
        return None
    known, last = dict(story.given), ""
    for match in filter(None, map(_STATED.fullmatch, lines)):
        last = match[1]
        known[last] = int(match[2])
    if story.asked in known:
        return f"#### {known[story.asked]}"
    relation = solving_order(story.relations_in_text(), known, story.asked, last)[0]
    value = relation.value(known)
    return relation.line(story.verb, known) if value is not None and 0 < value <= 9 * LIMIT else None


def continuation(story: Story, lines: Sequence[str], count: int) -> list[str]:
    """The solution's next lines after these, at most `count`."""
    written = list(lines)
    while len(written) < len(lines) + count and (line := next_line(story, written)) is not None:
        written.append(line)
    return written[len(lines) :]


def unneeded_line(story: Story, lines: Sequence[str], rng: random.Random) -> str | None:
    """A random right line after these right ones that is not the solution's next; None where the draw is the next."""
    known = story.given | {match[1]: int(match[2]) for match in filter(None, map(_STATED.fullmatch, lines))}
    relation = rng.choice([r for r in story.relations if known.keys() >= set(r.sources)])
    line = relation.line(story.verb, known)
    return None if line == next_line(story, lines) else line
