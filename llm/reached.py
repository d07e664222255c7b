"""What the text model answers of one edge: the state reached, its numbers, and what it is charged and was spent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..planning.interface import UNITS, Expansion
from .engines.base import Generation
from .engines.work import UNKNOWN, Work
from .steps import Step, TextState
from .values import Judgement


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


@dataclass(slots=True)
class Reached:
    """One answer: the state, its numbers, its rows of charged and spent usage, [len(UNITS)] each."""

    state: TextState
    reward: float
    discount: float
    value: float
    usage: Iterable[float]
    spent: Iterable[float]


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
    """The numbers of K answers as arrays [K], cut from two: to make one of numpy's takes longer than to fill it."""
    reward: list[float] = []
    discount: list[float] = []
    value: list[float] = []
    usage: list[float] = []
    spent: list[float] = []
    dead: list[bool] = []
    for one in reached:
        reward.append(one.reward)
        discount.append(one.discount)
        value.append(one.value)
        usage.extend(one.usage)
        spent.extend(one.spent)
        dead.append(one.state.ended not in ALIVE)
    numbers = np.array(reward + discount + value, np.float32).reshape(3, len(reached))
    bills = np.array(usage + spent, np.float64).reshape(2, len(reached), len(UNITS))
    dead_ends = np.array(dead, np.bool_) if True in dead else None
    return Expansion(numbers[0], numbers[1], numbers[2], usage=bills[0], spent=bills[1], dead=dead_ends)


def _charged(parent: TextState, step: Step, calls: int, judgement: Judgement, work: Work) -> Row:
    """What the step would have cost this planner alone."""
    before, new = len(parent.tokens), len(step.tokens)
    seconds, flops = step.seconds + judgement.seconds, work.of(before, new) + judgement.flops
    return Row(1, calls, new, 0, calls * before, judgement.tokens, seconds, flops)


def _spent(parent: TextState, done: Generation | None, judgement: Judgement, work: Work) -> Row:
    """What the engine did just now; `done` is None where it was not asked."""
    if done is None:
        return Row(1, 0, 0, 0, 0, judgement.computed, judgement.busy, judgement.flops_spent)
    _, calls, generated, prompt, cached, _, seconds, flops = spent_on(len(parent.tokens), done, work)
    busy, operations = seconds + judgement.busy, flops + judgement.flops_spent
    return Row(1, calls, generated, prompt, cached, judgement.computed, busy, operations)


def spent_on(prompt: int, done: Generation, work: Work) -> Row:
    """What the engine did for one request after `prompt` tokens, the node aside."""
    written = sum(map(len, done.steps))
    return Row(
        model_calls=1,
        generated_tokens=written,
        prompt_tokens=prompt - done.cached,
        cached_tokens=done.cached,
        seconds=done.seconds,
        flops=work.of(done.cached, prompt - done.cached + written),
    )
