"""Walks through a text model over an engine without a network: from the question to the end of the solution."""

from __future__ import annotations

import numpy as np
from fakes import LineEngine, text_model

from forethought.planning.interface import UNITS

QUESTION = "How many?"


def model(engine=None, value=None, tape=None, most=20, **settings):
    return text_model(engine or LineEngine(), value, tape, max_tokens=most, **settings)


async def solve(text, slot=0, to_end=False, evaluate="all"):
    """The states and expansions of a walk: `slot` of the root, slot 0 from there on."""
    (state,), start = await text.start([QUESTION])
    walk = [(state, start)]
    while not state.ended:
        slots = [slot if state.depth == 0 else 0]
        (state,), expansion = await text.expand([state], slots, to_end=to_end, evaluate=evaluate)
        walk.append((state, expansion))
    return walk


def column(usages, unit):
    return float(np.asarray(usages)[..., UNITS.index(unit)].sum())


def told(walk):
    return [(s.tokens, s.ended, float(e.reward[0]), float(e.discount[0]), float(e.value[0])) for s, e in walk]
