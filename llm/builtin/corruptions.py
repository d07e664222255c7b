"""Corrupted solution lines: negative examples for the critique.

Each kind of corruption makes a line that looks like a solution line; the checker decides whether it is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from .checker import check_step
from .relations import KINDS, Relation, evaluate
from .stories import Story


def _number(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A wrong operand with the right result for it."""
    numbers = list(relation.numbers) or [0]
    spot = rng.randrange(len(numbers))
    numbers[spot] = max(1, numbers[spot] + rng.choice((-10, -2, -1, 1, 2, 3, 10)))
    if rng.random() < 0.5:
        return _line(story, replace(relation, numbers=tuple(numbers)), known)
    return _line(story, relation, known, replace(relation, numbers=tuple(numbers)).numeric_formula(known))


def _source(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A wrong source, with that source's own quantity."""
    sources = list(relation.sources)
    if sources:
        sources[rng.randrange(len(sources))] = rng.choice(list(known))
    return _line(story, replace(relation, sources=tuple(sources)), known)


def _formula_source(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A formula with another known name than the sentence has."""
    line = _source(story, relation, known, rng)
    return f"{relation.sentence()}: {line.split(': ', 1)[1]}" if line else ""


def _operation(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A wrong operation with the right result for it."""
    numbers = relation.numeric_formula(known)
    numbers[rng.randrange(1, len(numbers), 2)] = rng.choice("+-*/")
    return _line(story, relation, known, numbers)


def _arithmetic(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A wrong result of the arithmetic."""
    return corrupt_result(relation.line(story.verb, known), rng)


def corrupt_result(line: str, rng: random.Random) -> str:
    """The line with a wrong result: see `wrong_result`, or with its digits reversed; "" where that is not positive."""
    head, tail = line.split(" = ")
    result = tail.split(" ", 1)[0]
    wrong = int(result[::-1]) if rng.random() < 0.1 else wrong_result(int(result), rng)
    return f"{head} = {tail.replace(result, str(wrong))}" if wrong > 0 else ""


def wrong_result(result: int, rng: random.Random) -> int:
    """A positive number other than the result: off by 1, 2 or 10 or by up to 20, as in common errors of arithmetic."""
    while (wrong := result + rng.choice((1, 2, 10, rng.randint(3, 20))) * rng.choice((-1, 1))) <= 0:
        pass
    return wrong


def _kind(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """The names and numbers of a sentence with another kind of relation."""
    own = KINDS[relation.kind]
    like = [
        kind
        for kind, spec in KINDS.items()
        if kind != relation.kind
        and spec.arity == own.arity
        and all((mark in spec.sentence) == (mark in own.sentence) for mark in ("{k}", "{m}"))
    ]
    return _line(story, replace(relation, kind=rng.choice(like)), known) if like else ""


def _conclusion(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A right formula and result, but a conclusion about another name or with another quantity."""
    head, result = relation.line(story.verb, known).rsplit(" ", 1)
    name, value = rng.choice(list(story.values().items()))
    if rng.random() < 0.5:
        return head.replace(f"so {relation.target} ", f"so {name} ") + f" {result}"
    return f"{head} {value}"


def _value(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A wrong quantity of a source: another name's, or one digit off."""
    wrong = dict(known)
    for name in rng.sample(relation.sources, min(1, len(relation.sources))):
        near = max(1, known[name] + rng.choice((-10, -1, 1, 10)))
        wrong[name] = near if rng.random() < 0.4 else rng.choice(list(known.values()))
    return _line(story, relation, wrong)


def _target(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """The right formula and result for a wrong target."""
    names = [*known, *(other.target for other in story.relations)]
    return _line(story, replace(relation, target=rng.choice(names)), known)


def _early(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A relation used before its sources are known, with their true quantities or with invented ones."""
    later = [r for r in story.relations if any(name not in known for name in r.sources)]
    if not later:
        return ""
    pick, values = rng.choice(later), story.values()
    if rng.random() < 0.6:
        invented = [*known.values(), rng.randint(3, 60)]
        values |= {name: rng.choice(invented) for name in pick.sources if name not in known}
    return _line(story, pick, values)


def _final(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A wrong answer: the quantity derived last, another name's, or a number near the right one."""
    draw, derived = rng.random(), [known[r.target] for r in story.relations if r.target in known]
    if draw < 0.3 and derived:
        return f"#### {derived[-1]}"
    near = [n for n in (story.answer - 1, story.answer + 1, story.answer + 10) if n > 0]
    return f"#### {rng.choice(list(story.values().values()) if draw < 0.8 else near)}"


CORRUPTIONS: dict[str, Callable[[Story, Relation, dict[str, int], random.Random], str]] = {
    "number": _number, "source": _source, "formula_source": _formula_source, "operation": _operation, "arithmetic":
    _arithmetic, "value": _value, "target": _target, "early": _early, "conclusion": _conclusion, "kind": _kind, "final":
    _final,
}  # fmt: skip
"""Corruptions by name."""
_WEIGHTS = (1.0, 1.0, 0.5, 0.6, 2.0, 1.6, 0.8, 2.0, 0.4, 0.6, 0.6)


def _line(story: Story, relation: Relation, known: dict[str, int], numbers: list[str] | None = None) -> str:
    """The line of a relation with these numbers; "" where the result is no positive integer."""
    numbers = numbers or relation.numeric_formula(known)
    result = evaluate(numbers)
    # A result that is no positive integer would reveal the corruption.
    ok = result is not None and result > 0
    return relation.line_with(story.verb, numbers) if ok else ""


def corrupt_step(story: Story, index: int, rng: random.Random, kind: str | None = None) -> str | None:
    """A wrong line in place of the solution's line `index`, which follows right lines only.

    kind: a name of `CORRUPTIONS`; drawn at random where None, and always `final` for the last line. Returns None where
    no draw made the line wrong.
    """
    last = index == len(story.steps) - 1
    relation, values = story.relations[min(index, story.length - 1)], story.values()
    known = dict(story.given) | {r.target: values[r.target] for r in story.relations[:index]}
    for _ in range(6):
        name = "final" if last else kind or rng.choices(list(CORRUPTIONS), _WEIGHTS)[0]
        line = CORRUPTIONS[name](story, relation, known, rng)
        if line and not check_step(story, story.steps[:index], line):
            return line
    return None
