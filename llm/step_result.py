"""What the text model answers of one edge: the state reached, its numbers, and what it is charged and was spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..planning.interface import Expansion, Usage
from ..planning.usage import no_usage
from .critics import UNJUDGED, Judgement
from .engines.base import Generation
from .engines.flops import UNKNOWN, Work
from .text.steps import Step, TextState


class Row(NamedTuple):
    """An amount of each of `UNITS`, in their order."""

    nodes: float = 0.0
    model_calls: float = 0.0
    generated_tokens: float = 0.0
    prompt_tokens: float = 0.0
    cached_tokens: float = 0.0
    value_tokens: float = 0.0
    seconds: float = 0.0
    flops: float = 0.0


NOTHING = Row()

ALIVE = ("", "answer")
"""How a state is `ended` that is no dead end."""


class Reached(NamedTuple):
    """One answer: the state, its numbers, its rows of charged and spent usage, [units] each."""

    state: TextState
    reward: float
    discount: float
    value: float
    usage: Sequence[float] | Usage
    spent: Sequence[float] | Usage


@dataclass(slots=True)
class Written:
    """A child before it is judged: its last step, the calls charged for it, the request made just now if one was.

    work: of the model that wrote it.
    """

    parent: TextState
    child: TextState
    step: Step
    calls: int
    done: Generation | None
    work: Work = UNKNOWN

    def judged(self, judgement: Judgement) -> Reached:
        """The answer with the critic's word: the reward of a finished state, the value of an open one."""
        if self.parent.ended:
            return Reached(self.child, 0.0, 0.0, 0.0, NOTHING, NOTHING)
        usage = _charged(self.parent, self.step, self.calls, judgement, self.work)
        spent = _spent(self.parent, self.done, judgement, self.work)
        if self.child.ended:
            return Reached(self.child, judgement.value, 0.0, 0.0, usage, spent)
        return Reached(self.child, 0.0, 1.0, judgement.value, usage, spent)


def expansion_of(reached: Sequence[Reached]) -> Expansion:
    """The numbers of K answers as arrays [K]."""
    if not reached:
        nothing, free = np.empty(0, np.float32), no_usage(0)
        return Expansion(nothing, nothing, nothing, usage=free, spent=free)
    states, reward, discount, value, usage, spent = zip(*reached)
    dead_end = [state.ended not in ALIVE for state in states]
    return Expansion(
        np.array(reward, np.float32),
        np.array(discount, np.float32),
        np.array(value, np.float32),
        usage=np.array(usage, np.float64),
        spent=np.array(spent, np.float64),
        dead_end=np.array(dead_end, np.bool_) if True in dead_end else None,
    )


def _charged(parent: TextState, step: Step, calls: int, judgement: Judgement, work: Work) -> Row:
    """What the step would have cost this planner alone."""
    before, new = len(parent.tokens), len(step.tokens)
    seconds, flops = step.seconds + judgement.seconds, work.of(before, new) + judgement.flops
    return Row(1, calls, new, 0, calls * before, judgement.tokens, seconds, flops)


def _spent(parent: TextState, done: Generation | None, judgement: Judgement, work: Work) -> Row:
    """What the engine did just now; `done` is None where it was not asked."""
    if done is None:
        return Row(1, 0, 0, 0, 0, judgement.computed, judgement.busy, judgement.flops_spent)
    return spent_on(len(parent.tokens), done, work, 1, judgement)


def spent_on(prompt: int, done: Generation, work: Work, nodes: int = 0, judgement: Judgement = UNJUDGED) -> Row:
    """What the engine did for one request after `prompt` tokens and for the critic."""
    written, cached = sum(map(len, done.steps)), done.cached
    flops = work.of(cached, prompt - cached + written) + judgement.flops_spent
    return Row(nodes, 1, written, prompt - cached, cached, judgement.computed, done.seconds + judgement.busy, flops)
