"""The exact checker of solution steps: it decides from the story's relations alone, never from wording.

A step reads `Unlike Ann, Tom has 3 more = 12 + 3 = 15`: the relation's own sentence, its formula in
numbers, the result. Operands of sums and products may come in another order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .relations import evaluate
from .stories import Story

_ANSWER = re.compile(r"#### ([1-9]\d*)")
_NUMBER = re.compile(r"0|[1-9]\d{0,5}")


def check_step(story: Story, previous_steps: Sequence[str], step_text: str) -> bool:
    """Whether the step is right, given the steps before it (of which only the right ones count).

    A derivation is right iff it says a relation of the story and derives its target's quantity from
    quantities that are given or were derived before. The line `#### n` is right iff n is the answer.
    Anything malformed is wrong; nothing raises.
    """
    return check_lines(story, [*previous_steps, step_text])[-1]


def check_solution(story: Story, text: str) -> bool:
    """Whether the last line of the text states the answer and every line before it is right."""
    lines = text.strip("\n").split("\n")
    return bool(_ANSWER.fullmatch(lines[-1])) and all(check_lines(story, lines))


def check_lines(story: Story, lines: Sequence[str]) -> list[bool]:
    """`check_step` for every line after the lines before it."""
    known = dict(story.given)
    verdicts = []
    for line in lines:
        found = _derived(story, known, line)
        known |= found or {}
        verdicts.append(found is not None)
    return verdicts


def final_answer(text: str) -> int | None:
    """The number that the text's last line states, None without one."""
    match = _ANSWER.fullmatch(text.strip("\n").split("\n")[-1])
    return int(match[1]) if match else None


def _derived(story: Story, known: dict[str, int], text: str) -> dict[str, int] | None:
    """The quantity that a right line derives by name, nothing for a right answer, None for a wrong line."""
    text = text[:-1] if text.endswith("\n") else text
    if match := _ANSWER.fullmatch(text):
        return {} if int(match[1]) == story.answer else None
    words, *parts = text.split(" = ")
    relation = next((r for r in story.relations if r.words(story.verb) == words), None)
    if relation is None or len(parts) != 2 or any(name not in known for name in relation.sources):
        return None
    numbers, wanted = parts[0].split(" "), relation.reckoning(known)
    right = _NUMBER.fullmatch(parts[1]) and int(parts[1]) == evaluate(wanted)
    return {relation.target: int(parts[1])} if right and _same(numbers, wanted) else None


def _same(numbers: list[str], wanted: list[str]) -> bool:
    """Whether the numbers are the wanted ones, up to the order of summands and of factors."""
    operators = wanted[1::2]
    if numbers[1::2] != operators or len(numbers) != len(wanted):
        return False
    # The operands before the first `-` or `/`, and of one operator only, may be exchanged.
    movable = 1
    while movable <= len(operators) and operators[movable - 1] == operators[0] and operators[0] in "+*":
        movable += 1
    ours, theirs = wanted[::2], numbers[::2]
    return sorted(ours[:movable]) == sorted(theirs[:movable]) and ours[movable:] == theirs[movable:]
