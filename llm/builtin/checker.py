"""The exact checker of solution steps: it decides from the story's relations alone, never from wording.

A step reads `Ann trails Tom by 3: Ann has 12 + 3 = 15 so Tom has 15`: the relation's own sentence, its
formula in quantities, what the target comes to. Operands of sums and products may come in another order.
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
    return _follow(story, lines)[0]


def final_answer(text: str) -> int | None:
    """The number that the text's last line states, None without one."""
    match = _ANSWER.fullmatch(text.strip("\n").split("\n")[-1])
    return int(match[1]) if match else None


def right_prefix(story: Story, previous_steps: Sequence[str], text: str) -> int:
    """How many characters of the line some right line begins with too; operands in the relation's own order."""
    known = _follow(story, previous_steps)[1]
    ready = [relation for relation in story.relations if known.keys() >= set(relation.sources)]
    lines = [f"#### {story.answer}\n", *(relation.step(story.verb, known) + "\n" for relation in ready)]
    return max(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(line, text))) for line in lines)


def _follow(story: Story, lines: Sequence[str]) -> tuple[list[bool], dict[str, int]]:
    """Whether each line is right, and the quantities known after them by name."""
    known, verdicts = dict(story.given), []
    for line in lines:
        found = _derived(story, known, line)
        known |= found or {}
        verdicts.append(found is not None)
    return verdicts, known


def _derived(story: Story, known: dict[str, int], text: str) -> dict[str, int] | None:
    """The quantity that a right line derives by name, nothing for a right answer, None for a wrong line."""
    text = text[:-1] if text.endswith("\n") else text
    if match := _ANSWER.fullmatch(text):
        return {} if int(match[1]) == story.answer else None
    step = _STEP.fullmatch(text)
    relation = next((r for r in story.relations if step and r.words() == step[1]), None)
    if step is None or relation is None or any(name not in known for name in relation.sources):
        return None
    numbers = relation.reckoning(known)
    value, wanted = evaluate(numbers), relation.formula(story.verb, numbers)
    right = step[3] == str(value) and step[4] == f"{relation.target} {story.verb} {value}"
    return {relation.target: int(step[3])} if right and _same(_OPERATOR.split(step[2]), wanted) else None


def _same(formula: list[str], wanted: list[str]) -> bool:
    """Whether the formula is the wanted one, up to the order of summands and of factors."""
    operators = wanted[1::2]
    if formula[1::2] != operators or len(formula) != len(wanted):
        return False
    # The operands before the first `-` or `/`, and of one operator only, may be exchanged.
    movable = 1
    while movable <= len(operators) and operators[movable - 1] == operators[0] and operators[0] in "+*":
        movable += 1
    ours, theirs = wanted[::2], formula[::2]
    return sorted(ours[:movable]) == sorted(theirs[:movable]) and ours[movable:] == theirs[movable:]
