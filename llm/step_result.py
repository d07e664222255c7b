"""The answer of the text model for one edge: the state reached, its numbers, and its charged and spent usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..planning.interface import Expansion, Usage
from ..planning.usage import no_usage
from .critics import UNJUDGED, Judgement
from .engines.base import Generation
from .engines.flops import UNKNOWN_FLOPS, DecoderFlops
from .text.state import TextState
from .text.steps import Step


class UsageRow(NamedTuple):
    """An amount of each of `UNITS`, in their order; faster to make than an array."""

    nodes: float = 0.0
    model_calls: float = 0.0
    generated_tokens: float = 0.0
    prompt_tokens: float = 0.0
    cached_tokens: float = 0.0
    value_tokens: float = 0.0
    seconds: float = 0.0
    flops: float = 0.0


NO_USAGE = UsageRow()

OPEN_OR_ANSWERED = ("", "answer")
"""Values of `TextState.ended` that are no dead end."""


class EvaluatedStep(NamedTuple):
    """The answer for one edge: the state, its numbers, and its charged and spent usage, [len(UNITS)] each."""

    state: TextState
    reward: float
    discount: float
    value: float
    usage: Sequence[float] | Usage
    spent: Sequence[float] | Usage


@dataclass(slots=True)
class GeneratedStep:
    """A child before the critic has evaluated it.

    parent, child: states. step: the child's last step. calls: model calls charged for it.
    made: what the engine generated in this very expansion, None where the tape answered.
    flops: sizes of the model that wrote the step.
    """

    parent: TextState
    child: TextState
    step: Step
    calls: int
    made: Generation | None
    flops: DecoderFlops = UNKNOWN_FLOPS

    def judged(self, judgement: Judgement) -> EvaluatedStep:
        """The answer with the critic's judgement: the reward of a finished state, the value of an open one."""
        if self.parent.ended:
            return EvaluatedStep(self.child, 0.0, 0.0, 0.0, NO_USAGE, NO_USAGE)
        usage = _charged(self.parent, self.step, self.calls, judgement, self.flops)
        spent = _spent(self.parent, self.made, judgement, self.flops)
        if self.child.ended:
            return EvaluatedStep(self.child, judgement.value, 0.0, 0.0, usage, spent)
        return EvaluatedStep(self.child, 0.0, 1.0, judgement.value, usage, spent)


def expansion_of(steps: Sequence[EvaluatedStep]) -> Expansion:
    """The numbers of K answers as arrays [K]."""
    if not steps:
        empty, free = np.empty(0, np.float32), no_usage(0)
        return Expansion(empty, empty, empty, usage=free, spent=free)
    states, reward, discount, value, usage, spent = zip(*steps)
    dead_end = [state.ended not in OPEN_OR_ANSWERED for state in states]
    return Expansion(
        np.array(reward, np.float32),
        np.array(discount, np.float32),
        np.array(value, np.float32),
        usage=np.array(usage, np.float64),
        spent=np.array(spent, np.float64),
        dead_end=np.array(dead_end, np.bool_) if True in dead_end else None,
    )


def _charged(parent: TextState, step: Step, calls: int, judgement: Judgement, flops: DecoderFlops) -> UsageRow:
    """What the step would have cost if this planner had run alone."""
    before, new = len(parent.tokens), len(step.tokens)
    operations = flops.of_tokens(before, new) + judgement.flops
    seconds = step.seconds + judgement.seconds
    return UsageRow(1, calls, new, 0, calls * before, judgement.tokens, seconds, operations)


def _spent(parent: TextState, made: Generation | None, judgement: Judgement, flops: DecoderFlops) -> UsageRow:
    """What the engine did in this very expansion; `made` is None where it was not called."""
    if made is None:
        return UsageRow(1, 0, 0, 0, 0, judgement.tokens_spent, judgement.seconds_spent, judgement.flops_spent)
    return spent_on(len(parent.tokens), made, flops, 1, judgement)


def spent_on(
    prompt: int, made: Generation, flops: DecoderFlops, nodes: int = 0, judgement: Judgement = UNJUDGED
) -> UsageRow:
    """What the engine did for one generation after `prompt` tokens and for the critic."""
    generated, cached = sum(map(len, made.steps)) + made.dropped, made.cached
    operations = flops.of_tokens(cached, prompt - cached + generated) + judgement.flops_spent
    seconds = made.seconds + judgement.seconds_spent
    return UsageRow(nodes, 1, generated, prompt - cached, cached, judgement.tokens_spent, seconds, operations)
