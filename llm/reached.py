"""What the text model answers of one edge: the state reached, its numbers, and what it is charged and was spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..planning.interface import UNITS, Expansion, Usage
from .engines.base import Generation
from .engines.work import UNKNOWN, Work
from .steps import Step, TextState
from .values import Judgement

_COLUMN = {unit: i for i, unit in enumerate(UNITS)}


@dataclass(slots=True)
class Reached:
    """One answer: the state, its numbers, its rows of charged and spent usage [len(UNITS)]."""

    state: TextState
    reward: float
    discount: float
    value: float
    usage: Usage
    spent: Usage


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
            return Reached(self.child, 0.0, 0.0, 0.0, row_of(), row_of())
        usage = _charged(self.parent, self.step, self.calls, judgement, self.work)
        spent = _spent(self.parent, self.done, judgement, self.work)
        if self.child.ended:
            return Reached(self.child, judgement.value, 0.0, 0.0, usage, spent)
        return Reached(self.child, 0.0, 1.0, judgement.value, usage, spent)


def expansion_of(reached: Sequence[Reached]) -> Expansion:
    """The numbers of K answers as arrays [K]."""
    told = [[one.reward for one in reached], [one.discount for one in reached], [one.value for one in reached]]
    reward, discount, value = np.array(told, np.float32)
    paid = np.array([[one.usage for one in reached], [one.spent for one in reached]])
    usage, spent = paid.reshape(2, len(reached), len(UNITS))
    dead = np.array([one.state.ended not in ("", "answer") for one in reached], np.bool_)
    return Expansion(reward, discount, value, usage=usage, spent=spent, dead=dead)


def _charged(parent: TextState, step: Step, calls: int, judgement: Judgement, work: Work) -> Usage:
    """[len(UNITS)] what the step would have cost this planner alone."""
    return row_of(
        nodes=1,
        model_calls=calls,
        generated_tokens=len(step.tokens),
        cached_tokens=calls * len(parent.tokens),
        value_tokens=judgement.tokens,
        seconds=step.seconds + judgement.seconds,
        flops=work.of(len(parent.tokens), len(step.tokens)) + judgement.flops,
    )


def _spent(parent: TextState, done: Generation | None, judgement: Judgement, work: Work) -> Usage:
    """[len(UNITS)] what the engine did just now; `done` is None where it was not asked."""
    critic = row_of(
        nodes=1, value_tokens=judgement.computed, seconds=judgement.busy, flops=judgement.flops_spent
    )  # fmt: skip
    return critic if done is None else critic + spent_on(len(parent.tokens), done, work)


def spent_on(prompt: int, done: Generation, work: Work) -> Usage:
    """[len(UNITS)] what the engine did for one request after `prompt` tokens, the node aside."""
    written = sum(map(len, done.steps))
    return row_of(
        model_calls=1,
        generated_tokens=written,
        prompt_tokens=prompt - done.cached,
        cached_tokens=done.cached,
        seconds=done.seconds,
        flops=work.of(done.cached, prompt - done.cached + written),
    )


def row_of(**amounts: float) -> Usage:
    """[len(UNITS)] these amounts, and 0 elsewhere."""
    row = np.zeros(len(UNITS))
    for unit, amount in amounts.items():
        row[_COLUMN[unit]] = amount
    return row
