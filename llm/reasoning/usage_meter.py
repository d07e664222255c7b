"""What an edge takes that is more than one request: a list of steps, a sub-question and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...planning.usage import FLOPS, PROMPT_TOKENS, SECONDS, VALUE_TOKENS, Usage
from ..critics import Judgement
from ..engines.base import Generation, Sampling, Tokens
from ..engines.flops import UNKNOWN, Work
from ..step_result import Reached, Row, Written, spent_on
from ..tape.tape import Taped
from ..text.steps import Step


@dataclass
class Bill:
    """charged, spent: [units], one node each to begin with; requests are added as they are made."""

    work: Work = UNKNOWN
    charged: Usage = field(default_factory=lambda: np.array(Row(nodes=1)))
    spent: Usage = field(default_factory=lambda: np.array(Row(nodes=1)))

    def request(self, prompt: int, new: int, steps: Sequence[Step], done: Sequence[Generation | None]) -> None:
        """Book one generation after `prompt` tokens, of which the planner's own tree had not computed the last `new`.

        steps: what it wrote, as recorded. done: what the engine did just now for it, None where the tape answered.
        """
        written = sum(len(step.tokens) for step in steps)
        self.charged += Row(
            model_calls=1,
            generated_tokens=written,
            prompt_tokens=new,
            cached_tokens=prompt - new,
            seconds=sum(step.seconds for step in steps),
            flops=self.work.of(prompt - new, new + written),
        )
        for one in done:
            self.spend(prompt, one)

    def spend(self, prompt: int, done: Generation | None) -> None:
        """Book what the engine did after `prompt` tokens, if it did."""
        if done is not None:
            self.spent += spent_on(prompt, done, self.work)

    def prompt(self, start: int, new: int) -> None:
        """Book `new` tokens after `start` ones that somebody else's request computes first."""
        self.charged[PROMPT_TOKENS] += new
        self.charged[FLOPS] += self.work.of(start, new)


@dataclass(slots=True)
class Billed(Written):
    """A child with a bill of its own."""

    bill: Bill = field(default_factory=Bill)

    def judged(self, judgement: Judgement) -> Reached:
        charged, spent = self.bill.charged.copy(), self.bill.spent.copy()
        charged[[VALUE_TOKENS, SECONDS, FLOPS]] += judgement.tokens, judgement.seconds, judgement.flops
        spent[[VALUE_TOKENS, SECONDS, FLOPS]] += judgement.computed, judgement.busy, judgement.flops_spent
        open_ = not self.child.ended
        reward, value = (0.0, judgement.value) if open_ else (judgement.value, 0.0)
        return Reached(self.child, reward, float(open_), value, charged, spent)


async def lines(
    taped: Taped, prompt: Tokens, sampling: Sampling, stream: int, most: int, room: int
) -> tuple[list[Step], list[Generation | None]]:
    """Up to `most` lines of together at most `room` tokens after `prompt`, from one request, and what the engine did.

    The tape keeps them line by line; a request is made only for what it lacks.
    """
    steps: list[Step] = []
    done: list[Generation | None] = []
    text = prompt
    while len(steps) < most and (left := room - (len(text) - len(prompt))) > 0:
        step, made = await taped.step(text, sampling, stream, most - len(steps), left)
        steps.append(step)
        done.append(made)
        text += step.tokens
        if step.ended != "stop":
            break
    return steps, done


def words(tokenizer: Any, text: str) -> Tokens:
    """Token ids of a text that is put into a state or after it."""
    return tuple(tokenizer.encode(text, add_special_tokens=False))
