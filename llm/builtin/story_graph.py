"""The graph of a story before it is worded: quantities and the relations between them."""

from __future__ import annotations

import random

from .relations import KINDS, LIMIT, Relation, choose_numbers, given_value

BRANCHING = 0.7
"""Scales the probability that a relation joins two quantities or begins a new branch; at 0 stories are chains."""

UNARY = tuple(kind for kind, spec in KINDS.items() if spec.arity == 1)
UNARY_WEIGHTS = tuple(KINDS[kind].weight for kind in UNARY)
BINARY = ("sum", "difference", "list")
BINARY_WEIGHTS = tuple(KINDS[kind].weight for kind in BINARY)


class StoryGraph:
    """A story under construction.

    given: quantities of facts by name. known: those of all names. relations: in the order of derivation. unused:
    derived names that no relation uses yet.
    """

    def __init__(self, rng: random.Random, names: list[str]) -> None:
        self.rng, self.names = rng, names
        self.given: dict[str, int] = {}
        self.known: dict[str, int] = {}
        self.relations: list[Relation] = []
        self.unused: list[str] = []

    def add(self, count: int, needed: bool = True) -> bool:
        """Add a random relation that uses `count` of the unused names; False where its quantity is out of range.

        needed: False for a distractor, which uses any names and is not used itself.
        """
        rng = self.rng
        used = rng.sample(self.unused, count) if needed else []
        if count == 2 or rng.random() < 0.25 * BRANCHING:
            kind = rng.choices(BINARY, BINARY_WEIGHTS)[0]
        elif count == 0 and needed and rng.random() < 0.12:
            kind = "packs"
        else:
            kind = rng.choices(UNARY, UNARY_WEIGHTS)[0]
        new_facts: dict[str, int] = {}
        sources = list(used)
        while len(sources) < KINDS[kind].arity:
            sources.append(self._source(kind, sources, new_facts, needed))
        return self._attach(kind, sources, new_facts, used, needed)

    def _source(self, kind: str, taken: list[str], new_facts: dict[str, int], needed: bool) -> str:
        others = [name for name in self.known if name not in taken and (not needed or name not in self.unused)]
        if others and (not needed or self.rng.random() < 0.3):
            return self.rng.choice(others)
        name = self.names[len(self.known) + len(new_facts)]
        new_facts[name] = given_value(kind, self.rng)
        return name

    def _attach(self, kind: str, sources: list[str], new_facts: dict[str, int], used: list[str], needed: bool) -> bool:
        known = self.known | new_facts
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
        self.given |= new_facts
        self.known = known | {relation.target: value}
        self.relations.append(relation)
        if needed:
            self.unused = [name for name in self.unused if name not in used] + [relation.target]
        return True


def draw_graph(rng: random.Random, names: list[str], steps: int) -> StoryGraph | None:
    """A graph of that many needed relations; None where no relation fits any more, such as with large quantities."""
    graph = StoryGraph(rng, names)
    for _ in range(12 * steps):
        if len(graph.relations) == steps:
            return graph
        left = steps - len(graph.relations) - 1
        # Each later relation joins at most two unused names into one, and exactly one, the asked, must remain.
        counts = [c for c in (0, 1, 2) if c <= len(graph.unused) and len(graph.unused) - c <= left]
        weights = [(0.2 * BRANCHING, 0.7, 0.5)[c] for c in counts]
        graph.add(rng.choices(counts, weights)[0])
    return None


def add_distractors(graph: StoryGraph, rng: random.Random) -> tuple[list[str], list[int]]:
    """Add one or two quantities that the solution does not need.

    Returns the names they add, and the numbers of asides, which are sentences without a quantity of the graph. Errors:
    IndexError where all names are used.
    """
    asides: list[int] = []
    before = set(graph.known)
    for _ in range(rng.choice((1, 1, 2))):
        draw = rng.random()
        if draw < 0.5:
            while not graph.add(0, needed=False):
                pass  # ends, because a relation `more` fits wherever a quantity is below the limit
        elif draw < 0.85:
            name = graph.names[len(graph.known)]
            graph.given[name] = graph.known[name] = rng.randint(3, 40)
        else:
            asides.append(rng.randint(5, 20))
    return [name for name in graph.known if name not in before], asides
