"""Scenes of stories: who owns quantities, of what, and the verbs that say so."""

from __future__ import annotations

from dataclasses import dataclass


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PEOPLE = _names("Ann Tom Bob Eva Max Zoe Leo Mia Sam Ivy Ben Kim Dan Amy Joe Lia Ned Sue Ray Una Gus Fay Hal Joy")
TANKS = _names("Coral Reef Lagoon Pearl Tide Wave Shell Anchor Harbor Bay")
FARMS = _names("Hilltop Meadow Oakfield Brook Valley Orchard Willow Maple Cedar Ridge")
SHOPS = _names("Corner Market Plaza Station Garden Bridge Castle Tower Mill Park")


@dataclass(frozen=True)
class Scene:
    """One kind of scene.

    names: possible owners of quantities. verb: in statements. ask: the verb phrase of the question. nouns: what is
    counted. aside: a sentence with a number that no solution needs.
    """

    names: tuple[str, ...]
    verb: str
    ask: str
    nouns: tuple[str, ...]
    aside: str


SCENES = (
    Scene(PEOPLE, "has", "does {X} have", ("marbles", "coins", "stamps", "cards", "toys"), "{X} is {k} years old."),
    Scene(PEOPLE, "picked", "did {X} pick", ("apples", "pears", "plums", "berries"), "{X} has {k} baskets."),
    Scene(PEOPLE, "owns", "does {X} own", ("books", "pens", "stickers"), "{X} lives at number {k}."),
    Scene(PEOPLE, "baked", "did {X} bake", ("cookies", "rolls", "muffins"), "{X} got up at {k}."),
    Scene(TANKS, "holds", "does {X} hold", ("fish", "snails", "shrimps"), "{X} is {k} years old."),
    Scene(FARMS, "keeps", "does {X} keep", ("sheep", "goats", "hens"), "{X} has {k} gates."),
    Scene(SHOPS, "sold", "did {X} sell", ("cakes", "lamps", "hats", "bags"), "{X} opened at {k}."),
)
