"""Seeded word problems in the manner of GSM8K, with every quantity named and every step checkable.

A story gives some quantities, ties others to them by relations, and asks for one. Stories of
different splits never share a structure: the split is read off a hash of the names, numbers and
relations, and a draw whose hash falls into another split is thrown away.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .relations import KINDS, LIMIT, Relation, choose_numbers, leaf_value
from .scenes import SCENES, Scene

SPLITS = ("train", "validation", "test")
BRANCHING = 0.7  # how readily a step joins two quantities or begins a branch; at 0 stories are chains
UNARY = tuple(kind for kind, spec in KINDS.items() if spec.arity == 1)
UNARY_WEIGHTS = tuple(KINDS[kind].weight for kind in UNARY)
BINARY = ("sum", "difference", "list")
BINARY_WEIGHTS = tuple(KINDS[kind].weight for kind in BINARY)


@dataclass(frozen=True)
class Story:
    """A word problem with what its checker needs.

    question: the text, one paragraph. steps: the solution's lines, the last one `#### answer`.
    given: the quantities told outright. relations: every relation told, first the needed ones as the
    solution takes them, then those of distractors, each after its sources are known. asked: the name
    whose quantity is the answer. length: the derivations needed. `useless` has an entry for each
    distractor's quantity: its name, or "" for an aside that gives no quantity.
    """

    question: str
    steps: tuple[str, ...]
    answer: int
    asked: str
    verb: str
    given: dict[str, int]
    relations: tuple[Relation, ...]
    length: int
    useless: tuple[str, ...] = ()

    @property
    def distractor(self) -> bool:
        """Whether some sentence of the story is of no use."""
        return bool(self.useless)

    def structure(self) -> str:
        """The story's names, numbers and relations in one order, whatever the wording."""
        return _structure(self.given, self.relations, self.asked)

    def values(self) -> dict[str, int]:
        """The quantity of every name."""
        known = dict(self.given)
        for relation in self.relations:
            value = relation.value(known)
            assert value is not None
            known[relation.target] = value
        return known


class _Draft:
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


def _draft(rng: random.Random, names: list[str], steps: int) -> _Draft | None:
    """A draft of that many needed relations; None where it got stuck, as with quantities too large to join."""
    draft = _Draft(rng, names)
    for _ in range(12 * steps):
        if len(draft.relations) == steps:
            return draft
        left = steps - len(draft.relations) - 1
        # Each later step joins at most two free names into one, and one free name, the asked, remains.
        counts = [c for c in (0, 1, 2) if c <= len(draft.free) and len(draft.free) - c <= left]
        weights = [(0.2 * BRANCHING, 0.7, 0.5)[c] for c in counts]
        draft.add(rng.choices(counts, weights)[0])
    return None


def _distract(draft: _Draft, rng: random.Random) -> tuple[list[str], list[int]]:
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


def generate(seed: int, index: int, steps: int, distractor: bool, split: str = "train", shuffle: bool = True) -> Story:
    """The story of this key, always the same one.

    steps: the derivations its answer needs, at least 1. distractor: whether to add useless sentences.
    shuffle: whether the sentences come in random order. Raises ValueError for an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    key = f"{seed}/{index}/{steps}/{int(distractor)}/{split}"
    rng = random.Random(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little"))
    while True:
        scene = rng.choice(SCENES)
        names = rng.sample(scene.names, len(scene.names))
        try:  # a long story of many branches may need more names than a small pool has
            draft = _draft(rng, names, steps)
            if draft is None:
                continue
            asked = draft.relations[-1].target
            useless, asides = _distract(draft, rng) if distractor else ([], [])
        except IndexError:
            continue
        if split_of(_structure(draft.given, draft.relations, asked)) == split:
            return _tell(draft, scene, asked, useless, asides, rng, shuffle, steps)


def split_of(structure: str) -> str:
    """The split that a structure belongs to: one in ten each for validation and test."""
    digest = hashlib.blake2b(structure.encode(), digest_size=4).digest()[0] % 10
    return "test" if digest == 0 else "validation" if digest == 1 else "train"


def _structure(given: dict[str, int], relations: list[Relation] | tuple[Relation, ...], asked: str) -> str:
    facts = [f"{name}={value}" for name, value in given.items()]
    facts += [f"{r.kind}:{r.target}:{r.sources}:{r.numbers}" for r in relations]
    return f"{asked}?{sorted(facts)}"


def _tell(
    draft: _Draft, scene: Scene, asked: str, useless: list[str], asides: list[int],
    rng: random.Random, shuffle: bool, length: int,
) -> Story:  # fmt: skip
    noun = rng.choice(scene.nouns)
    sentences = [f"{name} {scene.verb} {value} {noun}." for name, value in draft.given.items()]
    told = {relation.words() + ".": relation for relation in draft.relations}
    sentences += told
    sentences += [scene.aside.format(X=rng.choice(list(draft.known)), k=k) for k in asides]
    if shuffle:
        rng.shuffle(sentences)
    question = " ".join(sentences) + f" How many {noun} {scene.ask.format(X=asked)}?"
    needed = solving_order([told[text] for text in sentences if text in told], draft.given, asked)
    relations = (*needed, *(r for r in draft.relations if r not in needed))
    answer = draft.known[asked]
    steps = [relation.step(scene.verb, draft.known) for relation in needed]
    return Story(
        question, (*steps, f"#### {answer}"), answer, asked, scene.verb, draft.given, relations, length,
        tuple(useless) + ("",) * len(asides),
    )  # fmt: skip


def solving_order(told: Sequence[Relation], given: Iterable[str], asked: str) -> list[Relation]:
    """The relations that the asked quantity needs, in the solution's order.

    told: relations in the order of the text. A solution goes on from the quantity that it came to last
    where some relation can, else takes the first in the text that can be used.
    """
    by_target = {relation.target: relation for relation in told}
    needed, todo = set(), [asked]
    while todo:
        name = todo.pop()
        if name in by_target and name not in needed:
            needed.add(name)
            todo += by_target[name].sources
    known, order = set(given), list[Relation]()
    while len(order) < len(needed):
        ready = [r for r in told if r.target in needed - known and known.issuperset(r.sources)]
        last = order[-1].target if order else ""
        order.append(next((r for r in ready if last in r.sources), ready[0]))
        known.add(order[-1].target)
    return order


def asking(story: Story, name: str) -> Story:
    """The same text with the quantity of another derived name asked for."""
    text, end = story.question.rsplit(" How many ", 1)
    told = sorted(story.relations, key=lambda relation: text.index(relation.words() + "."))
    needed, values = solving_order(told, story.given, name), story.values()
    rest = tuple(r for r in story.relations if r not in needed)
    return replace(
        story, question=f"{text} How many {end.replace(f' {story.asked} ', f' {name} ')}", asked=name,
        steps=(*(r.step(story.verb, values) for r in needed), f"#### {values[name]}"), answer=values[name],
        relations=(*needed, *rest), length=len(needed), useless=tuple(r.target for r in rest),
    )  # fmt: skip


def held_out(split: str, per_length: int = 100, lengths: tuple[int, ...] = (2, 3, 4, 5), seed: int = 0) -> list[Story]:
    """The fixed stories to measure on: `per_length` of each length, half with a distractor, all shuffled.

    The hard tail is `held_out(split, lengths=(6, 7, 8))`.
    """
    return [
        generate(seed, index, steps, distractor=index % 2 == 1, split=split)
        for steps in lengths
        for index in range(per_length)
    ]
