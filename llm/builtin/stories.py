"""Seeded word problems in the style of GSM8K, in which every quantity has a name and every solution line can be
checked.

A story states some quantities as facts, derives others by relations, and asks for one. Stories of different splits
never share a structure: the split is decided by a hash of names, numbers and relations, and a draw whose hash falls
into another split is discarded.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .relations import Relation
from .scenes import SCENES, Scene
from .story_graph import StoryGraph, add_distractors, draw_graph

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Story:
    """A word problem with what its checker needs.

    question: the text, one paragraph. steps: the solution's lines, the last one `#### answer`. asked: the name whose
    quantity is the answer. verb: states quantities. given: quantities stated as facts, by name. relations: all
    relations of the text, first the needed ones in the solution's order, then those of distractors, each after its
    sources are known. length: number of derivations needed. distractors: an entry for each distractor: the name of its
    quantity, or "" for an aside without one.
    """

    question: str
    steps: tuple[str, ...]
    answer: int
    asked: str
    verb: str
    given: dict[str, int]
    relations: tuple[Relation, ...]
    length: int
    distractors: tuple[str, ...] = ()

    def relations_in_text(self) -> list[Relation]:
        """The relations in the order of the text."""
        return sorted(self.relations, key=lambda relation: self.question.index(relation.sentence() + "."))

    @property
    def distractor(self) -> bool:
        """Whether the story has a sentence that the solution does not need."""
        return bool(self.distractors)

    def structure(self) -> str:
        """Names, numbers and relations as a text that does not depend on the wording."""
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
    """The story of these arguments, always the same one.

    steps: number of derivations that its answer needs, at least 1. distractor: whether to add sentences that the
    solution does not need. shuffle: whether the sentences are in random order. Errors: ValueError for an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    key = f"{seed}/{index}/{steps}/{int(distractor)}/{split}"
    rng = random.Random(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little"))
    while True:
        scene = rng.choice(SCENES)
        names = rng.sample(scene.names, len(scene.names))
        try:  # a long story with many branches may need more names than a scene has
            graph = draw_graph(rng, names, steps)
            if graph is None:
                continue
            asked = graph.relations[-1].target
            distractors, asides = add_distractors(graph, rng) if distractor else ([], [])
        except IndexError:
            continue
        if split_of(_structure(graph.given, graph.relations, asked)) == split:
            return _word(graph, scene, asked, distractors, asides, rng, shuffle, steps)


def split_of(structure: str) -> str:
    """The split that a structure belongs to: one in ten each for validation and test, the rest for training."""
    digest = hashlib.blake2b(structure.encode(), digest_size=4).digest()[0] % 10
    return "test" if digest == 0 else "validation" if digest == 1 else "train"


def _structure(given: dict[str, int], relations: list[Relation] | tuple[Relation, ...], asked: str) -> str:
    facts = [f"{name}={value}" for name, value in given.items()]
    facts += [f"{r.kind}:{r.target}:{r.sources}:{r.numbers}" for r in relations]
    return f"{asked}?{sorted(facts)}"


def _word(
    graph: StoryGraph, scene: Scene, asked: str, distractors: list[str], asides: list[int],
    rng: random.Random, shuffle: bool, length: int,
) -> Story:  # fmt: skip
    noun = rng.choice(scene.nouns)
    sentences = [f"{name} {scene.verb} {value} {noun}." for name, value in graph.given.items()]
    by_sentence = {relation.sentence() + ".": relation for relation in graph.relations}
    sentences += by_sentence
    sentences += [scene.aside.format(X=rng.choice(list(graph.known)), k=k) for k in asides]
    if shuffle:
        rng.shuffle(sentences)
    question = " ".join(sentences) + f" How many {noun} {scene.ask.format(X=asked)}?"
    needed = solving_order([by_sentence[text] for text in sentences if text in by_sentence], graph.given, asked)
    relations = (*needed, *(r for r in graph.relations if r not in needed))
    answer = graph.known[asked]
    steps = [relation.line(scene.verb, graph.known) for relation in needed]
    return Story(
        question, (*steps, f"#### {answer}"), answer, asked, scene.verb, graph.given, relations, length,
        tuple(distractors) + ("",) * len(asides),
    )  # fmt: skip


def solving_order(in_text: Sequence[Relation], known: Iterable[str], asked: str, last: str = "") -> list[Relation]:
    """The relations that the asked quantity still needs, in the solution's order.

    in_text: relations in the order of the text. known: names whose quantities are given or derived; last: the one
    derived last. The next relation is one that uses `last` where there is one, else the first in the text whose sources
    are known.
    """
    known = set(known)
    by_target = {relation.target: relation for relation in in_text}
    needed, todo = set(), [asked]
    while todo:
        name = todo.pop()
        if name in by_target and name not in needed and name not in known:
            needed.add(name)
            todo += by_target[name].sources
    order: list[Relation] = []
    while len(order) < len(needed):
        ready = [r for r in in_text if r.target in needed - known and known.issuperset(r.sources)]
        last = order[-1].target if order else last
        order.append(next((r for r in ready if last in r.sources), ready[0]))
        known.add(order[-1].target)
    return order


def ask_for(story: Story, name: str) -> Story:
    """The same text, but asking for the quantity of another derived name."""
    text, end = story.question.rsplit(" How many ", 1)
    needed, values = solving_order(story.relations_in_text(), story.given, name), story.values()
    rest = tuple(r for r in story.relations if r not in needed)
    return replace(
        story, question=f"{text} How many {end.replace(f' {story.asked} ', f' {name} ')}", asked=name,
        steps=(*(r.line(story.verb, values) for r in needed), f"#### {values[name]}"), answer=values[name],
        relations=(*needed, *rest), length=len(needed), distractors=tuple(r.target for r in rest),
    )  # fmt: skip


def held_out(split: str, per_length: int = 100, lengths: tuple[int, ...] = (2, 3, 4, 5), seed: int = 0) -> list[Story]:
    """The fixed stories for evaluation: `per_length` of each length, half with a distractor, all shuffled.

    The hard set is `held_out(split, lengths=(6, 7, 8))`.
    """
    return [
        generate(seed, index, steps, distractor=index % 2 == 1, split=split)
        for steps in lengths
        for index in range(per_length)
    ]
