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

from .relations import Relation
from .scenes import SCENES, Scene
from .story_graph import Draft, distract, draw_draft

SPLITS = ("train", "validation", "test")


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

    def told(self) -> list[Relation]:
        """The relations in the order in which the text tells them."""
        return sorted(self.relations, key=lambda relation: self.question.index(relation.words() + "."))

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
            draft = draw_draft(rng, names, steps)
            if draft is None:
                continue
            asked = draft.relations[-1].target
            useless, asides = distract(draft, rng) if distractor else ([], [])
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
    draft: Draft, scene: Scene, asked: str, useless: list[str], asides: list[int],
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


def solving_order(told: Sequence[Relation], known: Iterable[str], asked: str, last: str = "") -> list[Relation]:
    """The relations that the asked quantity still needs, in the solution's order.

    told: relations in the order of the text. known: the names whose quantities are given or derived;
    last: the one derived last. A solution goes on from that where some relation can, else takes the
    first in the text that can be used.
    """
    known = set(known)
    by_target = {relation.target: relation for relation in told}
    needed, todo = set(), [asked]
    while todo:
        name = todo.pop()
        if name in by_target and name not in needed and name not in known:
            needed.add(name)
            todo += by_target[name].sources
    order: list[Relation] = []
    while len(order) < len(needed):
        ready = [r for r in told if r.target in needed - known and known.issuperset(r.sources)]
        last = order[-1].target if order else last
        order.append(next((r for r in ready if last in r.sources), ready[0]))
        known.add(order[-1].target)
    return order


def asking(story: Story, name: str) -> Story:
    """The same text with the quantity of another derived name asked for."""
    text, end = story.question.rsplit(" How many ", 1)
    needed, values = solving_order(story.told(), story.given, name), story.values()
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
