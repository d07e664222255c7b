"""Wrong solutions on purpose: what the critique learns to tell from right ones.

Every class makes a line that looks like a step; the checker has the last word on whether it is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from .checker import check_step
from .relations import KINDS, Relation, evaluate
from .stories import Story


def _number(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A wrong operand, reckoned on correctly."""
    numbers = list(relation.numbers) or [0]
    spot = rng.randrange(len(numbers))
    numbers[spot] = max(1, numbers[spot] + rng.choice((-10, -2, -1, 1, 2, 3, 10)))
    if rng.random() < 0.5:
        return _say(story, replace(relation, numbers=tuple(numbers)), known)
    return _say(story, relation, known, replace(relation, numbers=tuple(numbers)).reckoning(known))


def _source(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A wrong source, with that source's own quantity."""
    sources = list(relation.sources)
    if sources:
        sources[rng.randrange(len(sources))] = rng.choice(list(known))
    return _say(story, replace(relation, sources=tuple(sources)), known)


def _named(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A formula with another known name in it than the sentence's."""
    line = _source(story, relation, known, rng)
    return f"{relation.words()}: {line.split(': ', 1)[1]}" if line else ""


def _operation(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A wrong operation, reckoned on correctly."""
    numbers = relation.reckoning(known)
    numbers[rng.randrange(1, len(numbers), 2)] = rng.choice("+-*/")
    return _say(story, relation, known, numbers)


def _slip(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A slip in the arithmetic."""
    return slip_in(relation.step(story.verb, known), rng)


def slip_in(line: str, rng: random.Random) -> str:
    """A line with another result: off by one, by ten, or with its digits exchanged; "" where that is not above 0."""
    head, tail = line.split(" = ")
    result = tail.split(" ", 1)[0]
    wrong = int(result[::-1]) if rng.random() < 0.1 else slipped(int(result), rng)
    return f"{head} = {tail.replace(result, str(wrong))}" if wrong > 0 else ""


def slipped(result: int, rng: random.Random) -> int:
    """A positive number beside the result, as slips make it: most often a digit's step away."""
    while (wrong := result + rng.choice((1, 2, 10, rng.randint(3, 20))) * rng.choice((-1, 1))) <= 0:
        pass
    return wrong


def _kind(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """The names and numbers of a sentence told as another kind of relation."""
    own = KINDS[relation.kind]
    like = [
        kind
        for kind, spec in KINDS.items()
        if kind != relation.kind
        and spec.arity == own.arity
        and all((mark in spec.words) == (mark in own.words) for mark in ("{k}", "{m}"))
    ]
    return _say(story, replace(relation, kind=rng.choice(like)), known) if like else ""


def _said(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A right sum that is then said of another name, or said wrongly."""
    head, result = relation.step(story.verb, known).rsplit(" ", 1)
    name, value = rng.choice(list(story.values().items()))
    if rng.random() < 0.5:
        return head.replace(f"so {relation.target} ", f"so {name} ") + f" {result}"
    return f"{head} {value}"


def _value(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A source's quantity copied wrongly: another name's, or one digit off."""
    wrong = dict(known)
    for name in rng.sample(relation.sources, min(1, len(relation.sources))):
        near = max(1, known[name] + rng.choice((-10, -1, 1, 10)))
        wrong[name] = near if rng.random() < 0.4 else rng.choice(list(known.values()))
    return _say(story, relation, wrong)


def _target(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """The right sum for a wrong name."""
    names = [*known, *(other.target for other in story.relations)]
    return _say(story, replace(relation, target=rng.choice(names)), known)


def _early(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """A relation used before its sources are known, with the true quantity or with a made-up one."""
    later = [r for r in story.relations if any(name not in known for name in r.sources)]
    if not later:
        return ""
    pick, values = rng.choice(later), story.values()
    if rng.random() < 0.6:
        made_up = [*known.values(), rng.randint(3, 60)]
        values |= {name: rng.choice(made_up) for name in pick.sources if name not in known}
    return _say(story, pick, values)


def _final(story: Story, relation: Relation, known: dict[str, int], rng: random.Random) -> str:
    """Another name's quantity, or one near the answer, as the answer; often what was derived last."""
    draw, derived = rng.random(), [known[r.target] for r in story.relations if r.target in known]
    if draw < 0.3 and derived:
        return f"#### {derived[-1]}"
    near = [n for n in (story.answer - 1, story.answer + 1, story.answer + 10) if n > 0]
    return f"#### {rng.choice(list(story.values().values()) if draw < 0.8 else near)}"


CLASSES: dict[str, Callable[[Story, Relation, dict[str, int], random.Random], str]] = {
    "number": _number, "source": _source, "named": _named, "operation": _operation, "slip": _slip,
    "value": _value, "target": _target, "early": _early, "said": _said, "kind": _kind, "final": _final,
}  # fmt: skip
_WEIGHTS = (1.0, 1.0, 0.5, 0.6, 2.0, 1.6, 0.8, 2.0, 0.4, 0.6, 0.6)


def _say(story: Story, relation: Relation, known: dict[str, int], numbers: list[str] | None = None) -> str:
    numbers = numbers or relation.reckoning(known)
    result = evaluate(numbers)
    # A result outside the positive integers would give the fault away.
    ok = result is not None and result > 0
    return relation.say(story.verb, numbers) if ok else ""


def corrupt_step(story: Story, index: int, rng: random.Random, kind: str | None = None) -> str | None:
    """A wrong line in place of the solution's line `index`, which follows right lines only.

    kind: a class of CLASSES; drawn where None, and always `final` for the last line. Returns None where
    the draws made nothing wrong.
    """
    last = index == len(story.steps) - 1
    relation, values = story.relations[min(index, story.length - 1)], story.values()
    known = dict(story.given) | {r.target: values[r.target] for r in story.relations[:index]}
    for _ in range(6):
        name = "final" if last else kind or rng.choices(list(CLASSES), _WEIGHTS)[0]
        line = CLASSES[name](story, relation, known, rng)
        if line and not check_step(story, story.steps[:index], line):
            return line
    return None
