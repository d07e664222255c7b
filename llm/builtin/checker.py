"""The exact checker of solution lines, which uses the story's relations only.

A line reads `Ann trails Tom by 3: Ann has 12 + 3 = 15 so Tom has 15`: the relation's sentence, its formula in
quantities, and the target's quantity. Operands of sums and products may be in another order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from .relations import evaluate
from .stories import Story

_ANSWER = re.compile(r"#### ([1-9]\d*)")
_OPERATOR = re.compile(r" ([-+*/]) ")
_STEP = re.compile(r"([^:]+): ([^=]+) = ([1-9]\d{0,5}) so (.+)")


def check_step(story: Story, previous_steps: Sequence[str], step_text: str) -> bool:
    """Whether a line is right, given the lines before it, of which only the right ones count.

    A derivation is right if and only if it states a relation of the story and derives its target's quantity from
    quantities that are given or were derived before. The line `#### n` is right if and only if n is the answer. A
    malformed line is wrong and raises no error.
    """
    return check_lines(story, [*previous_steps, step_text])[-1]


def check_solution(story: Story, text: str) -> bool:
    """Whether the last line of the text states the answer and every line before it is right."""
    lines = text.strip("\n").split("\n")
    return bool(_ANSWER.fullmatch(lines[-1])) and all(check_lines(story, lines))


def check_lines(story: Story, lines: Sequence[str]) -> list[bool]:
    """For every line whether it is right, as `check_step` says after the lines before it."""
    return _check(story, lines)[0]


def final_answer(text: str) -> int | None:
    """The number n of a last line `#### n`, None without such a line."""
    match = _ANSWER.fullmatch(text.strip("\n").split("\n")[-1])
    return int(match[1]) if match else None


def right_prefix(story: Story, previous_steps: Sequence[str], text: str) -> int:
    """The length of the longest common prefix of `text` and a right line, in characters.

    Right lines are those that could come next, with operands in the relation's own order.
    """
    known = _check(story, previous_steps)[1]
    usable = [relation for relation in story.relations if known.keys() >= set(relation.sources)]
    lines = [f"#### {story.answer}\n", *(relation.line(story.verb, known) + "\n" for relation in usable)]
    return max(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(line, text))) for line in lines)


def _check(story: Story, lines: Sequence[str]) -> tuple[list[bool], dict[str, int]]:
    """Whether each line is right, and the quantities known after them, by name."""
    known, verdicts = dict(story.given), []
    for line in lines:
        found = _derived(story, known, line)
        known |= found or {}
        verdicts.append(found is not None)
    return verdicts, known


def _derived(story: Story, known: dict[str, int], text: str) -> dict[str, int] | None:
    """The quantity that a right line derives, by name; empty for a right answer, None for a wrong line."""
    text = text[:-1] if text.endswith("\n") else text
    if match := _ANSWER.fullmatch(text):
        return {} if int(match[1]) == story.answer else None
    step = _STEP.fullmatch(text)
    relation = next((r for r in story.relations if step and r.sentence() == step[1]), None)
    if step is None or relation is None or any(name not in known for name in relation.sources):
        return None
    numbers = relation.numeric_formula(known)
    value, expected = evaluate(numbers), relation.worded_formula(story.verb, numbers)
    right = step[3] == str(value) and step[4] == f"{relation.target} {story.verb} {value}"
    return {relation.target: int(step[3])} if right and _same_formula(_OPERATOR.split(step[2]), expected) else None


def _same_formula(formula: list[str], expected: list[str]) -> bool:
    """Whether two formulas are equal up to the order of summands and of factors."""
    operators = expected[1::2]
    if formula[1::2] != operators or len(formula) != len(expected):
        return False
    # The first operands may be exchanged, as far as all operators between them are the same `+` or `*`.
    movable = 1
    while movable <= len(operators) and operators[movable - 1] == operators[0] and operators[0] in "+*":
        movable += 1
    operands, others = expected[::2], formula[::2]
    return sorted(operands[:movable]) == sorted(others[:movable]) and operands[movable:] == others[movable:]
