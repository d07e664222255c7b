"""What the text model answers of one edge: the state reached, its numbers, and what it is charged and was spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..planning.interface import UNITS, Expansion, Usage
from .engines.base import Generation
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
    """A child before it is judged: its last step, the calls charged for it, the request made just now if one was."""

    parent: TextState
    child: TextState
    step: Step
    calls: int
    done: Generation | None

    def judged(self, judgement: Judgement) -> Reached:
        """The answer with the critic's word: the reward of a finished state, the value of an open one."""
        if self.parent.ended:
            return Reached(self.child, 0.0, 0.0, 0.0, _row(), _row())
        usage = _charged(self.parent, self.step, self.calls, judgement)
        spent = _spent(self.parent, self.done, judgement)
        if self.child.ended:
            return Reached(self.child, judgement.value, 0.0, 0.0, usage, spent)
        return Reached(self.child, 0.0, 1.0, judgement.value, usage, spent)


def expansion_of(reached: Sequence[Reached]) -> Expansion:
    """The numbers of K answers as arrays [K]."""
    rows = (len(reached), len(UNITS))
    return Expansion(
        reward=np.array([one.reward for one in reached], np.float32),
        discount=np.array([one.discount for one in reached], np.float32),
        value=np.array([one.value for one in reached], np.float32),
        usage=np.array([one.usage for one in reached]).reshape(rows),
        spent=np.array([one.spent for one in reached]).reshape(rows),
        dead=np.array([one.state.ended not in ("", "answer") for one in reached], np.bool_),
    )


def _charged(parent: TextState, step: Step, calls: int, judgement: Judgement) -> Usage:
    """[len(UNITS)] what the step would have cost this planner alone."""
    return _row(
        nodes=1,
        model_calls=calls,
        generated_tokens=len(step.tokens),
        cached_tokens=calls * len(parent.tokens),
        value_tokens=judgement.tokens,
        seconds=step.seconds + judgement.seconds,
    )


def _spent(parent: TextState, done: Generation | None, judgement: Judgement) -> Usage:
    """[len(UNITS)] what the engine did just now; `done` is None where it was not asked."""
    critic = {"value_tokens": judgement.computed, "seconds": judgement.busy}
    if done is None:
        return _row(nodes=1, **critic)
    return _row(
        nodes=1,
        model_calls=1,
        generated_tokens=sum(map(len, done.steps)),
        prompt_tokens=len(parent.tokens) - done.cached,
        cached_tokens=done.cached,
        value_tokens=judgement.computed,
        seconds=done.seconds + judgement.busy,
    )


def _row(**amounts: float) -> Usage:
    row = np.zeros(len(UNITS))
    for unit, amount in amounts.items():
        row[_COLUMN[unit]] = amount
    return row
