"""The relations that tie one quantity of a story to others, and the words that tell them.

A relation says how the quantity of its target follows from the quantities of its sources and from
plain numbers. Its formula is a tuple of symbols: `s0`, `s1`, `s2` stand for the sources, `n0`, `n1`
for the numbers, and anything else is an operator or a literal number. A formula is evaluated from
left to right, which for the formulas below agrees with the usual precedence.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

LIMIT = 150  # no quantity of a story is larger
FRACTIONS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}


@dataclass(frozen=True)
class Kind:
    """One kind of relation: its formula and the sentences that may tell it."""

    formula: tuple[str, ...]
    templates: tuple[str, ...]
    weight: float = 1.0

    @property
    def arity(self) -> int:
        """How many sources the formula names."""
        return len({symbol for symbol in self.formula if symbol[0] == "s"})


def _kind(formula: str, *templates: str, weight: float = 1.0) -> Kind:
    return Kind(tuple(formula.split()), templates, weight)


# {X} is the target, {Y} {Z} {W} the sources, {k} {m} the numbers, {v} the verb and {N} the noun.
KINDS: dict[str, Kind] = {
    "more": _kind("s0 + n0", "{X} {v} {k} more {N} than {Y}.", "{X} {v} {k} more than {Y}.", weight=1.4),
    "fewer": _kind("s0 - n0", "{X} {v} {k} fewer {N} than {Y}.", "{X} {v} {k} fewer than {Y}.", weight=1.4),
    "times": _kind("s0 * n0", "{X} {v} {k} times as many {N} as {Y}.", "{X} {v} {k} times as many as {Y}."),
    "twice": _kind("s0 * 2", "{X} {v} twice as many {N} as {Y}.", "{X} {v} double of {Y}."),
    "fraction": _kind("s0 / n0", "{X} {v} {f} as many {N} as {Y}.", "{X} {v} {f} of what {Y} {v}.", weight=1.3),
    "sum": _kind("s0 + s1", "{X} {v} as many as {Y} and {Z} together.", weight=2.4),
    "difference": _kind("s0 - s1", "{X} {v} the difference between {Y} and {Z}.", weight=1.4),
    "list": _kind("s0 + s1 + s2", "{X} {v} as many as {Y}, {Z} and {W} together.", weight=0.6),
    "gave": _kind("s0 - n0", "After giving away {k}, {Y} would match {X}.", "{Y} gave {k} away to match {X}."),
    "received": _kind("s0 + n0", "After getting {k} more, {Y} would match {X}.", "{Y} got {k} to match {X}."),
    "packs": _kind("n0 * n1", "{X} bought {k} packs of {m} {N}.", "{X} {v} {k} packs of {m} each.", weight=0.8),
    "groups": _kind("s0 * n0", "{X} {v} {k} packs, each with as many as {Y}."),
    "split": _kind("s0 / n0", "{Y} split all into {k} equal shares and {X} took one."),
    "percent": _kind("s0 * n0 / 100", "{X} {v} {k}% of what {Y} {v}.", weight=0.5),
    "price": _kind("s0 * n0", "{X} paid {k} coins for each one of {Y}."),
    "rest": _kind("n0 - s0", "{X} and {Y} {v} {k} together.", "Together {Y} and {X} {v} {k} {N}.", weight=0.7),
    "over": _kind("s0 - n0", "{Y} {v} {k} above {X}.", "{Y} beats {X} by {k}.", weight=0.4),
    "under": _kind("s0 + n0", "{Y} {v} {k} below {X}.", "{Y} trails {X} by {k}.", weight=0.4),
    "extra": _kind("s0 * n0 + n1", "{X} {v} {m} more than {k} times {Y}.", weight=0.5),
}


@dataclass(frozen=True)
class Relation:
    """`target` follows from the quantities of `sources` and from `numbers` by the formula of `kind`."""

    kind: str
    target: str
    sources: tuple[str, ...]
    numbers: tuple[int, ...]

    def symbols(self) -> tuple[str, ...]:
        """The formula with the names of the sources and the numbers put in."""
        fill = {f"s{i}": name for i, name in enumerate(self.sources)}
        fill |= {f"n{i}": str(number) for i, number in enumerate(self.numbers)}
        return tuple(fill.get(symbol, symbol) for symbol in KINDS[self.kind].formula)

    def value(self, known: dict[str, int]) -> int | None:
        """The target's quantity; None where a source is not in `known` or a division leaves a rest."""
        if any(name not in known for name in self.sources):
            return None
        return evaluate([str(known.get(symbol, symbol)) for symbol in self.symbols()])

    def step(self, known: dict[str, int]) -> str:
        """The step that derives the target: names first, then numbers, then the result.

        Raises KeyError where a source is not in `known`.
        """
        symbols = self.symbols()
        numbers = [str(known[s]) if s in self.sources else s for s in symbols]
        return write_step(self.target, symbols, numbers, evaluate(numbers))


def write_step(target: str, symbols: Sequence[str], numbers: Sequence[str], result: int | None) -> str:
    """One step as text; where no name occurs the names' part is left out."""
    parts = [target, " ".join(symbols), " ".join(numbers), str(result)]
    if parts[1] == parts[2]:
        del parts[1]
    return " = ".join(parts)


def evaluate(numbers: Sequence[str]) -> int | None:
    """Evaluate `number op number ...` from left to right; None where it leaves the integers."""
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


def leaf_value(kind: str, rng: random.Random) -> int:
    """A quantity for a new given fact that the kind can use: divisible where the kind divides."""
    if kind in ("fraction", "split"):
        return rng.choice((2, 3, 4, 5)) * rng.randint(2, 12)
    if kind == "percent":
        return 20 * rng.randint(1, 5)
    if kind in ("times", "twice", "groups", "price", "extra"):
        return rng.randint(2, 25)
    return rng.randint(3, 50)


def choose_numbers(kind: str, values: Sequence[int], rng: random.Random) -> tuple[int, ...] | None:
    """Numbers that make the relation hold in positive integers; None where none were found."""
    first = values[0] if values else 0
    if kind in ("sum", "difference", "list"):
        return ()
    if kind == "twice":
        return (2,)
    if kind == "packs":
        return rng.randint(2, 9), rng.randint(3, 12)
    if kind in ("more", "received", "under"):
        return (_amount(rng, 30),)
    if kind in ("fewer", "gave", "over"):
        return (_amount(rng, min(30, first - 1)),) if first > 3 else None
    if kind == "rest":
        return (first + rng.randint(2, 40),)
    return _factor(kind, first, rng)


def _amount(rng: random.Random, most: int) -> int:
    # Small amounts are the usual case in such problems; large ones keep the sums from being few.
    return rng.randint(2, min(most, 15) if rng.random() < 0.7 else most)


def _factor(kind: str, first: int, rng: random.Random) -> tuple[int, ...] | None:
    if kind == "percent":
        fitting = [p for p in (10, 20, 25, 50, 75) if first * p % 100 == 0]
    elif kind in ("fraction", "split"):
        fitting = [k for k in (2, 3, 4, 5) if first % k == 0 and first > k]
    else:
        fitting = [k for k in (2, 3, 4, 5, 6) if first * k <= LIMIT - 15]
    if not fitting:
        return None
    factor = rng.choice(fitting)
    return (factor, rng.randint(2, 15)) if kind == "extra" else (factor,)
