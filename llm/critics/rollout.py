"""Rollouts: finish the solution a few times and see how far the answers agree. No critic's words, only arithmetic.

The agreement of samples stands for their correctness as in self-consistency (Wang et al. 2023, section 2), at every
state of the tree as in Math-Shepherd (Wang et al. 2024, section 3.3), whose labels use the truth instead.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ...planning.usage import FLOPS, GENERATED_TOKENS, PROMPT_TOKENS, SECONDS, Usage, no_usage
from ..tape.tape import Taped
from ..text.formats import Format
from ..text.steps import TextState
from .base import Judgement


@dataclass(frozen=True)
class Rollout:
    """An open state: the share of `times` completions that end in their most frequent answer. A finished one: the
    share of `times` completions of the state before its last step that end in its answer. In [0, 1].

    model: the `TextModel` that completes, without a critic, and of another seed than the tree's: a rollout is no look
    at what the search will find. Charged are all tokens that the completions generate, as critic's tokens.
    """

    model: Any
    times: int = 4
    name = "rollout"
    low, high = 0.0, 1.0

    async def score(self, taped: Taped, format: Format, state: TextState) -> Judgement:
        said = self.model.answer(state)
        if state.ended and said is None:
            return Judgement(self.low)
        found = await asyncio.gather(*(self._finish(_before(state), slot) for slot in range(1, self.times + 1)))
        answers = Counter(answer for answer, _, _ in found if answer is not None)
        agreeing = answers[said] if state.ended else max(answers.values(), default=0)
        usage, spent = np.sum([usage for _, usage, _ in found], 0), np.sum([spent for _, _, spent in found], 0)
        return Judgement(
            agreeing / self.times,
            tokens=int(usage[GENERATED_TOKENS]),
            seconds=float(usage[SECONDS]),
            computed=int(spent[GENERATED_TOKENS] + spent[PROMPT_TOKENS]),
            busy=float(spent[SECONDS]),
            flops=float(usage[FLOPS]),
            flops_spent=float(spent[FLOPS]),
        )

    async def _finish(self, state: TextState, slot: int) -> tuple[Fraction | None, Usage, Usage]:
        """The answer that one completion ends in, None for a dead end; its charged and spent usage."""
        usage = spent = no_usage(1)[0]
        while not state.ended:
            (state,), expansion = await self.model.expand([state], [slot], to_end=True, evaluate="none")
            usage, spent, slot = usage + expansion.usage[0], spent + expansion.spent[0], 0
        return self.model.answer(state), usage, spent


def _before(state: TextState) -> TextState:
    """An open state itself; a finished one without its last step."""
    if not state.ended:
        return state
    return replace(state, tokens=state.tokens[: state.step_start], ended="", depth=state.depth - 1, step_logprobs=())
