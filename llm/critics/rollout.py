"""Rollouts: complete the solution a few times and measure how far the answers agree.

The agreement of samples stands for correctness, as in self-consistency (Wang et al. 2023, section 2), and is measured
at every state of the tree, as in Math-Shepherd (Wang et al. 2024, section 3.3), whose labels use the true answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from ...planning.interface import Evaluate, Expansion, Usage
from ...planning.usage import FLOPS, GENERATED_TOKENS, PROMPT_TOKENS, SECONDS, no_usage
from ..tape.cached_engine import CachedEngine
from ..text.formats import Format
from ..text.state import TextState
from .base import Judgement


class CompletionModel(Protocol):
    """The part of `TextModel` that a rollout needs; `TextModel` itself imports the critics."""

    def answer(self, state: TextState) -> Fraction | None: ...

    async def expand(
        self, states: Sequence[TextState], actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[list[TextState], Expansion]: ...


@dataclass(frozen=True)
class Rollout:
    """The agreement of `times` sampled completions, in [0, 1].

    An open state's value is the share of its completions that end in their most frequent answer. A finished state's is
    the share of completions of the state before its last step that end in the same answer.

    model: the `TextModel` that completes, without a critic. Its seed differs from the tree's, so that a rollout does
    not sample the very continuations that the search will find. Charged are all tokens that the completions generate,
    as critic's tokens.
    """

    model: CompletionModel
    times: int = 4
    name = "rollout"
    low, high = 0.0, 1.0

    async def score(self, cached: CachedEngine, format: Format, state: TextState) -> Judgement:
        """The agreement; `low` for a finished solution without a number."""
        own_answer = self.model.answer(state)
        if state.ended and own_answer is None:
            return Judgement(self.low)
        found = await asyncio.gather(*(self._complete(_open(state), slot) for slot in range(1, self.times + 1)))
        answers = Counter(answer for answer, _, _ in found if answer is not None)
        agreeing = answers[own_answer] if state.ended and own_answer is not None else max(answers.values(), default=0)
        usage, spent = np.sum([usage for _, usage, _ in found], 0), np.sum([spent for _, _, spent in found], 0)
        return Judgement(
            agreeing / self.times,
            tokens=int(usage[GENERATED_TOKENS]),
            seconds=float(usage[SECONDS]),
            tokens_spent=int(spent[GENERATED_TOKENS] + spent[PROMPT_TOKENS]),
            seconds_spent=float(spent[SECONDS]),
            flops=float(usage[FLOPS]),
            flops_spent=float(spent[FLOPS]),
        )

    async def _complete(self, state: TextState, slot: int) -> tuple[Fraction | None, Usage, Usage]:
        """The answer that one completion ends in, None for a dead end; its charged and spent usage."""
        usage = spent = no_usage(1)[0]
        while not state.ended:
            (state,), expansion = await self.model.expand([state], [slot], to_end=True, evaluate="none")
            assert expansion.usage is not None and expansion.spent is not None
            usage, spent, slot = usage + expansion.usage[0], spent + expansion.spent[0], 0
        return self.model.answer(state), usage, spent


def _open(state: TextState) -> TextState:
    """An open state itself; a finished one without its last step."""
    if not state.ended:
        return state
    return replace(state, tokens=state.tokens[: state.step_start], ended="", depth=state.depth - 1, step_logprobs=())
