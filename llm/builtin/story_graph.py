"""Story structures under construction: quantities and the relations that tie them, before any words."""

from __future__ import annotations

import random

from .relations import KINDS, LIMIT, Relation, choose_numbers, leaf_value

BRANCHING = 0.7  # how readily a step joins two quantities or begins a branch; at 0 stories are chains
UNARY = tuple(kind for kind, spec in KINDS.items() if spec.arity == 1)
UNARY_WEIGHTS = tuple(KINDS[kind].weight for kind in UNARY)
BINARY = ("sum", "difference", "list")
BINARY_WEIGHTS = tuple(KINDS[kind].weight for kind in BINARY)


class Draft:
    """A story under construction; `free` are derived names that nothing uses yet."""

    def __init__(self, rng: random.Random, names: list[str]) -> None:
        self.rng, self.names = rng, names
        self.given: dict[str, int] = {}
        self.known: dict[str, int] = {}
        self.relations: list[Relation] = []
        self.free: list[str] = []

    def add(self, count: int, needed: bool = True) -> bool:
        """Add a relation that uses `count` of the free names; False where the draw does not work."""
        rng = self.rng
        uses = rng.sample(self.free, count) if needed else []
        if count == 2 or rng.random() < 0.25 * BRANCHING:
            kind = rng.choices(BINARY, BINARY_WEIGHTS)[0]
        elif count == 0 and needed and rng.random() < 0.12:
            kind = "packs"
        else:
            kind = rng.choices(UNARY, UNARY_WEIGHTS)[0]
        fresh: dict[str, int] = {}
        sources = list(uses)
        while len(sources) < KINDS[kind].arity:
            sources.append(self._source(kind, sources, fresh, needed))
        return self._attach(kind, sources, fresh, uses, needed)

    def _source(self, kind: str, taken: list[str], fresh: dict[str, int], needed: bool) -> str:
        others = [name for name in self.known if name not in taken and (not needed or name not in self.free)]
        if others and (not needed or self.rng.random() < 0.3):
            return self.rng.choice(others)
        name = self.names[len(self.known) + len(fresh)]
        fresh[name] = leaf_value(kind, self.rng)
        return name

    def _attach(self, kind: str, sources: list[str], fresh: dict[str, int], uses: list[str], needed: bool) -> bool:
        known = self.known | fresh
        if kind == "difference":
            sources.sort(key=lambda name: -known[name])
        elif len(sources) > 1:
            self.rng.shuffle(sources)
        numbers = choose_numbers(kind, [known[name] for name in sources], self.rng)
        if numbers is None:
            return False
        relation = Relation(kind, self.names[len(known)], tuple(sources), numbers)
        value = relation.value(known)
        if value is None or not 0 < value <= LIMIT:
            return False
        self.given |= fresh
        self.known = known | {relation.target: value}
        self.relations.append(relation)
        if needed:
            self.free = [name for name in self.free if name not in uses] + [relation.target]
        return True


def draw_draft(rng: random.Random, names: list[str], steps: int) -> Draft | None:
    """A draft of that many needed relations; None where it got stuck, as with quantities too large to join."""
    draft = Draft(rng, names)
    for _ in range(12 * steps):
        if len(draft.relations) == steps:
            return draft
        left = steps - len(draft.relations) - 1
        # Each later step joins at most two free names into one, and one free name, the asked, remains.
        counts = [c for c in (0, 1, 2) if c <= len(draft.free) and len(draft.free) - c <= left]
        weights = [(0.2 * BRANCHING, 0.7, 0.5)[c] for c in counts]
        draft.add(rng.choices(counts, weights)[0])
    return None


def distract(draft: Draft, rng: random.Random) -> tuple[list[str], list[int]]:
    """Add one or two useless quantities; the names they bring and the numbers of mere asides.

    Raises IndexError where the pool of names is used up.
    """
    asides: list[int] = []
    before = set(draft.known)
    for _ in range(rng.choice((1, 1, 2))):
        what = rng.random()
        if what < 0.5:
            while not draft.add(0, needed=False):
                pass  # some draw fits: `more` always does where quantities are below the limit
        elif what < 0.85:
            name = draft.names[len(draft.known)]
            draft.given[name] = draft.known[name] = rng.randint(3, 40)
        else:
            asides.append(rng.randint(5, 20))
    return [name for name in draft.known if name not in before], asides
