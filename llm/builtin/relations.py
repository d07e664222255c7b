"""Relations between the quantities of a story: their formulas and their sentences.

A relation derives the quantity of its target from the quantities of its sources and from plain numbers. Its formula is
a tuple of symbols: `s0`, `s1`, `s2` stand for the sources, `n0`, `n1` for the numbers, and anything else is an operator
or a literal number. Formulas are evaluated from left to right, which agrees with the usual precedence for those below.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

LIMIT = 99  # no quantity of a story is larger
FRACTIONS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}


@dataclass(frozen=True)
class RelationKind:
    """One kind of relation: its formula, the template of its sentence, and its weight when kinds are drawn."""

    formula: str
    sentence: str
    weight: float = 1.0

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the formula."""
        return tuple(self.formula.split())

    @property
    def arity(self) -> int:
        """The number of sources in the formula."""
        return len({symbol for symbol in self.symbols if symbol[0] == "s"})


# {X} is the target, {Y} {Z} {W} the sources, {k} {m} the numbers, {f} a fraction's word. A sentence begins with its
# source: a solution line repeats the sentence, so its first word is a known quantity and the rest is copied. With the
# target or a common word first, a small model mixes up the sentences of a story.
KINDS: dict[str, RelationKind] = {
    "more": RelationKind("s0 + n0", "{Y} trails {X} by {k}", 1.4),
    "fewer": RelationKind("s0 - n0", "{Y} leads {X} by {k}", 1.4),
    "times": RelationKind("s0 * n0", "{Y} fits {k} times into {X}"),
    "twice": RelationKind("s0 * 2", "{Y} makes half of {X}"),
    "fraction": RelationKind("s0 / n0", "{Y} cut to {f} gives {X}", 1.3),
    "percent": RelationKind("s0 * n0 / 100", "{Y} cut to {k}% gives {X}", 0.5),
    "sum": RelationKind("s0 + s1", "{Y} and {Z} together match {X}", 2.4),
    "difference": RelationKind("s0 - s1", "{Y} without {Z} matches {X}", 1.4),
    "list": RelationKind("s0 + s1 + s2", "{Y}, {Z} and {W} together match {X}", 0.6),
    "gave": RelationKind("s0 - n0", "{Y} giving {k} away matches {X}"),
    "received": RelationKind("s0 + n0", "{Y} getting {k} more matches {X}"),
    "packs": RelationKind("n0 * n1", "{X} fills {k} packs of {m}", 0.8),
    "groups": RelationKind("s0 * n0", "{Y} fills each of {k} bags of {X}"),
    "split": RelationKind("s0 / n0", "{Y} split among {k} leaves {X}"),
    "price": RelationKind("s0 * n0", "{Y} priced at {k} each brings {X}"),
    "rest": RelationKind("n0 - s0", "{Y} needs {X} to reach {k}"),
}


@dataclass(frozen=True)
class Relation:
    """`target` follows from the quantities of `sources` and from `numbers` by the formula of `kind`."""

    kind: str
    target: str
    sources: tuple[str, ...]
    numbers: tuple[int, ...]

    def symbols(self) -> tuple[str, ...]:
        """The formula with sources replaced by their names and numbers by their digits."""
        fill = {f"s{i}": name for i, name in enumerate(self.sources)}
        fill |= {f"n{i}": str(number) for i, number in enumerate(self.numbers)}
        return tuple(fill.get(symbol, symbol) for symbol in KINDS[self.kind].symbols)

    def numeric_formula(self, known: dict[str, int]) -> list[str]:
        """The formula with sources replaced by their quantities. KeyError where a source is not in `known`."""
        return [str(known[s]) if s in self.sources else s for s in self.symbols()]

    def value(self, known: dict[str, int]) -> int | None:
        """The target's quantity; None where a source is not in `known` or a division has a remainder."""
        if any(name not in known for name in self.sources):
            return None
        return evaluate(self.numeric_formula(known))

    def sentence(self) -> str:
        """The sentence that states the relation, without its full stop."""
        fill = dict(zip("YZW", self.sources)) | dict(zip("km", map(str, self.numbers)))
        fraction = FRACTIONS.get(self.numbers[0], "") if self.numbers else ""
        return KINDS[self.kind].sentence.format(X=self.target, f=fraction, **fill)

    def line(self, verb: str, known: dict[str, int]) -> str:
        """The solution line that derives the target: the sentence, the formula in quantities, the target's quantity.

        Errors: KeyError where a source is not in `known`.
        """
        return self.line_with(verb, self.numeric_formula(known))

    def line_with(self, verb: str, numbers: Sequence[str]) -> str:
        """The solution line with these numbers in its formula."""
        formula, result = " ".join(self.worded_formula(verb, numbers)), evaluate(numbers)
        return f"{self.sentence()}: {formula} = {result} so {self.target} {verb} {result}"

    def worded_formula(self, verb: str, numbers: Sequence[str]) -> list[str]:
        """The formula with these numbers; a source's quantity is stated as in the story, by name and verb.

        A small model finds a number that follows its name by looking for the name, which is easier than finding a bare
        number.
        """
        return [f"{s} {verb} {n}" if s in self.sources else n for s, n in zip(self.symbols(), numbers)]


def evaluate(numbers: Sequence[str]) -> int | None:
    """Evaluate `number op number ...` from left to right; None where the result is no integer."""
    total = int(numbers[0])
    for op, text in zip(numbers[1::2], numbers[2::2]):
        operand = int(text)
        if op == "/":
            if operand == 0 or total % operand:
                return None
            total //= operand
        else:
            total = total + operand if op == "+" else total - operand if op == "-" else total * operand
    return total


def given_value(kind: str, rng: random.Random) -> int:
    """A quantity for a new given fact as a source of this kind of relation; divisible where the kind divides."""
    if kind in ("fraction", "split"):
        return rng.choice((2, 3, 4, 5)) * rng.randint(2, 9)
    if kind == "percent":
        return 20 * rng.randint(1, 4)
    if kind in ("times", "twice", "groups", "price"):
        return rng.randint(2, 20)
    return rng.randint(3, 40)


def choose_numbers(kind: str, values: Sequence[int], rng: random.Random) -> tuple[int, ...] | None:
    """Numbers that give the target a positive integer quantity; None where none were found."""
    first = values[0] if values else 0
    if kind in ("sum", "difference", "list"):
        return ()
    if kind == "twice":
        return (2,)
    if kind == "packs":
        return rng.randint(2, 9), rng.randint(2, 10)
    if kind in ("more", "received"):
        return (_amount(rng, 20),)
    if kind in ("fewer", "gave"):
        return (_amount(rng, min(20, first - 1)),) if first > 3 else None
    if kind == "rest":
        return (min(LIMIT, first + rng.randint(2, 30)),)
    return _factor(kind, first, rng)


def _amount(rng: random.Random, most: int) -> int:
    # Such problems mostly have small amounts; some large ones keep the set of possible sums from being small.
    return rng.randint(2, min(most, 9) if rng.random() < 0.6 else most)


def _factor(kind: str, first: int, rng: random.Random) -> tuple[int, ...] | None:
    if kind == "percent":
        fitting = [p for p in (10, 20, 25, 50, 75) if first * p % 100 == 0]
    elif kind in ("fraction", "split"):
        fitting = [k for k in (2, 3, 4, 5) if first % k == 0 and first > k]
    else:
        fitting = [k for k in (2, 3, 4, 5, 6) if first * k <= LIMIT]
    if not fitting:
        return None
    return (rng.choice(fitting),)
